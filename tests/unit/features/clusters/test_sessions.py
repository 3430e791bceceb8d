"""Who is connected: this replica's tunnels, and the union of what all replicas publish."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from outrider.features.clusters.reconcile_inventory import is_writer
from outrider.features.clusters.sessions import ConnectedClusters, SessionPublisher, Sessions, config_map
from outrider.kube.builtin import CONFIGMAPS, NAMESPACES
from outrider.kube.client import Client
from outrider.kube.meta import List
from outrider.link.messages import Peer
from outrider.runtime.informer import Event
from tests.support.clock import FakeClock, settle
from tests.support.fake_api import FakeApi


def published(replica: str, *clusters: str, at: str = "t1") -> Event[dict[str, Any]]:
    return Event("MODIFIED", None, config_map(replica, clusters, at))


def watched(clock: FakeClock) -> tuple[ConnectedClusters, list[str]]:
    connected = ConnectedClusters(clock, expiry=30)
    told: list[str] = []
    connected.on_change(told.append)
    return connected, told


def test_a_cluster_is_connected_while_any_replica_says_so() -> None:
    connected, told = watched(FakeClock())
    connected.handle(published("a", "c-1", "c-2"))
    connected.handle(published("b", "c-2"))
    assert sorted(told) == ["c-1", "c-2", "c-2"]
    assert connected.replicas_of("c-2") == ["a", "b"]
    told.clear()
    connected.handle(published("a", "c-2", at="t2"))
    assert told == ["c-1"]
    assert [connected.is_connected(c) for c in ("c-1", "c-2")] == [False, True]
    connected.handle(Event("DELETED", config_map("b", ["c-2"], "t1"), None))
    assert connected.is_connected("c-2")


def test_a_renewal_alone_tells_nobody() -> None:
    connected, told = watched(FakeClock())
    connected.handle(published("a", "c-1", at="t1"))
    told.clear()
    connected.handle(published("a", "c-1", at="t2"))
    assert told == []


async def test_the_set_of_a_dead_replica_expires_and_comes_back() -> None:
    clock = FakeClock()
    connected, told = watched(clock)
    connected.handle(published("a", "c-1", at="t1"))
    await clock.advance(29)
    connected.handle(published("a", "c-1", at="t2"))
    await clock.advance(29)
    connected.sweep()
    assert connected.is_connected("c-1")
    # Seen again without a renewal, as after a relist: that is no sign of life
    connected.handle(published("a", "c-1", at="t2"))
    told.clear()
    await clock.advance(1)
    connected.sweep()
    assert not connected.is_connected("c-1")
    assert told == ["c-1"]
    connected.sweep()
    assert told == ["c-1"]
    connected.handle(published("a", "c-1", at="t3"))
    assert connected.is_connected("c-1")


async def test_who_lives_is_told_with_address_and_clusters_on_change_only() -> None:
    clock = FakeClock()
    connected, _ = watched(clock)
    changes: list[list[Peer]] = []
    connected.on_replicas(lambda: changes.append(connected.replicas()))

    def publishes(replica: str, address: str, *clusters: str, at: str) -> None:
        connected.handle(Event("MODIFIED", None, config_map(replica, clusters, at, address)))

    a = Peer(replica="a", address="10.0.0.1:8444", clusters=("c-1", "c-2"))
    publishes("a", "10.0.0.1:8444", "c-2", "c-1", at="t1")
    publishes("a", "10.0.0.1:8444", "c-1", "c-2", at="t2")
    assert changes == [[a]]
    publishes("b", "", at="t2")
    publishes("b", "10.0.0.2:8444", at="t2")
    assert changes[1:] == [[a, Peer(replica="b")], [a, Peer(replica="b", address="10.0.0.2:8444")]]
    await clock.advance(20)
    publishes("b", "10.0.0.2:8444", at="t3")
    await clock.advance(10)
    connected.sweep()
    assert [[one.replica for one in live] for live in changes[3:]] == [["b"]], (
        "a replica without clusters dies, too"
    )
    publishes("a", "10.0.0.1:8444", "c-1", "c-2", at="t2")
    assert len(changes) == 4, "what was seen before is no sign of life"
    publishes("a", "10.0.0.1:9000", "c-1", at="t4")
    assert changes[-1][0] == Peer(replica="a", address="10.0.0.1:9000", clusters=("c-1",))
    connected.handle(Event("DELETED", config_map("a", [], "t4"), None))
    assert [one.replica for one in changes[-1]] == ["b"]


async def test_what_a_dead_replica_left_is_named_after_a_while() -> None:
    clock = FakeClock()
    connected, _ = watched(clock)
    connected.handle(published("a", at="t1"))
    await clock.advance(599)
    assert connected.dead_replicas() == []
    await clock.advance(1)
    assert connected.dead_replicas() == ["sessions-a"]


@pytest.mark.parametrize("text", ["", "{", "[1]", '"x"', "null"])
def test_a_damaged_set_is_empty(text: str) -> None:
    connected, _ = watched(FakeClock())
    document = config_map("a", ["c-1"], "t1")
    document["data"]["clusters"] = text
    connected.handle(Event("ADDED", None, document))
    assert not connected.is_connected("c-1")


def test_the_first_replica_with_a_tunnel_writes() -> None:
    assert is_writer(["a", "b"], "a")
    assert not is_writer(["a", "b"], "b")
    assert is_writer([], "b")


def test_tunnels_of_this_replica() -> None:
    sessions = Sessions()
    sessions.opened("c-1", 1, "default-token")
    sessions.opened("c-1", 2, "system")
    assert [s.registration for s in sessions.of("c-1")] == ["default-token", "system"]
    assert not sessions.closed("c-1", 1)
    assert sessions.closed("c-1", 2)
    assert sessions.closed("c-1", 3)
    assert sessions.clusters() == []
    sessions.opened("c-2", 4, "x")
    assert sessions.clear() == ["c-2"]
    assert sessions.clusters() == []


async def test_a_change_is_published_at_once_and_a_renewal_now_and_then() -> None:
    api = FakeApi(CONFIGMAPS, NAMESPACES)
    applied: list[dict[str, Any]] = []

    class Recording(Client):
        async def apply(self, kind: Any, obj: Any, **options: Any) -> Any:
            applied.append(obj)
            return obj

    sessions = Sessions()
    publisher = SessionPublisher(
        Recording(api), sessions, "a", FakeClock(), interval=0.05, settle=0.0, gather=0.0
    )
    task = asyncio.create_task(publisher.run())
    try:
        await settle()
        sessions.opened("c-1", 1, "default-token")
        await asyncio.sleep(0.03)
        assert [obj["data"]["clusters"] for obj in applied[:2]] == ["[]", '["c-1"]']
        before = len(applied)
        await asyncio.sleep(0.15)
        assert len(applied) >= before + 2
        assert applied[-1]["data"]["clusters"] == '["c-1"]'
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_many_changes_are_few_writes() -> None:
    applied: list[list[str]] = []

    class Recording(Client):
        async def apply(self, kind: Any, obj: Any, **options: Any) -> Any:
            applied.append(json.loads(obj["data"]["clusters"]))
            return obj

    sessions = Sessions()
    publisher = SessionPublisher(
        Recording(FakeApi(CONFIGMAPS)), sessions, "a", FakeClock(), settle=0.0, gather=0.05
    )
    task = asyncio.create_task(publisher.run())
    try:
        await asyncio.sleep(0.1)
        for number in range(200):
            sessions.opened(f"c-{number}", number, "default-token")
            await asyncio.sleep(0)
        await asyncio.sleep(0.2)
        assert len(applied) <= 5
        assert len(applied[-1]) == 200
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Shelf(Client):
    """Holds the replicas' sets; `writes` are the clusters that were published, in order."""

    def __init__(self, api: FakeApi, *sets: dict[str, Any]) -> None:
        super().__init__(api)
        self.sets = list(sets)
        self.writes: list[list[str]] = []

    async def list(self, kind: Any, namespace: str = "", **options: Any) -> Any:
        return List(items=self.sets, resource_version="1")

    async def apply(self, kind: Any, obj: Any, **options: Any) -> Any:
        self.writes.append(json.loads(obj["data"]["clusters"]))
        return obj


