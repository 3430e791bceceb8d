from __future__ import annotations

from datetime import UTC, datetime

from outrider.apis.management.cluster import Cluster
from outrider.apis.management.cluster_status import AppliedStateStatus, DesiredStateStatus, OwnerStateStatus
from outrider.features.clusters.reconcile_delivery import delivery_conditions, same_delivery
from outrider.kube import conditions as c
from outrider.kube.meta import Condition, ObjectMeta

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def cluster(name: str = "c-1", *, reported: str = "", failed: int = 0, owner: str = "clusters") -> Cluster:
    made = Cluster(metadata=ObjectMeta(name=name))
    made.status.desired_state = DesiredStateStatus(epoch=3, counter=4, hash="new")
    if reported:
        made.status.applied_state = AppliedStateStatus(
            hash=reported,
            applied=9,
            failed=failed,
            failures=["Secret x: no"] if failed else [],
            owners=[OwnerStateStatus(name=owner, applied=9, failed=failed, message="Secret x: no")],
        )
    return made


def found(of: Cluster, kind: str) -> Condition | None:
    return c.get_condition(delivery_conditions(of, NOW), kind)


def test_without_a_stamp_nothing_is_said() -> None:
    assert delivery_conditions(Cluster(metadata=ObjectMeta(name="c-1")), NOW) == []


def test_it_waits_for_the_version_that_was_stamped() -> None:
    for one in (cluster(), cluster(reported="old")):
        condition = found(one, "DesiredStateApplied")
        assert condition is not None
        assert (condition.status, condition.message) == ("Unknown", "waiting for the agent to apply 3.4")
        assert found(one, "AgentDeployed") is None


def test_it_says_why_a_state_cannot_be_handed_over() -> None:
    one = cluster(reported="new")
    assert one.status.desired_state is not None
    one.status.desired_state.problem = "a desired state of 9 objects is too large"
    condition = found(one, "DesiredStateApplied")
    assert condition is not None
    assert (condition.status, condition.reason) == ("False", "TooLarge")
    assert condition.message == "a desired state of 9 objects is too large"


def test_applied() -> None:
    one = cluster(reported="new")
    for kind in ("DesiredStateApplied", "AgentDeployed"):
        condition = found(one, kind)
        assert condition is not None
        assert condition.status == "True"
    assert found(cluster("local", reported="new"), "AgentDeployed") is None


def test_failures_say_whose_they_are() -> None:
    ours = cluster(reported="new", failed=2)
    condition = found(ours, "DesiredStateApplied")
    assert condition is not None
    assert condition.message == "2 of 11: Secret x: no"
    deployed = found(ours, "AgentDeployed")
    assert deployed is not None
    assert deployed.status == "False"
    assert deployed.message.startswith("Error while applying agent YAML, it will be retried automatically: ")
    theirs = found(cluster(reported="new", failed=2, owner="rbac"), "AgentDeployed")
    assert theirs is not None
    assert theirs.status == "True"


def test_only_the_delivery_counts_as_a_change() -> None:
    old, new = cluster(), cluster()
    new.status.connected = True
    assert same_delivery(old, new)
    assert not same_delivery(old, cluster(reported="new"))
