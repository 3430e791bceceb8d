"""Certificates of replicas, and what the gateway is told of the others."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from outrider.kit import pki
from outrider.kube.builtin import SECRETS
from outrider.kube.client import Client
from outrider.kube.errors import TransportError
from outrider.link.messages import PEER_GROUP, Message, Peer, PeerDoor, PeerMaterial, Peers
from outrider.server.peers import AUTHORITY, LIFETIME, PeerAuthority, PeerDirectory
from tests.support.clock import FakeClock
from tests.support.fake_api import FakeApi

NAMESPACE = "cattle-system"


def held(api: FakeApi) -> pki.Credential:
    data = api.objects["secrets", NAMESPACE, AUTHORITY]["data"]
    return pki.Credential(base64.b64decode(data["tls.crt"]), base64.b64decode(data["tls.key"]))


async def test_all_replicas_share_one_authority_and_each_has_its_own_key() -> None:
    api, clock = FakeApi(SECRETS), FakeClock()
    client = Client(api)
    one = await PeerAuthority(client, "a", clock).read()
    other = await PeerAuthority(client, "b", clock).read()
    assert one.ca == other.ca
    assert one.key != other.key
    for material, name in ((one, "a"), (other, "b")):
        info = pki.describe(material.certificate.encode())
        assert (info.common_name, info.organizations, info.dns) == (name, (PEER_GROUP,), (name,))
        assert pki.issued_by(material.certificate.encode(), material.ca.encode())
        assert material.key not in repr(material)
        assert material.key.strip() not in str(api.objects), "a replica's key stays in its processes"


async def test_a_certificate_is_issued_anew_in_time_and_only_then() -> None:
    api, clock = FakeApi(SECRETS), FakeClock()
    authority = PeerAuthority(Client(api), "a", clock)
    first = await authority.read()
    await clock.advance(LIFETIME.total_seconds() / 2)
    assert await authority.read() == first
    await clock.advance(LIFETIME.total_seconds() / 4)
    renewed = await authority.read()
    assert renewed.certificate != first.certificate
    assert renewed.ca == first.ca


async def test_an_authority_that_is_renewed_keeps_its_key() -> None:
    api, clock = FakeApi(SECRETS), FakeClock()
    former = await PeerAuthority(Client(api), "a", clock).read()
    await clock.advance(timedelta(days=365 * 8).total_seconds())
    renewed = await PeerAuthority(Client(api), "b", clock).read()
    assert renewed.ca != former.ca
    assert pki.public_key_of(held(api).key_pem)
    assert pki.issued_by(renewed.certificate.encode(), former.ca.encode()), "others trust it meanwhile"


class Published:
    """What replicas publish, changed by the test."""

    def __init__(self, *peers: Peer) -> None:
        self.peers = list(peers)
        self.watchers: list[Callable[[], None]] = []

    def replicas(self) -> list[Peer]:
        return self.peers

    def on_replicas(self, watcher: Callable[[], None]) -> None:
        self.watchers.append(watcher)

    def change(self, *peers: Peer) -> None:
        self.peers = list(peers)
        for watcher in self.watchers:
            watcher()


class Gateway:
    def __init__(self) -> None:
        self.told: list[Message] = []

    def peers(self) -> list[tuple[str, ...]]:
        return [tuple(p.replica for p in one.others) for one in self.told if isinstance(one, Peers)]

    def materials(self) -> int:
        return sum(isinstance(one, PeerMaterial) for one in self.told)


def directory(api: FakeApi, published: Published, gateway: Gateway, doors: list[str]) -> PeerDirectory:
    return PeerDirectory(
        "a",
        PeerAuthority(Client(api, max_retries=0), "a", FakeClock()),
        published,
        publish=doors.append,
        send=gateway.told.append,
        interval=0.02,
    )


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def test_the_gateway_hears_of_changes_and_of_nothing_before_all_is_known() -> None:
    here, there = Peer(replica="a", address="x:1"), Peer(replica="b", address="x:2", clusters=("c-1",))
    published, gateway, doors = Published(here), Gateway(), list[str]()
    peers = directory(FakeApi(SECRETS), published, gateway, doors)
    peers.attached()
    published.change(here, there)
    assert gateway.told == []
    task = asyncio.create_task(peers.run())
    try:
        await until(gateway.materials)
        assert gateway.peers() == [("b",)]
        published.change(here, there)
        assert gateway.peers() == [("b",)], "the same again is no news"
        published.change(here)
        assert gateway.peers() == [("b",), ()]
        await asyncio.sleep(0.1)
        assert gateway.materials() == 1
        again = Gateway()
        peers._send = again.told.append
        peers.attached()
        assert (again.materials(), again.peers()) == (1, [()])
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_door_is_published() -> None:
    doors: list[str] = []
    directory(FakeApi(SECRETS), Published(), Gateway(), doors).door(PeerDoor(address="10.0.0.5:8444"))
    assert doors == ["10.0.0.5:8444"]


async def test_an_api_server_that_is_away_ends_nothing() -> None:
    api, gateway = FakeApi(SECRETS), Gateway()
    failures = iter([TransportError("away")])
    api.interfere = lambda request: next(failures, None)
    task = asyncio.create_task(directory(api, Published(), gateway, []).run())
    try:
        await until(gateway.materials)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
