"""What a binding's status says, from how far its effects are (spec: auth §3.2, §3.7, §7). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from outrider.apis.management.binding_status import (
    COMPLETED,
    ERROR,
    IN_PROGRESS,
    BindingCondition,
    BindingStatus,
)
from outrider.apis.management.global_role import GlobalRoleStatus
from outrider.features.rbac.effects import Effect, State
from outrider.kube.conditions import rfc3339


class Words(NamedTuple):
    """Condition types with the reason that goes with success: of the subject, and of either side."""

    subject: tuple[str, str]
    local: Mapping[str, str]
    remote: Mapping[str, str]


OF_TEMPLATES: Final = Words(
    subject=("ReconcileSubject", "SubjectExists"),
    local={
        "ReconcileMembershipBindings": "MembershipBindingExists",
        "ReconcileBindings": "BindingsExists",
    },
    remote={
        "ReconcileClusterRoleBindings": "ClusterRoleBindingExists",
        "EnsureServiceAccountImpersonator": "ServiceAccountImpersonatorExists",
    },
)
OF_GLOBAL_ROLES: Final = Words(
    subject=("SubjectReconciled", "SubjectExists"),
    local={
        "ClusterPermissionsReconciled": "ClusterPermissionsExist",
        "GlobalRoleBindingReconciled": "GlobalRoleBindingExists",
        "NamespacedRoleBindingReconciled": "NamespacedRoleBindingsExist",
        "InheritedNamespacedRoleBindingReconciled": "InheritedNamespacedRoleBindingsExist",
        "FleetWorkspacePermissionReconciled": "FleetWorkspacePermissionsExist",
    },
    remote={"ClusterAdminRoleExists": "ClusterAdminRoleExists"},
)

_ROLES_HERE: Final = {
    "ClusterRoleExists": "ClusterRoleExists",
    "NamespacedRuleRoleExists": "NamespacedRuleRolesExist",
    "FleetWorkspaceRolePermissionsReconciled": "FleetWorkspaceRolesExist",
}
_ROLES_THERE: Final = {"InheritedNamespacedRuleRoleExists": "InheritedNamespacedRuleRolesExist"}

_STATUS: Final = {State.DONE: "True", State.FAILED: "False"}
_REASONS: Final = {State.COMPUTING: "Computing", State.WAITING: "Waiting", State.FAILED: "Failed"}
_SUMMARIES: Final = {State.DONE: COMPLETED, State.FAILED: ERROR}


def refused(
    words: Words, problem: str, before: BindingStatus, generation: int, now: datetime
) -> BindingStatus:
    """The status of a binding that grants nothing."""
    kind, _ = words.subject
    condition = BindingCondition(
        type=kind, status="False", reason="GrantsNothing", message=problem, observed_generation=generation
    )
    errors, observed = (ERROR, ERROR, ERROR), (generation, generation)
    return _with(before, ([condition], []), errors, observed, now)


def effective(
    words: Words,
    local: Effect,
    remote: Sequence[Effect],
    *,
    before: BindingStatus,
    generation: int,
    now: datetime,
) -> BindingStatus:
    """The status of a binding that counts; `remote` has the effect in each of its clusters."""
    worst = _worst(remote)
    here = [_condition(*words.subject, Effect(State.DONE), generation)]
    here += [_condition(kind, reason, local, generation) for kind, reason in words.local.items()]
    there = [_condition(kind, reason, worst, generation) for kind, reason in words.remote.items()]
    summary = _SUMMARIES.get(_worst((local, worst)).state, IN_PROGRESS)
    summaries = (
        summary,
        _SUMMARIES.get(local.state, IN_PROGRESS),
        _SUMMARIES.get(worst.state, IN_PROGRESS),
    )
    observed = (
        generation if local.state is State.DONE else before.observed_generation_local,
        generation if worst.state is State.DONE else before.observed_generation_remote,
    )
    return _with(before, (here, there), summaries, observed, now)


def role_status(
    here: Effect, there: Sequence[Effect], *, before: GlobalRoleStatus, generation: int, now: datetime
) -> GlobalRoleStatus:
    """The status of a global role, by its effects in the management cluster and in all others."""
    moment, worst = rfc3339(now), _worst(there)
    both = _worst((here, worst))
    conditions = [_condition(kind, reason, here, generation) for kind, reason in _ROLES_HERE.items()]
    conditions += [_condition(kind, reason, worst, generation) for kind, reason in _ROLES_THERE.items()]
    after = GlobalRoleStatus(
        observed_generation=generation if both.state is State.DONE else before.observed_generation,
        last_update_time=before.last_update_time,
        summary=_SUMMARIES.get(both.state, IN_PROGRESS),
        conditions=timed(before.conditions, conditions, moment),
    )
    return after if after == before else msgspec.structs.replace(after, last_update_time=moment)


def _worst(effects: Iterable[Effect]) -> Effect:
    order = (State.FAILED, State.COMPUTING, State.WAITING)
    found = {effect.state: effect for effect in reversed(list(effects))}
    return next((found[state] for state in order if state in found), Effect(State.DONE))


def _condition(kind: str, reason: str, effect: Effect, generation: int) -> BindingCondition:
    return BindingCondition(
        type=kind,
        status=_STATUS.get(effect.state, "Unknown"),
        reason=_REASONS.get(effect.state, reason),
        message=effect.message,
        observed_generation=generation,
    )


def _with(
    before: BindingStatus,
    conditions: tuple[list[BindingCondition], list[BindingCondition]],
    summaries: tuple[str, str, str],
    observed: tuple[int, int],
    now: datetime,
) -> BindingStatus:
    """The new status; times move only where something did."""
    moment = rfc3339(now)
    after = BindingStatus(
        observed_generation_local=observed[0],
        observed_generation_remote=observed[1],
        last_update_time=before.last_update_time,
        summary=summaries[0],
        summary_local=summaries[1],
        summary_remote=summaries[2],
        local_conditions=timed(before.local_conditions, conditions[0], moment),
        remote_conditions=timed(before.remote_conditions, conditions[1], moment),
    )
    return after if after == before else msgspec.structs.replace(after, last_update_time=moment)


def timed(
    before: list[BindingCondition], after: list[BindingCondition], moment: str
) -> list[BindingCondition]:
    """The conditions of after; each has been so since it was so before."""
    since = {(one.type, one.status): one.last_transition_time for one in before}
    return [
        msgspec.structs.replace(one, last_transition_time=since.get((one.type, one.status)) or moment)
        for one in after
    ]
