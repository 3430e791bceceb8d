"""`/v1/subscribe` over real WebSockets, counts, preferences, and what is shown before sign-in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import picows
import pytest
from picows import WSFrame, WSListener, WSTransport

from outrider.kube.builtin import CONFIGMAPS
from outrider.kube.client import Client
from outrider.link.claims import encode_claim
from outrider.link.messages import CLAIM_HEADER, Claim
from tests.integration.views.conftest import HOST, Person, Plane


class Listener(WSListener):
    """What a subscriber hears, pings left out."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.transport: WSTransport | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == picows.WSMsgType.TEXT:
            message = msgspec.json.decode(frame.get_payload_as_bytes())
            if message["name"] != "ping":
                self.heard.put_nowait(message)

    def ask(self, **asked: Any) -> None:
        assert self.transport is not None
        self.transport.send(picows.WSMsgType.TEXT, msgspec.json.encode(asked))

    async def next(self, name: str = "") -> dict[str, Any]:
        async with asyncio.timeout(15):
            while True:
                message = await self.heard.get()
                if name in ("", message["name"]):
                    return message

    async def started(self, **asked: Any) -> None:
        self.ask(**asked)
        assert (await self.next())["name"] == "resource.start"
        await asyncio.sleep(0.3)


@asynccontextmanager
async def listening(address: str, who: Person, path: str = "/v1/subscribe") -> AsyncIterator[Listener]:
    claim = Claim(identity=who.identity, user=who.identity.user, host=HOST)
    transport, listener = await picows.ws_connect(
        Listener, f"ws://{address}{path}", extra_headers={CLAIM_HEADER: encode_claim(claim)}
    )
    assert isinstance(listener, Listener)
    try:
        yield listener
    finally:
        transport.disconnect()
        await transport.wait_disconnected()


def config_map(namespace: str, name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "data": data}


async def test_what_happens_is_told_as_it_is_shown(
    plane: Plane,
    served: str,
    admin: Client,
    namespace: str,
) -> None:
    root = await plane.administrator()
    async with listening(served, root) as listener:
        await listener.started(resourceType="configmap", namespace=namespace)
        await admin.create(CONFIGMAPS, config_map(namespace, "a", one="1"))
        made = await listener.next()
        assert (made["name"], made["resourceType"], made["namespace"]) == (
            "resource.create",
            "configmap",
            namespace,
        )
        assert made["data"]["id"] == f"{namespace}/a"
        assert made["data"]["metadata"]["fields"][0] == "a"
        assert "update" in made["data"]["links"]
        await admin.patch(CONFIGMAPS, "a", {"data": {"one": "2"}}, namespace)
        changed = await listener.next()
        assert (changed["name"], changed["data"]["data"]) == ("resource.change", {"one": "2"})
        assert int(changed["revision"]) > int(made["revision"])
        await admin.delete(CONFIGMAPS, "a", namespace)
        removed = await listener.next()
        assert (removed["name"], removed["data"]["id"]) == ("resource.remove", f"{namespace}/a")
        listener.ask(resourceType="configmap", namespace=namespace, stop=True)
        assert (await listener.next())["name"] == "resource.stop"
    async with asyncio.timeout(5):
        while plane.watches.watches:
            await asyncio.sleep(0.02)


async def test_who_comes_with_a_version_hears_what_came_after_it(
    plane: Plane,
    served: str,
    admin: Client,
    namespace: str,
) -> None:
    root = await plane.administrator()
    first = await admin.create(CONFIGMAPS, config_map(namespace, "a"))
    version = first["metadata"]["resourceVersion"]
    await admin.create(CONFIGMAPS, config_map(namespace, "b"))
    await admin.delete(CONFIGMAPS, "a", namespace)
    asked = {"resourceType": "configmaps", "namespace": namespace, "resourceVersion": version}
    async with (
        listening(served, root) as one,
        listening(served, root) as two,
        listening(served, root) as three,
    ):
        one.ask(**asked)
        told = [(await one.next())["name"] for _ in range(3)]
        assert sorted(told) == ["resource.create", "resource.remove", "resource.start"]
        # a second comes to the same watch, which remembers
        two.ask(**asked)
        assert sorted([(await two.next())["name"] for _ in range(3)]) == sorted(told)
        assert plane.watches.watches == 1
        three.ask(resourceType="configmap", namespace=namespace, resourceVersion="1")
        names = {(await three.next())["name"] for _ in range(3)}
        assert names & {"resource.create", "resource.error"}


