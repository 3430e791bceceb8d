"""`/v1` inside a cluster that is reached through its tunnel, through the front door."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

import msgspec
import picows
import pytest

from tests.e2e.conftest import until
from tests.support.door import Door
from tests.support.kubectl import Kubectl
from tests.support.people import People, let_see, same


@pytest.fixture
def root(first: dict[str, Any]) -> str:
    return f"/k8s/clusters/{first['id']}/v1"


def test_kinds_of_the_cluster_are_served_as_kubectl_sees_them(
    admin: Door, first: dict[str, Any], root: str, direct: Kubectl, namespace: str
) -> None:
    schemas = {one["id"]: one for one in admin.get(f"{root}/schemas").json()["data"]}
    link = schemas["configmap"]["links"]["collection"]
    assert link == f"{admin.url}{root}/configmaps"
    assert schemas["apps.deployment"]["attributes"]["columns"][1]["name"] == "Ready"
    body = {"type": "configmap", "metadata": {"name": "one", "namespace": namespace}, "data": {"a": "b"}}
    made = admin.post(f"{root}/configmaps", body)
    assert (made.status, made.json()["id"]) == (201, f"{namespace}/one")
    direct("--namespace", namespace, "create", "configmap", "two")
    path = f"{root}/configmaps/{namespace}?sort=-metadata.name&pagesize=2&filter=metadata.name!=kube"
    listed = admin.get(path).json()
    native = json.loads(direct("--namespace", namespace, "get", "configmaps", "-o", "json"))
    names = sorted((one["metadata"]["name"] for one in native["items"]), reverse=True)
    assert [one["metadata"]["name"] for one in listed["data"]] == [
        name for name in names if "kube" not in name
    ]
    (two,) = (one for one in listed["data"] if one["metadata"]["name"] == "two")
    assert two["links"]["view"] == (
        f"{admin.url}/k8s/clusters/{first['id']}/api/v1/namespaces/{namespace}/configmaps/two"
    )
    assert admin.get(two["links"]["view"].removeprefix(admin.url)).json().get("data") == two.get("data")
    two["data"] = {"c": "d"}
    assert admin.request("PUT", f"{root}/configmaps/{namespace}/two", two).status == 200
    assert direct("--namespace", namespace, "get", "configmap", "two", "-o", "jsonpath={.data.c}") == "d"
    assert admin.request("DELETE", f"{root}/configmaps/{namespace}/two").status == 204
    assert "two" not in direct("--namespace", namespace, "get", "configmaps", "-o", "name")


def test_the_management_cluster_has_one_root_by_two_names(admin: Door) -> None:
    for root in ("/v1", "/k8s/clusters/local/v1"):
        shown = admin.get(f"{root}/management.cattle.io.settings/server-version").json()
        assert shown["links"]["self"] == f"{admin.url}{root}/management.cattle.io.settings/server-version"


def test_three_surfaces_give_one_answer(admin: Door, first: dict[str, Any], management: Kubectl) -> None:
    """The same cluster by `/v3`, `/v1` and kubectl, and the same list of them."""
    name = first["id"]
    norman = admin.get(f"/v3/clusters/{name}").json()
    steve = admin.get(f"/v1/management.cattle.io.clusters/{name}").json()
    native = json.loads(management("get", "clusters.management.cattle.io", name, "-o", "json"))
    assert steve["spec"] == native["spec"]
    assert steve["metadata"]["uid"] == native["metadata"]["uid"] == norman["uuid"]
    assert steve["spec"]["displayName"] == norman["name"] == first["name"]
    assert steve["metadata"]["state"]["name"] == norman["state"] == "active"
    assert steve["metadata"].get("labels") == native["metadata"].get("labels")
    cells = management("get", "clusters.management.cattle.io", name, "--no-headers").split()
    assert cells[0] == str(steve["metadata"]["fields"][0])
    by_kubectl = management(
        "get", "clusters.management.cattle.io", "-o", "jsonpath={.items[*].metadata.name}"
    ).split()
    by_steve = [
        one["id"] for one in admin.get("/v1/management.cattle.io.clusters?sort=metadata.name").json()["data"]
    ]
    by_norman = sorted(one["id"] for one in admin.get("/v3/clusters?limit=-1").json()["data"])
    assert sorted(by_kubectl) == by_steve == by_norman


def test_a_new_user_finds_what_the_dashboard_asks_for(admin: Door, door: Door) -> None:
    people = People(admin)
    try:
        jane = people()
        granted = {"type": "globalRoleBinding", "globalRoleId": "user", "userId": jane.name}
        assert admin.post("/v3/globalRoleBindings", granted).status == 201
        until(lambda: jane.door.post("/v1/ext.cattle.io.selfuser", {}).status == 201)
        myself = jane.door.post("/v1/ext.cattle.io.selfuser", {}).json()
        assert myself["status"]["userID"] == jane.name
        assert (
            jane.door.get(f"/v1/management.cattle.io.users/{jane.name}").json()["username"] == jane.username
        )
        for path in ("management.cattle.io.settings", "management.cattle.io.features", "uiplugins", "counts"):
            assert jane.door.get(f"/v1/{path}").status == 200
        for kind in ("management.cattle.io.clusters", "provisioning.cattle.io.clusters"):
            assert jane.door.get(f"/v1/{kind}?page=1&pagesize=10&sort=metadata.name").json()["data"] == []
        link = f"/v1/userpreferences/{jane.name}"
        assert jane.door.request("PUT", link, {"data": {"theme": "dark"}}).status == 200
        assert jane.door.get("/v1/userpreferences").json()["data"][0]["data"] == {"theme": "dark"}
        stranger = door.post("/v1/ext.cattle.io.selfuser", {})
        assert (stranger.status, stranger.header("x-api-cattle-auth")) == (401, "false")
    finally:
        people.drop()


def test_somebody_sees_in_the_cluster_what_its_own_roles_let_them(
    admin: Door, first: dict[str, Any], root: str, management: Kubectl, direct: Kubectl, namespace: str
) -> None:
    people = People(admin)
    try:
        jane = people()
        unknown = jane.door.get(f"/k8s/clusters/c-{uuid4().hex[:5]}/v1/configmaps")
        assert unknown.status == 404
        assert same(jane.door.get(f"{root}/configmaps"), unknown)
        let_see(management, jane.name, first["id"])
        direct(
            "--namespace",
            namespace,
            "create",
            "rolebinding",
            "r",
            "--clusterrole=view",
            f"--user={jane.name}",
        )
        assert jane.door.get(f"{root}/configmaps/{namespace}").status == 200
        assert jane.door.get(f"{root}/configmaps").status == 403
        refused = jane.door.post(f"{root}/configmaps", {"metadata": {"name": "x", "namespace": namespace}})
        assert (refused.status, refused.json()["code"]) == (403, "Forbidden")
    finally:
        people.drop()


def test_a_token_for_one_cluster_is_good_for_that_clusters_root(
    admin: Door, first: dict[str, Any], second: dict[str, Any], root: str
) -> None:
    made = admin.post("/v3/tokens", {"type": "token", "clusterId": first["id"]}).json()
    narrow = admin.with_token(made["token"])
    assert narrow.get(f"{root}/namespaces").status == 200
    assert narrow.get(f"/k8s/clusters/{second['id']}/v1/namespaces").status in (401, 404)
    assert narrow.get("/v1/namespaces").status == 401


async def test_changes_in_the_cluster_are_told_through_the_front_door(
    admin: Door, root: str, direct: Kubectl, namespace: str
) -> None:
    heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    class Subscriber(picows.WSListener):
        def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
            if frame.msg_type == picows.WSMsgType.TEXT:
                heard.put_nowait(msgspec.json.decode(frame.get_payload_as_bytes()))

    async def until(name: str) -> dict[str, Any]:
        while (message := await heard.get())["name"] != name:
            assert message["name"] == "ping", message
        return message

    url = admin.url.replace("https:", "wss:") + f"{root}/subscribe"
    headers = dict(admin.headers())
    transport, _ = await picows.ws_connect(Subscriber, url, ssl_context=admin._context, extra_headers=headers)
    try:
        async with asyncio.timeout(60):
            asked = {"resourceType": "configmap", "namespace": namespace, "id": f"{namespace}/told"}
            transport.send(picows.WSMsgType.TEXT, msgspec.json.encode(asked))
            await until("resource.start")
            command = ("--namespace", namespace, "create", "configmap", "told", "--from-literal=a=b")
            await asyncio.to_thread(direct, *command)
            assert (await until("resource.create"))["data"]["data"] == {"a": "b"}
            await asyncio.to_thread(direct, "--namespace", namespace, "delete", "configmap", "told")
            assert (await until("resource.remove"))["data"]["id"] == f"{namespace}/told"
    finally:
        transport.disconnect()
        await transport.wait_disconnected()


def test_who_has_not_signed_in_is_told_so(door: Door, root: str) -> None:
    assert door.get(f"{root}/pods").status == 401
