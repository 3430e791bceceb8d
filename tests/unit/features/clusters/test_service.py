"""The link's messages about tunnels: who is closed, what is asked, what is dropped."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from outrider.apis.management.cluster import Cluster
from outrider.apis.management.registration_token import ClusterRegistrationToken
from outrider.features.clusters.inventories import Inventories
from outrider.features.clusters.service import ClusterService
from outrider.features.clusters.sessions import Sessions
from outrider.features.clusters.sources import same_but_for_status
from outrider.kube.meta import ObjectMeta
from outrider.link.messages import (
    CloseSessions,
    FromAgent,
    Message,
    SessionClosed,
    SessionOpened,
    ToAgent,
)
from outrider.runtime.informer import Event
from outrider.tunnel.reports import Health, InventoryDelta, Removal, encode
from outrider.tunnel.snapshot import Snapshot
from tests.support.clock import FakeClock


class Registry:
    """Knows which registrations still justify a session."""

    def __init__(self) -> None:
        self.good = {("c-1", "default-token")}

    def justifies(self, cluster: str, registration: str) -> bool:
        return (cluster, registration) in self.good


class Stand:
    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.changed: list[str] = []
        self.leaving: list[tuple[str, Removal]] = []
        self.synced = True
        self.registry: Any = Registry()
        self.sessions = Sessions()
        self.inventories = Inventories(FakeClock())
        admissions: Any = None
        self.service = ClusterService(
            admissions=admissions,
            registry=self.registry,
            sessions=self.sessions,
            inventories=self.inventories,
            send=self.sent.append,
            changed=self.changed.append,
            synced=lambda: self.synced,
            leaving=lambda cluster, report: self.leaving.append((cluster, report)),
        )

    async def open(self, number: int, registration: str = "default-token", cluster: str = "c-1") -> None:
        opened = SessionOpened(cluster=cluster, session=number, registration=registration)
        await self.service.session_opened(opened)

    async def report(self, body: bytes, session: int = 1) -> None:
        await self.service.from_agent(FromAgent(cluster="c-1", session=session, body=msgspec.Raw(body)))

    @property
    def closed(self) -> list[str]:
        return [m.registration for m in self.sent if isinstance(m, CloseSessions)]


@pytest.fixture
def stand() -> Stand:
    return Stand()


async def test_a_session_whose_registration_went_meanwhile_is_closed(stand: Stand) -> None:
    await stand.open(1)
    assert stand.closed == []
    await stand.open(2, "deleted")
    assert stand.closed == ["deleted"]


async def test_nothing_is_closed_before_everything_is_known(stand: Stand) -> None:
    stand.synced = False
    await stand.open(1, "deleted")
    await stand.service.sweep()
    assert stand.closed == []
    stand.synced = True
    await stand.service.sweep()
    assert stand.closed == ["deleted"]


async def test_a_deleted_registration_takes_its_sessions_with_it(stand: Stand) -> None:
    await stand.open(1)
    registration = ClusterRegistrationToken(metadata=ObjectMeta(name="default-token", namespace="c-1"))
    stand.service.registration_changed(Event("MODIFIED", registration, registration))
    assert stand.closed == []
    stand.registry.good.clear()
    stand.service.registration_changed(Event("DELETED", registration, None))
    assert stand.closed == ["default-token"]


async def test_a_cluster_loses_its_sessions_when_it_is_gone_not_while_it_leaves(stand: Stand) -> None:
    await stand.open(1)
    cluster = Cluster(metadata=ObjectMeta(name="c-1", deletion_timestamp=FakeClock().now()))
    stand.service.cluster_changed(Event("MODIFIED", cluster, cluster))
    assert stand.closed == []
    stand.service.cluster_changed(Event("DELETED", cluster, None))
    assert stand.closed == [""]
    stand.service.cluster_changed(Event("DELETED", Cluster(metadata=ObjectMeta(name="c-2")), None))
    assert stand.closed == [""], "there was no session to close"


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b"7", b'{"type":"desiredState"}', b'{"type":"inventory","nodes":7}']
)
async def test_what_is_not_understood_is_dropped(stand: Stand, body: bytes) -> None:
    await stand.open(1)
    stand.changed.clear()
    await stand.report(body)
    assert stand.changed == []
    assert stand.sent == []


async def test_deep_nesting_is_dropped(stand: Stand) -> None:
    deep = b'{"type":"inventory","reporter":"r","sequence":1,"digest":"","nodes":[{"name":"n","spec":{"a":'
    await stand.report(deep + b"[" * 100_000 + b"]" * 100_000 + b"}}]}")
    assert stand.sent == []


async def test_reports_are_followed_until_the_tunnel_goes(stand: Stand) -> None:
    await stand.open(1)
    snapshot = Snapshot()
    snapshot.reporter = "r"
    snapshot.record(InventoryDelta(reporter="", sequence=0, digest="", health=Health()))
    await stand.report(encode(snapshot.inventory()))
    held = stand.inventories.of("c-1")
    assert held is not None
    assert held.health == Health()
    await stand.service.session_closed(SessionClosed(cluster="c-1", session=1))
    assert stand.inventories.of("c-1") is None
    assert stand.sessions.clusters() == []


async def test_what_a_leaving_agent_says_is_passed_on(stand: Stand) -> None:
    await stand.open(1)
    stand.changed.clear()
    await stand.report(encode(Removal(remaining=3)))
    assert stand.leaving == [("c-1", Removal(remaining=3))]
    assert stand.changed == ["c-1"]


async def test_a_stray_change_is_answered(stand: Stand) -> None:
    await stand.open(1)
    await stand.report(encode(InventoryDelta(reporter="r", sequence=9, digest="0")))
    (answer,) = stand.sent
    assert isinstance(answer, ToAgent)
    assert (answer.cluster, answer.session) == ("c-1", 1)
    assert b"resync" in bytes(answer.body)


async def test_a_lost_link_loses_all_tunnels(stand: Stand) -> None:
    await stand.open(1)
    await stand.open(2, cluster="c-2")
    stand.changed.clear()
    stand.service.link_lost()
    assert stand.sessions.clusters() == []
    assert sorted(stand.changed) == ["c-1", "c-2"]


def test_a_change_of_status_alone_is_no_change() -> None:
    old, new = (Cluster(metadata=ObjectMeta(name="c-1", uid="u", generation=1)) for _ in range(2))
    new.metadata.resource_version = "2"
    new.status.connected = True
    assert same_but_for_status(old, new)
    new.metadata.annotations = {"a": "b"}
    assert not same_but_for_status(old, new)