async def test_only_what_is_theirs_is_told(
    plane: Plane,
    served: str,
    admin: Client,
    namespace: str,
) -> None:
    jane = await plane.person()
    await jane.may(
        "get", "list", "watch", resource="configmaps", group="", names=["mine"], namespace=namespace
    )
    async with listening(served, jane) as listener, listening(served, jane) as hints:
        await listener.started(resourceType="configmap")
        await hints.started(resourceType="configmap", mode="resource.changes", debounceMs=100)
        await admin.create(CONFIGMAPS, config_map(namespace, "foreign"))
        await admin.delete(CONFIGMAPS, "foreign", namespace)
        await asyncio.sleep(0.6)
        assert listener.heard.empty()
        assert hints.heard.empty()
        await admin.create(CONFIGMAPS, config_map(namespace, "mine"))
        assert (await listener.next())["data"]["id"] == f"{namespace}/mine"
        hint = await hints.next()
        assert (hint["name"], hint["resourceType"], "data" in hint) == (
            "resource.changes",
            "configmap",
            False,
        )
        listener.ask(resourceType="secret")
        refused = await listener.next("resource.error")
        assert "may not see" in refused["data"]["error"]
        assert (await listener.next())["name"] == "resource.stop"


async def test_selectors_and_single_objects(
    plane: Plane,
    served: str,
    admin: Client,
    namespace: str,
) -> None:
    root = await plane.administrator()
    async with listening(served, root) as listener:
        await listener.started(resourceType="configmap", namespace=namespace, selector="app=web")
        await listener.started(resourceType="configmap", id=f"{namespace}/b")
        made = config_map(namespace, "a")
        made["metadata"]["labels"] = {"app": "web"}
        await admin.create(CONFIGMAPS, made)
        assert (await listener.next())["selector"] == "app=web"
        await admin.create(CONFIGMAPS, config_map(namespace, "b"))
        frames = [await listener.next() for _ in range(2)]
        assert {(one["name"], one["data"]["id"]) for one in frames} == {
            ("resource.create", f"{namespace}/b"),
            ("resource.remove", f"{namespace}/b"),
        }


async def test_a_subscriber_that_talks_nonsense_is_told(plane: Plane, served: str) -> None:
    root = await plane.administrator()
    async with listening(served, root) as listener:
        for asked in (
            {"resourceType": 7},
            {},
            {"resourceType": "pod", "mode": "x"},
            {"resourceType": "no.such"},
        ):
            listener.ask(**asked)
            assert (await listener.next("resource.error"))["data"]["error"]
        listener.ask(resourceType="pod", selector="==")
        assert (await listener.next("resource.error"))["data"]["error"]


async def test_many_subscribers_cost_one_watch(
    plane: Plane,
    served: str,
    admin: Client,
    namespace: str,
) -> None:
    people = [await plane.person() for _ in range(4)]
    for one in people:
        await one.may("get", "list", resource="configmaps", group="", namespace=namespace)
    async with (
        listening(served, people[0]) as a,
        listening(served, people[1]) as b,
        listening(served, people[2]) as c,
        listening(served, people[3]) as d,
    ):
        for listener in (a, b, c, d):
            await listener.started(resourceType="configmap")
        assert plane.watches.watches == 1
        await admin.create(CONFIGMAPS, config_map(namespace, "a"))
        for listener in (a, b, c, d):
            assert (await listener.next())["data"]["id"] == f"{namespace}/a"


