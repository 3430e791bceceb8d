"""Where a deleted record is on its way out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from outrider.apis.management.cluster import Cluster
from outrider.apis.management.cluster_status import AppliedStateStatus, ClusterStatus, OwnerStateStatus
from outrider.apis.state import evaluate
from outrider.features.clusters import removal
from outrider.features.clusters.lifecycle import FINALIZER, UID_ANNOTATION
from outrider.features.clusters.removal import Step
from outrider.kube import conditions as c
from outrider.kube.meta import ObjectMeta
from outrider.tunnel.reports import Removal
from tests.support.clock import FakeClock

PATIENCE = timedelta(seconds=50)
NOW = FakeClock().now()


def record(name: str = "c-1", *, uid: str = "u", **status: Any) -> Cluster:
    return Cluster(
        metadata=ObjectMeta(
            name=name,
            annotations={UID_ANNOTATION: uid} if uid else {},
            deletion_timestamp=NOW,
            finalizers=[FINALIZER],
        ),
        status=ClusterStatus(**status),
    )


def after(cluster: Cluster, status: ClusterStatus) -> Cluster:
    return msgspec.structs.replace(cluster, status=status)


def in_seconds(seconds: float) -> Any:
    return NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize("cluster", [record(uid=""), record("local")], ids=["never registered", "local"])
def test_without_an_agent_nothing_is_waited_for(cluster: Cluster) -> None:
    assert removal.next_step(cluster, NOW, PATIENCE) is Step.RELEASE


def test_an_agent_is_told_and_waited_for_and_given_up() -> None:
    cluster = record()
    assert removal.next_step(cluster, NOW, PATIENCE) is Step.ORDER
    assert not removal.is_ordered(cluster)
    cluster = after(cluster, removal.ordered(cluster, NOW))
    assert removal.is_ordered(cluster)
    assert removal.next_step(cluster, in_seconds(49), PATIENCE) is Step.WAIT
    assert removal.next_step(cluster, in_seconds(50), PATIENCE) is Step.GIVE_UP
    cluster = after(cluster, removal.given_up(cluster, "it was not connected for 50 s", in_seconds(50)))
    assert removal.next_step(cluster, in_seconds(50), PATIENCE) is Step.RELEASE
    assert not removal.is_ordered(cluster)


def test_progress_buys_time_and_not_without_end() -> None:
    cluster = after(record(), removal.ordered(record(), NOW))
    for seconds in (40, 80, 120, 160, 200, 240):
        cluster = after(
            cluster, removal.reported(cluster, Removal(remaining=300 - seconds), in_seconds(seconds))
        )
    assert removal.next_step(cluster, in_seconds(249), PATIENCE) is Step.WAIT
    assert removal.next_step(cluster, in_seconds(250), PATIENCE) is Step.GIVE_UP


def test_the_same_report_again_is_no_progress() -> None:
    cluster = after(record(), removal.ordered(record(), NOW))
    for seconds in (10, 55):
        cluster = after(cluster, removal.reported(cluster, Removal(remaining=3), in_seconds(seconds)))
    assert removal.next_step(cluster, in_seconds(60), PATIENCE) is Step.GIVE_UP


def test_an_agent_that_is_done_releases_the_record() -> None:
    cluster = after(record(), removal.ordered(record(), NOW))
    clean = after(cluster, removal.reported(cluster, Removal(done=True), NOW))
    assert removal.next_step(clean, NOW, PATIENCE) is Step.RELEASE
    assert reason(clean) == removal.CLEANED
    kept = after(cluster, removal.reported(cluster, Removal(left=["Namespace x: y"], done=True), NOW))
    assert removal.next_step(kept, NOW, PATIENCE) is Step.RELEASE
    assert reason(kept) == removal.LEFT


def reason(cluster: Cluster) -> str:
    condition = c.get_condition(cluster.status.conditions, removal.CONDITION)
    return condition.reason if condition else ""


def test_people_see_what_is_waited_for() -> None:
    cluster = record(connected=True)
    cluster = after(cluster, removal.ordered(cluster, NOW))
    state = evaluate(cluster, cluster.status.conditions, NOW)
    waits = "waiting on wrangler.cattle.io/mgmt-cluster-remove: "
    assert (state.name, state.transitioning, state.error) == ("removing", True, False)
    assert state.message == waits + "waiting for the agent to remove what was made in the cluster"
    report = Removal(remaining=12, left=["ConfigMap a/b: denied"])
    cluster = after(cluster, removal.reported(cluster, report, NOW))
    state = evaluate(cluster, cluster.status.conditions, NOW)
    assert state.message == (
        waits + "the agent removes what was made in the cluster: 12 objects are left: ConfigMap a/b: denied"
    )
    away = record(connected=False)
    away = after(away, removal.ordered(away, NOW))
    assert "not connected" in evaluate(away, away.status.conditions, NOW).message


def test_what_is_left_is_listed() -> None:
    applied = AppliedStateStatus(owners=[OwnerStateStatus(name="clusters", applied=12)])
    cluster = record(applied_state=applied)
    cluster = after(cluster, removal.reported(cluster, Removal(remaining=7), NOW))
    text = removal.left_behind(cluster, "its agent did not answer for 50 s")
    for words in ("cattle-system", "cattle-impersonation-system", "12 of clusters", "7 objects are left"):
        assert words in text
    assert len(text) < 1000


def test_a_long_list_is_cut() -> None:
    cluster = after(record(), removal.reported(record(), Removal(left=["x" * 500] * 9, done=True), NOW))
    condition = c.get_condition(cluster.status.conditions, removal.CONDITION)
    assert condition is not None
    assert len(condition.message) < 800
    assert condition.message.endswith("…")
