"""Upgrades of agents on a real API server: waves, a stop that outlives its leader, going on and going back.

Agents are stood in for by what they would report; that a Deployment does what they stand for is shown in tests/pods.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from uuid import uuid4

import pytest

from outrider.apis.management.cluster import CLUSTERS, Cluster
from outrider.apis.management.setting import SETTINGS
from outrider.features.clusters.agent_upgrade import FIRST, FORCE
from outrider.features.clusters.upgrade_status import CONDITION
from outrider.kit.tasks import cancel_and_wait
from outrider.kube import conditions as c
from outrider.kube.builtin import EVENTS
from outrider.kube.client import Client
from outrider.kube.errors import Conflict
from outrider.kube.meta import Condition
from tests.integration.clusters.conftest import Plane, eventually, running


class Agents:
    """Clusters whose agents do what their desired state says, unless the image is a broken one."""

    def __init__(self, client: Client, plane: Plane) -> None:
        self.client = client
        self.plane = plane
        self.names: list[str] = []
        self.broken: set[str] = set()
        self.slow = 0.0
        self.most = 0
        self.order: list[str] = []

    async def create(self, count: int) -> None:
        for _ in range(count):
            name = await self.plane.create(f"Cluster {uuid4().hex[:10]}")
            await self.plane.admit(await self.plane.token(name))
            await self.plane.connect(name)
            await self.plane.until(name, lambda one: one.status.connected and one.status.agent_image)
            self.names.append(name)

    async def clusters(self) -> list[Cluster]:
        """All at one moment: what is read one after the other may never have been true together."""
        listed = (await self.client.list(CLUSTERS)).items
        return [one for one in listed if one.metadata.name in self.names]

    async def run(self) -> None:
        while True:
            under_way = 0
            for cluster in await self.clusters():
                under_way += await self._work(cluster)
            self.most = max(self.most, under_way)
            await asyncio.sleep(0.02)

    async def _work(self, cluster: Cluster) -> bool:
        """What the agent of one cluster reports; returns whether it is being upgraded."""
        name, image, upgrade = cluster.metadata.name, cluster.status.agent_image, cluster.status.agent_upgrade
        if upgrade and not upgrade.finished_at and name not in self.order:
            self.order.append(name)
        applied = cluster.status.applied_state
        serving = applied.agent_image if applied and image in self.broken else image
        if applied is None or (applied.hash, applied.agent_image) != (image, serving):
            await asyncio.sleep(self.slow)
            state = {"hash": image, "agentImage": serving, "epoch": 1, "counter": 1}
            patch = {
                "metadata": {"resourceVersion": cluster.metadata.resource_version},
                "status": {"desiredState": {"hash": image}, "appliedState": state},
            }
            with contextlib.suppress(Conflict):
                await self.client.patch(CLUSTERS, name, patch, subresource="status")
        return bool(upgrade and not upgrade.finished_at and not upgrade.failed_at)

    async def settled(self, image: str) -> bool:
        return all(
            one.status.agent_image == image
            and one.status.applied_state is not None
            and one.status.applied_state.agent_image == image
            for one in await self.clusters()
        )

    async def failed(self) -> tuple[str, Condition] | None:
        for one in await self.clusters():
            found = c.get_condition(one.status.conditions, CONDITION)
            if found is not None and found.status == "False":
                return one.metadata.name, found
        return None


async def choose(client: Client, name: str, value: str) -> None:
    await client.apply(SETTINGS, {"metadata": {"name": name}, "value": value})


async def said(client: Client) -> str:
    return (await client.get(SETTINGS, "agent-upgrade-status")).value


@pytest.fixture
async def agents(admin: Client, plane: Plane) -> AsyncIterator[Agents]:
    """Three clusters with the image `agent:1`."""
    await choose(admin, "agent-upgrade-status", "")
    await choose(admin, "agent-image", "agent:1")
    await choose(admin, "agent-upgrade-largest-wave", "2")
    await choose(admin, "agent-rollout-timeout", "2s")
    made = Agents(admin, plane)
    await made.create(4)
    work = asyncio.create_task(made.run())
    await eventually(lambda: made.settled("agent:1"))
    yield made
    await cancel_and_wait(work)
    for name in made.names:
        await plane.call("DELETE", f"/v3/clusters/{name}")
    for name in ("agent-image", "agent-upgrade-largest-wave", "agent-rollout-timeout"):
        await admin.delete_if_exists(SETTINGS, name)


async def events(client: Client, about: str) -> set[str]:
    listed = await client.list(EVENTS, "default", fields=f"involvedObject.name={about}")
    return {event["reason"] for event in listed.items}


def outcome(kind: str) -> Callable[[Cluster], bool]:
    def check(cluster: Cluster) -> bool:
        found = c.get_condition(cluster.status.conditions, CONDITION)
        return found is not None and found.status == kind

    return check


async def test_waves(admin: Client, plane: Plane, agents: Agents) -> None:
    first = sorted(agents.names)[-1]
    await admin.patch(CLUSTERS, first, {"metadata": {"labels": {FIRST: "true"}}})
    agents.slow = 0.1
    await choose(admin, "agent-image", "agent:2")
    await eventually(lambda: agents.settled("agent:2"), within=20)
    assert agents.order[0] == first
    assert agents.most == 2
    for name in agents.names:
        await plane.until(name, outcome("True"))
        assert "AgentUpgraded" in await events(admin, name)

    async def told() -> bool:
        return (await said(admin)).endswith("clusters have agent:2")

    await eventually(told)
    # A new one gets the present image at once, and no upgrade is told of
    await agents.create(1)
    (new,) = [one for one in await agents.clusters() if one.metadata.name == agents.names[-1]]
    assert new.status.agent_image == "agent:2"
    assert new.status.agent_upgrade is None


async def test_two_that_lead_at_once_let_no_more_begin(admin: Client, agents: Agents) -> None:
    """As it is for a moment when a leader was paused: they choose the same, and one of them writes it."""
    agents.slow = 0.1
    async with running(admin):
        await choose(admin, "agent-image", "agent:2")
        await eventually(lambda: agents.settled("agent:2"), within=20)
    assert agents.most == 2


async def test_a_failure_stops_whoever_leads(admin: Client, plane: Plane, agents: Agents) -> None:
    agents.broken.add("agent:bad")
    await choose(admin, "agent-image", "agent:bad")
    name, condition = await eventually(agents.failed)
    assert condition.reason == "NotConnected"
    assert "no agent that runs agent:bad has taken over within 2 s" in condition.message
    assert "the one with agent:1 still serves" in condition.message

    async def stopped() -> bool:
        return (await said(admin)).startswith("stopped: ") and name in await said(admin)

    await eventually(stopped)
    assert "AgentUpgradeFailed" in await events(admin, name)
    async with running(admin):  # another leader, which has seen nothing of this
        await asyncio.sleep(2.5)
        with_it = [one for one in await agents.clusters() if one.status.agent_image == "agent:bad"]
        assert [one.metadata.name for one in with_it] == [name]

    await choose(admin, "agent-image", "agent:1")
    await eventually(lambda: agents.settled("agent:1"), within=2)
    await plane.until(name, outcome("True"))


async def test_it_goes_on_when_the_user_asks_once_more(admin: Client, plane: Plane, agents: Agents) -> None:
    agents.broken.add("agent:3")
    await choose(admin, "agent-image", "agent:3")
    name, _ = await eventually(agents.failed)
    await admin.patch(CLUSTERS, name, {"metadata": {"annotations": {FORCE: "true"}}})
    await plane.until(name, lambda one: one.metadata.annotations.get(FORCE) == "false")
    await plane.until(name, outcome("Unknown"), within=1)
    agents.broken.clear()
    await eventually(lambda: agents.settled("agent:3"), within=20)
    await plane.until(name, outcome("True"))


async def test_it_goes_on_when_more_failures_are_tolerated(admin: Client, agents: Agents) -> None:
    agents.broken.add("agent:bad")
    await choose(admin, "agent-image", "agent:bad")
    await eventually(agents.failed)
    await choose(admin, "agent-upgrade-tolerated-failures", "1")

    async def more() -> bool:
        held = [one for one in await agents.clusters() if one.status.agent_image == "agent:bad"]
        return len(held) == 3

    try:
        await eventually(more)
    finally:
        await admin.delete_if_exists(SETTINGS, "agent-upgrade-tolerated-failures")


async def test_what_the_desired_state_holds_is_what_was_decided(
    admin: Client, plane: Plane, agents: Agents
) -> None:
    await choose(admin, "agent-upgrade-largest-wave", "0")
    await choose(admin, "agent-image", "agent:2")
    await asyncio.sleep(1)
    for cluster in await agents.clusters():
        contribution = await plane.feature.objects.contribute(cluster)
        (deployment,) = [one.object for one in contribution.entries if one.object["kind"] == "Deployment"]
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert container["image"] == "agent:1"
        assert {"name": "OUTRIDER_AGENT_IMAGE", "value": "agent:1"} in container["env"]