async def test_inside_a_cluster(plane: Plane, served: str, admin: Client, namespace: str) -> None:
    root = await plane.administrator()
    async with asyncio.timeout(20):
        while (await root.send()("GET", "/k8s/clusters/local/v1", None)).status != 200:
            await asyncio.sleep(0.1)
    async with listening(served, root, "/k8s/clusters/local/v1/subscribe") as listener:
        await listener.started(resourceType="configmap", namespace=namespace)
        await admin.create(CONFIGMAPS, config_map(namespace, "a"))
        link = (await listener.next())["data"]["links"]["self"]
        assert link.endswith(f"/k8s/clusters/local/v1/configmaps/{namespace}/a")


async def test_counts_and_their_changes(
    plane: Plane,
    served: str,
    admin: Client,
    namespace: str,
) -> None:
    await admin.create(CONFIGMAPS, config_map(namespace, "a"))
    jane = await plane.person()
    await jane.may("get", "list", "watch", resource="configmaps", group="", namespace=namespace)
    reply = await jane.send()("GET", "/v1/counts", None)
    (counted,) = reply.json()["data"]
    assert counted["id"] == "count"
    assert counted["counts"]["configmap"] == {
        "summary": {"count": 1},
        "namespaces": {namespace: {"count": 1}},
    }
    assert "secret" not in counted["counts"]
    async with listening(served, jane) as listener:
        await listener.started(resourceType="count")
        await admin.create(CONFIGMAPS, config_map(namespace, "b"))
        changed = await listener.next("resource.change")
        assert changed["data"]["counts"]["configmap"]["summary"] == {"count": 2}


async def test_preferences_are_kept_for_their_user(plane: Plane) -> None:
    jane, john = await plane.person(), await plane.person()
    for one in (jane, john):
        await one.may("*", resource="preferences")
    send, name = jane.send(), jane.identity.user
    (mine,) = (await send("GET", "/v1/userpreferences", None)).json()["data"]
    assert (mine["id"], mine["data"]) == (name, {})
    for chosen in ({"theme": "dark", "per-page": "100"}, {"theme": "light"}, {}):
        saved = await send("PUT", f"/v1/userpreferences/{name}", {"data": chosen})
        assert (saved.status, saved.json()["data"]) == (200, chosen)
        assert (await send("GET", f"/v1/userpreferences/{name}", None)).json()["data"] == chosen
    assert (await john.send()("GET", f"/v1/userpreferences/{name}", None)).status == 404
    wrong = await send("PUT", f"/v1/userpreferences/{name}", {"data": {"a": 1}})
    assert (wrong.status, wrong.json()["fieldName"]) == (422, "data")


async def test_before_sign_in_there_are_the_public_settings(plane: Plane) -> None:
    stranger = Person(plane, (await plane.person()).identity)

    async def ask(path: str) -> Any:
        from tests.support.asgi import call

        return await call(plane.app, "GET", path, claim=Claim(host=HOST))

    listed = (await ask("/v1/management.cattle.io.settings")).json()
    names = {one["id"] for one in listed["data"]}
    assert names
    assert "auth-token-max-ttl-minutes" not in names
    one = (await ask(f"/v1/management.cattle.io.settings/{min(names)}")).json()
    assert (one["type"], one["id"]) == ("management.cattle.io.setting", min(names))
    for path in ("/v1/management.cattle.io.settings/auth-token-max-ttl-minutes", "/v1/schemas", "/v1/pods"):
        assert (await ask(path)).status == 401
    signed_in = (await stranger.send()("GET", "/v1/management.cattle.io.settings", None)).json()
    assert {one["id"] for one in signed_in["data"]} == names
    assert (await ask("/v1/uiplugins")).json()["data"] == []


@pytest.mark.parametrize("path", ["/v1/subscribe", "/k8s/clusters/local/v1/subscribe"])
async def test_who_may_not_is_refused(plane: Plane, served: str, path: str) -> None:
    with pytest.raises(picows.WSInvalidStatusError) as refused:
        await picows.ws_connect(
            Listener, f"ws://{served}{path}", extra_headers={CLAIM_HEADER: encode_claim(Claim())}
        )
    assert refused.value.response.status == 401