def publishing(shelf: Shelf, sessions: Sessions, clock: FakeClock) -> SessionPublisher:
    return SessionPublisher(shelf, sessions, "a", clock, interval=0.02, settle=0.0, gather=0.0, grace=20)


async def test_agents_of_a_gateway_that_died_count_as_connected_until_they_had_time_to_come_back() -> None:
    shelf, sessions, clock = Shelf(FakeApi(CONFIGMAPS)), Sessions(), FakeClock()
    task = asyncio.create_task(publishing(shelf, sessions, clock).run())
    try:
        for name in ("c-1", "c-2"):
            sessions.opened(name, 1, "default-token")
        await asyncio.sleep(0.1)
        sessions.clear()
        await asyncio.sleep(0.1)
        assert shelf.writes[-1] == ["c-1", "c-2"]
        sessions.opened("c-2", 2, "default-token")
        await clock.advance(19)
        await asyncio.sleep(0.1)
        assert shelf.writes[-1] == ["c-1", "c-2"]
        await clock.advance(2)
        await asyncio.sleep(0.1)
        assert shelf.writes[-1] == ["c-2"]
        sessions.closed("c-2", 2)
        await asyncio.sleep(0.1)
        assert shelf.writes[-1] == [], "an agent that left by itself is gone at once"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_replica_that_starts_expects_those_it_had_and_nobody_else_has() -> None:
    before = (config_map("a", ["c-1", "c-2"], "t"), config_map("b", ["c-2", "c-3"], "t"))
    shelf, sessions, clock = Shelf(FakeApi(CONFIGMAPS), *before), Sessions(), FakeClock()
    task = asyncio.create_task(publishing(shelf, sessions, clock).run())
    try:
        await asyncio.sleep(0.1)
        assert shelf.writes[0] == ["c-1"]
        await clock.advance(21)
        await asyncio.sleep(0.1)
        assert shelf.writes[-1] == []
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
