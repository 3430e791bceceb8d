"""`/v3` inside a cluster that is reached through its tunnel."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import msgspec
import picows

from tests.support.kubectl import Kubectl


def test_namespaces_and_workloads_through_the_clusters_root(
    admin: Any, first: dict[str, Any], direct: Kubectl
) -> None:
    name = f"views-{uuid4().hex[:6]}"
    root = f"/v3/clusters/{first['id']}"
    opened = admin.get(root)
    assert opened.header("x-api-schemas").endswith(f"/v3/cluster/{first['id']}/schemas")
    schemas = admin.get(f"/v3/cluster/{first['id']}/schemas").json()["data"]
    assert {"namespace", "pod", "workload"} <= {one["id"] for one in schemas}
    body = {"type": "namespace", "name": name, "description": "d", "containerDefaultResourceLimit": {}}
    made = admin.post(f"{root}/namespaces", body)
    assert (made.status, made.json()["id"], made.json()["description"]) == (201, name, "d")
    assert name in direct("get", "namespaces", "-o", "name")
    listed = admin.get(f"/v3/cluster/{first['id']}/namespaces?name={name}").json()["data"]
    assert [one["name"] for one in listed] == [name]
    assert admin.get(f"{root}/workloads").status == 200
    assert admin.get(f"{root}/pods").status == 200
    missing = admin.get("/v3/cluster/c-nope/namespaces")
    assert (missing.status, missing.json()["code"]) == (404, "NotFound")


def test_a_manifest_is_applied_in_the_cluster_as_the_user(
    admin: Any, first: dict[str, Any], direct: Kubectl
) -> None:
    name = f"views-{uuid4().hex[:6]}"
    text = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{a: b}}\n"
    done = admin.post(f"/v3/clusters/{first['id']}?action=importYaml", {"yaml": text})
    assert (done.status, done.json()["message"]) == (200, f"configmap/{name} applied")
    assert direct("get", "configmap", name, "-o", "jsonpath={.data.a}") == "b"


async def test_changes_are_told_through_the_front_door(admin: Any, first: dict[str, Any]) -> None:
    heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    class Subscriber(picows.WSListener):
        def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
            if frame.msg_type == picows.WSMsgType.TEXT:
                heard.put_nowait(msgspec.json.decode(frame.get_payload_as_bytes()))

    url = admin.url.replace("https:", "wss:") + "/v3/subscribe?resourceTypes=setting,feature"
    transport, _ = await picows.ws_connect(
        Subscriber, url, ssl_context=admin._context, extra_headers=dict(admin.headers())
    )
    try:
        async with asyncio.timeout(30):
            assert (await heard.get())["name"] == "ping"
            await asyncio.sleep(1)
            link = "/v3/features/legacy"
            assert (await asyncio.to_thread(admin.request, "PUT", link, {"value": True})).status == 200
            while (message := await heard.get())["name"] != "resource.change":
                pass
            assert (message["data"]["id"], message["data"]["value"]) == ("legacy", True)
    finally:
        transport.disconnect()
        await transport.wait_disconnected()
        await asyncio.to_thread(admin.request, "PUT", "/v3/features/legacy", {"value": None})
