"""What a binding's status says in each state, and that nothing moves without reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from outrider.apis.management.binding_status import BindingStatus
from outrider.features.rbac.conditions import OF_GLOBAL_ROLES, OF_TEMPLATES, effective, refused
from outrider.features.rbac.effects import Effect, State

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DONE, WAITING = Effect(State.DONE), Effect(State.WAITING, "waiting")
FAILED, COMPUTING = Effect(State.FAILED, "no such thing"), Effect(State.COMPUTING, "soon")


def status(
    local: Effect = DONE, *remote: Effect, before: BindingStatus | None = None, generation: int = 2
) -> BindingStatus:
    before = before or BindingStatus()
    return effective(OF_TEMPLATES, local, remote, before=before, generation=generation, now=NOW)


def test_all_is_done() -> None:
    found = status(DONE, DONE)
    assert (found.summary, found.summary_local, found.summary_remote) == ("Completed",) * 3
    assert (found.observed_generation_local, found.observed_generation_remote) == (2, 2)
    assert [(one.type, one.status, one.reason) for one in found.local_conditions] == [
        ("ReconcileSubject", "True", "SubjectExists"),
        ("ReconcileMembershipBindings", "True", "MembershipBindingExists"),
        ("ReconcileBindings", "True", "BindingsExists"),
    ]
    assert [(one.type, one.status, one.reason) for one in found.remote_conditions] == [
        ("ReconcileClusterRoleBindings", "True", "ClusterRoleBindingExists"),
        ("EnsureServiceAccountImpersonator", "True", "ServiceAccountImpersonatorExists"),
    ]
    assert {one.observed_generation for one in found.remote_conditions} == {2}
    assert found.last_update_time == "2026-01-02T03:04:05Z"


@pytest.mark.parametrize(
    ("local", "remote", "summaries"),
    [
        (DONE, [WAITING], ("InProgress", "Completed", "InProgress")),
        (COMPUTING, [DONE], ("InProgress", "InProgress", "Completed")),
        (DONE, [DONE, FAILED, WAITING], ("Error", "Completed", "Error")),
        (FAILED, [WAITING], ("Error", "Error", "InProgress")),
        (DONE, [], ("Completed", "Completed", "Completed")),
    ],
)
def test_the_worst_decides(local: Effect, remote: list[Effect], summaries: tuple[str, str, str]) -> None:
    found = status(local, *remote)
    assert (found.summary, found.summary_local, found.summary_remote) == summaries


def test_a_failure_is_told() -> None:
    (first, *_) = status(DONE, WAITING, FAILED).remote_conditions
    assert (first.status, first.reason, first.message) == ("False", "Failed", "no such thing")


def test_what_was_observed_is_kept_until_the_new_one_is_in_effect() -> None:
    before = status(DONE, DONE, generation=1)
    found = status(DONE, WAITING, before=before)
    assert (found.observed_generation_local, found.observed_generation_remote) == (2, 1)


def test_times_move_with_what_they_speak_of() -> None:
    before = status(DONE, WAITING)
    later = NOW + timedelta(hours=1)
    same = effective(OF_TEMPLATES, DONE, [WAITING], before=before, generation=2, now=later)
    assert same == before
    after = effective(OF_TEMPLATES, DONE, [DONE], before=before, generation=2, now=later)
    assert after.last_update_time == "2026-01-02T04:04:05Z"
    assert {one.last_transition_time for one in after.local_conditions} == {"2026-01-02T03:04:05Z"}
    assert {one.last_transition_time for one in after.remote_conditions} == {"2026-01-02T04:04:05Z"}


def test_a_refusal() -> None:
    found = refused(OF_GLOBAL_ROLES, "create it", before=BindingStatus(), generation=3, now=NOW)
    assert (found.summary, found.summary_local, found.summary_remote) == ("Error",) * 3
    (condition,) = found.local_conditions
    assert (condition.type, condition.status, condition.message) == (
        "SubjectReconciled",
        "False",
        "create it",
    )
