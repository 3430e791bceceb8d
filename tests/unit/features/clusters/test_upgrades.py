"""The one that acts: on what the API server has now, on every cluster, and at the right time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import msgspec

from outrider.apis.management.cluster import CLUSTERS, Cluster
from outrider.apis.management.cluster_status import AppliedStateStatus, ClusterStatus, DesiredStateStatus
from outrider.apis.management.setting import SETTINGS
from outrider.features.clusters.agent_upgrade import FORCE
from outrider.features.clusters.reconcile_upgrades import FLEET, UpgradeReconciler, same_standing
from outrider.features.clusters.settings import ClusterSettings
from outrider.kube.builtin import EVENTS
from outrider.kube.client import Client
from outrider.kube.meta import Condition, ObjectKey
from outrider.runtime.controller import DONE
from outrider.runtime.events import Events
from tests.support.clock import FakeClock
from tests.support.fake_api import FakeApi

OLD, NEW = "agent:1", "agent:2"


class Copy:
    """A local copy that shows what a test gives it."""

    def __init__(self, *objects: Any) -> None:
        self.objects = list(objects)

    def get(self, key: ObjectKey) -> Any:
        return next((one for one in self.objects if one.metadata.name == key.name), None)

    def list(self, namespace: str | None = None) -> Iterable[Any]:
        return list(self.objects)

    def index(self, name: str, value: str) -> Any:
        raise NotImplementedError


class Leader:
    def __init__(self, **environ: str) -> None:
        self.api, self.clock = FakeApi(CLUSTERS, SETTINGS, EVENTS), FakeClock()
        self.api.put(SETTINGS, "agent-upgrade-status", value="")
        self.copy = Copy()
        client = Client(self.api)
        self.reconciler = UpgradeReconciler(
            client,
            self.copy,
            image=lambda cluster: NEW,
            settings=ClusterSettings(Copy(), Copy(), environ),
            events=Events(client, "outrider", clock=self.clock),
            clock=self.clock,
            pause=0.0,
        )

    def put(self, name: str, **metadata: Any) -> None:
        status = ClusterStatus(
            conditions=[Condition(type="Ready", status="True")],
            connected=True,
            agent_image=OLD,
            desired_state=DesiredStateStatus(hash="h"),
            applied_state=AppliedStateStatus(hash="h", agent_image=OLD),
        )
        self.api.put(
            CLUSTERS,
            name,
            metadata=metadata,
            spec={"displayName": name},
            status=msgspec.to_builtins(status),
        )

    def look(self) -> None:
        """The copy catches up."""
        self.copy.objects = [self.cluster(name) for kind, _, name in self.api.objects if kind == "clusters"]

    def cluster(self, name: str) -> Cluster:
        return msgspec.convert(self.api.objects["clusters", "", name], Cluster)

    async def plan(self) -> float | None:
        return (await self.reconciler.reconcile(FLEET)).requeue_after

    @property
    def images(self) -> dict[str, str]:
        return {one.metadata.name: one.status.agent_image for one in map(self.cluster, ("c-1", "c-2"))}


async def test_a_copy_that_lags_lets_nobody_begin() -> None:
    leader = Leader()
    leader.put("c-1")
    leader.put("c-2")
    leader.look()
    # Each time the copy shows a fleet in which nobody has begun
    for _ in range(3):
        await leader.plan()
    assert leader.images == {"c-1": NEW, "c-2": OLD}


async def test_a_conflict_at_one_keeps_nobody_else_waiting() -> None:
    leader = Leader(CATTLE_AGENT_UPGRADE_LARGEST_WAVE="0")
    for name in ("c-1", "c-2"):
        leader.put(name)
        leader.api.objects["clusters", "", name]["status"].pop("appliedState")
    leader.look()
    leader.put("c-1")
    leader.api.objects["clusters", "", "c-1"]["status"].pop("appliedState")
    assert await leader.plan() == 0.0
    assert leader.images == {"c-1": OLD, "c-2": NEW}
    leader.look()
    assert await leader.plan() is None
    assert leader.images == {"c-1": NEW, "c-2": NEW}


async def test_it_comes_back_when_somebody_would_be_late_and_says_so() -> None:
    leader = Leader(CATTLE_AGENT_ROLLOUT_TIMEOUT="1m")
    leader.put("c-1")
    leader.put("c-2")
    leader.look()
    await leader.plan()
    leader.look()
    assert await leader.plan() == 60.0
    await leader.clock.advance(60)
    await leader.plan()
    (event,) = [one for (kind, _, _), one in leader.api.objects.items() if kind == "events"]
    assert (event["type"], event["reason"]) == ("Warning", "AgentUpgradeFailed")
    assert event["involvedObject"]["name"] == "c-1"
    assert f"no agent that runs {NEW} has taken over within 60 s" in event["message"]
    said = leader.api.objects["settings", "", "agent-upgrade-status"]["value"]
    assert said.startswith("stopped: 0 of 2 clusters have ")
    leader.look()
    assert await leader.plan() is None
    assert leader.images == {"c-1": NEW, "c-2": OLD}


async def test_what_nobody_watched_was_not_late() -> None:
    leader = Leader(CATTLE_AGENT_ROLLOUT_TIMEOUT="1m")
    leader.put("c-1")
    leader.look()
    await leader.plan()
    await leader.clock.advance(3600)
    leader.reconciler.begin()
    leader.look()
    assert await leader.plan() == 60.0


async def test_a_wish_to_deploy_once_more_is_taken_down() -> None:
    leader = Leader()
    leader.put("c-1", annotations={FORCE: "true"})
    leader.look()
    await leader.plan()
    assert leader.cluster("c-1").metadata.annotations == {FORCE: "false"}


async def test_who_goes_away_meanwhile_is_no_error() -> None:
    leader = Leader()
    leader.put("c-1")
    leader.api.objects["clusters", "", "c-1"]["status"].pop("appliedState")
    leader.look()
    leader.api.drop(CLUSTERS, "c-1")
    assert (await leader.reconciler.reconcile(FLEET)) == DONE


def test_only_what_counts_is_a_change() -> None:
    leader = Leader()
    leader.put("c-1")
    old, new = leader.cluster("c-1"), leader.cluster("c-1")
    new.status.node_count = 7
    assert same_standing(old, new)
    assert new.status.applied_state is not None
    new.status.applied_state.agent_image = NEW
    assert not same_standing(old, new)


def test_the_time_an_upgrade_may_take_has_a_default() -> None:
    for text, seconds in (("2m", 120), ("soon", 300), ("", 300)):
        settings = ClusterSettings(Copy(), Copy(), {"CATTLE_AGENT_ROLLOUT_TIMEOUT": text})
        assert settings.agent_rollout_timeout == timedelta(seconds=seconds)
