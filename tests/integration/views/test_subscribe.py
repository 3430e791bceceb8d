"""`/v3/subscribe` over real WebSockets: changes of what one may see, by one watch a kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import picows
import pytest
from picows import WSFrame, WSListener, WSTransport

from outrider.facade.websocket import MAX_MESSAGE
from outrider.link.claims import encode_claim
from outrider.link.messages import CLAIM_HEADER, Claim
from tests.integration.views.conftest import HOST, Person, Plane


class Subscriber(WSListener):
    """What a client hears, pings left out."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.closed = asyncio.Event()
        self.pinged = asyncio.Event()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != picows.WSMsgType.TEXT:
            return
        message = msgspec.json.decode(frame.get_payload_as_bytes())
        if message["name"] == "ping":
            self.pinged.set()
        else:
            self.heard.put_nowait(message)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.closed.set()

    async def until(self, name: str, identifier: str) -> dict[str, Any]:
        async with asyncio.timeout(10):
            while True:
                message = await self.heard.get()
                if (message["name"], message["data"]["id"]) == (name, identifier):
                    return message


@asynccontextmanager
async def subscribed(
    address: str, who: Person | None, path: str = "/v3/subscribe"
) -> AsyncIterator[Subscriber]:
    claim = Claim(host=HOST)
    if who is not None:
        claim = Claim(identity=who.identity, user=who.identity.user, host=HOST)
    transport, listener = await picows.ws_connect(
        Subscriber, f"ws://{address}{path}", extra_headers={CLAIM_HEADER: encode_claim(claim)}
    )
    assert isinstance(listener, Subscriber)
    try:
        async with asyncio.timeout(5):
            await listener.pinged.wait()
        yield listener
    finally:
        transport.disconnect()
        await transport.wait_disconnected()


async def test_changes_are_told_to_those_who_may_see_them(plane: Plane, served: str, unique: str) -> None:
    root, jane = await plane.administrator(), await plane.person()
    client = await root.norman()
    mine = await client.create("cluster", name=unique)
    foreign = await client.create("cluster", name=f"{unique}-2")
    await jane.may("get", resource="clusters", names=[mine["id"]])
    async with (
        subscribed(served, root, "/v3/subscribe?resourceTypes=cluster") as all_of_them,
        subscribed(served, jane, "/v3/subscribe?resourceTypes=cluster,node") as hers,
    ):
        await asyncio.sleep(0.5)
        for cluster in (foreign, mine):
            await client.update(await client.reload(cluster), description="changed")
        told = await hers.until("resource.change", mine["id"])
        while told["data"].get("description") != "changed":
            told = await hers.until("resource.change", mine["id"])
        assert told["resourceType"] == "cluster"
        assert "update" not in told["data"]["links"]
        seen = await all_of_them.until("resource.change", foreign["id"])
        assert "update" in seen["data"]["links"]
        assert plane.norman.subscriptions.watches == 2
        await client.delete(await client.reload(mine))
        await hers.until("resource.remove", mine["id"])
        while not hers.heard.empty():
            assert hers.heard.get_nowait()["data"]["id"] == mine["id"]
    async with asyncio.timeout(5):
        while plane.norman.subscriptions.watches:
            await asyncio.sleep(0.02)


async def test_many_subscribers_cost_one_watch(plane: Plane, served: str, unique: str) -> None:
    root = await plane.administrator()
    async with (
        subscribed(served, root, "/v3/subscribe?resourceTypes=feature") as first,
        subscribed(served, root, "/v3/subscribe?resourceTypes=feature") as second,
    ):
        assert plane.norman.subscriptions.watches == 1
        await asyncio.sleep(0.5)
        client = await root.norman()
        feature = await client.by_id("feature", "legacy")
        await client.update(feature, value=True)
        for one in (first, second):
            assert (await one.until("resource.change", "legacy"))["data"]["value"] is True
        await client.update(feature, value=None)


@pytest.mark.parametrize("path", ["/v3/subscribe", "/v3/clusters/local/subscribe"])
async def test_who_has_not_signed_in_is_refused(plane: Plane, served: str, path: str) -> None:
    with pytest.raises(picows.WSInvalidStatusError) as refused:
        async with subscribed(served, None, path):
            pass
    assert refused.value.response.status == 401


async def test_somebody_without_the_cluster_cannot_listen_in_it(plane: Plane, served: str) -> None:
    jane = await plane.person()
    with pytest.raises(picows.WSInvalidStatusError) as refused:
        async with subscribed(served, jane, "/v3/cluster/local/subscribe"):
            pass
    assert refused.value.response.status == 404


async def test_inside_a_cluster(plane: Plane, served: str, unique: str) -> None:
    root = await plane.administrator()
    inside = await root.norman(root="/v3/clusters/local")
    async with subscribed(served, root, "/v3/cluster/local/subscribe?resourceTypes=namespace") as listener:
        await asyncio.sleep(0.5)
        made = await inside.create("namespace", name=unique)
        told = await listener.until("resource.change", unique)
        assert told["data"]["links"]["self"] == made["links"]["self"]


async def test_too_large_a_message_ends_it(plane: Plane, served: str) -> None:
    root = await plane.administrator()
    claim = Claim(identity=root.identity, user=root.identity.user, host=HOST)
    transport, listener = await picows.ws_connect(
        Subscriber,
        f"ws://{served}/v3/subscribe?resourceTypes=feature",
        extra_headers={CLAIM_HEADER: encode_claim(claim)},
    )
    assert isinstance(listener, Subscriber)
    transport.send(picows.WSMsgType.TEXT, b"small and ignored")
    await asyncio.sleep(0.2)
    assert not listener.closed.is_set()
    transport.send(picows.WSMsgType.TEXT, b"x" * (MAX_MESSAGE + 1))
    async with asyncio.timeout(5):
        await listener.closed.wait()
