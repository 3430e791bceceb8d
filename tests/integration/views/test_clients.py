"""A Norman client drives each type, as the contract says that clients do (clients §1)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from outrider.kube.builtin import NAMESPACES
from tests.integration.views.conftest import BASE, Plane
from tests.support.norman_client import NotOffered, Refused

USUAL = {
    "limit": "-1",
    "removed_null": "1",
    "state_ne": ["inactive", "stopped", "removing"],
    "system": "false",
}


async def until(look: Any, *, within: float = 10.0) -> Any:
    async with asyncio.timeout(within):
        while True:
            found = await look()
            if found:
                return found
            await asyncio.sleep(0.05)


async def test_the_root_names_its_schemas(plane: Plane) -> None:
    root = await plane.administrator()
    reply = await root.send()("GET", "/v3", None)
    assert reply.headers["x-api-schemas"] == f"{BASE}/v3/schemas"
    assert reply.json()["links"]["clusters"] == f"{BASE}/v3/clusters"
    client = await root.norman()
    schema = client.types["cluster"]
    assert (schema["pluralName"], schema["links"]["collection"]) == ("clusters", f"{BASE}/v3/clusters")
    assert schema["collectionMethods"] == ["GET", "POST"]
    assert schema["resourceMethods"] == ["GET", "PUT", "DELETE"]
    assert "generateKubeconfig" in schema["resourceActions"]
    fields = schema["resourceFields"]
    assert (fields["name"]["create"], fields["driver"]["create"]) == (True, False)
    assert fields["clusterAgentDeploymentCustomization"]["type"] == "json"
    one = await root.send()("GET", "/v3/schemas/clusterRegistrationToken", None)
    assert one.json()["id"] == "clusterRegistrationToken"
    assert (await root.send()("GET", "/v3/schemas/nothing", None)).status == 404


async def test_a_cluster_from_its_import_to_its_removal(plane: Plane, unique: str) -> None:
    client = await (await plane.administrator()).norman()
    made = await client.create(
        "cluster", name=unique, driver="imported", enableNetworkPolicy=False, description="by hand"
    )
    assert (made["name"], made["description"], made["enableNetworkPolicy"]) == (unique, "by hand", False)
    cluster = await until(lambda: _with_state(client, made, "pending"))
    assert cluster["transitioning"] == "yes"
    listed = await client.list("cluster", name=unique, **USUAL)
    assert [one["id"] for one in listed] == [made["id"]]
    token = await until(lambda: _registration(client, made["id"]))
    assert token["command"].startswith("kubectl apply -f https://")
    assert token["nodeCommand"]
    of_cluster = await client.list("clusterRegistrationToken", clusterId=made["id"])
    assert {one["clusterId"] for one in of_cluster} == {made["id"]}
    with pytest.raises(Refused) as taken:
        await client.create("cluster", name=unique.upper())
    assert (taken.value.status, taken.value.error["code"]) == (422, "NotUnique")
    changed = await client.update(await client.reload(made), name=f"{unique}-2", description=None)
    assert (changed["name"], "description" in changed and changed["description"]) == (f"{unique}-2", "")
    config = await client.act(changed, "generateKubeconfig")
    assert f"/k8s/clusters/{made['id']}" in config["config"]
    nodes = await client.follow(changed, "nodes")
    assert (nodes["resourceType"], nodes["data"]) == ("node", [])
    await client.delete(changed)

    async def gone() -> bool:
        try:
            return (await client.by_id("cluster", made["id"]))["state"] == "gone"
        except Refused as refused:
            return refused.status == 404

    await until(gone, within=30)


async def _with_state(client: Any, resource: Any, state: str) -> Any:
    now = await client.reload(resource)
    return now if now["state"] == state else None


async def _registration(client: Any, cluster: str) -> Any:
    try:
        found = await client.by_id("clusterRegistrationToken", f"{cluster}:default-token")
    except Refused as refused:
        if refused.status != 404:
            raise
        return None
    return found if found["command"] else None


async def test_a_registration_is_made_and_removed(plane: Plane, unique: str) -> None:
    client = await (await plane.administrator()).norman()
    cluster = await client.create("cluster", name=unique)
    await until(lambda: _registration(client, cluster["id"]))
    made = await client.create("clusterRegistrationToken", clusterId=cluster["id"], ttl=3600)
    assert (made["clusterId"], made["ttl"], made["state"]) == (cluster["id"], 3600, "active")
    assert made["token"] in made["command"]
    await client.delete(made)
    with pytest.raises(Refused) as missing:
        await client.reload(made)
    assert missing.value.status == 404


async def test_the_cluster_is_a_root(plane: Plane, unique: str) -> None:
    root = await plane.administrator()
    client = await root.norman()
    local = await client.by_id("cluster", "local")
    inside = await client.root(local)
    for path in ("/v3/cluster/local", "/v3/clusters/local"):
        reply = await root.send()("GET", path, None)
        assert (reply.status, reply.json()["id"]) == (200, "local")
        assert reply.headers["x-api-schemas"] == f"{BASE}/v3/cluster/local/schemas"
    assert "cluster" not in inside.types
    made = await inside.create(
        "namespace", name=unique, description="mine", containerDefaultResourceLimit={}, labels={"a": "b"}
    )
    assert (made["id"], made["description"], made["containerDefaultResourceLimit"]) == (unique, "mine", {})
    assert made["links"]["self"] == f"{BASE}/v3/cluster/local/namespaces/{unique}"
    listed = await inside.list("namespace", name=unique)
    assert [(one["name"], one["state"]) for one in listed] == [(unique, "active")]
    await inside.act(made, "move", projectId="local:p-abcde")
    stored = await plane.client.get(NAMESPACES, unique)
    assert stored["metadata"]["labels"]["field.cattle.io/projectId"] == "p-abcde"
    assert (await inside.reload(made))["projectId"] == "local:p-abcde"
    project = await root.send()("GET", "/v3/project/local:p-abcde/namespaces", None)
    assert [one["id"] for one in project.json()["data"]] == [unique]
    with pytest.raises(Refused) as elsewhere:
        await inside.act(made, "move", projectId="c-other:p-abcde")
    assert elsewhere.value.status == 422
    assert await inside.list("workload", namespaceId=unique) == []
    plural = await root.send()("GET", "/v3/clusters/local/namespaces", None)
    assert unique in {one["id"] for one in plural.json()["data"]}
    await inside.delete(await inside.reload(made))


async def test_users_tokens_and_settings(plane: Plane, unique: str) -> None:
    client = await (await plane.administrator()).norman()
    made = await client.create("user", username=unique, password="a good password", name="Bob", enabled=True)
    assert (made["username"], made["name"], made["me"], made["enabled"]) == (unique, "Bob", False, True)
    assert "password" not in made
    assert [one["id"] for one in await client.list("user", username=unique)] == [made["id"]]
    changed = await client.update(made, name="Robert", description="x")
    assert (changed["name"], changed["description"], changed["username"]) == ("Robert", "x", unique)
    shown = await client.act(changed, "setpassword", newPassword="an even better one")
    assert shown["id"] == made["id"]
    await client.delete(changed)
    me = await client.list("user", me="true")
    assert [one["me"] for one in me] == [True]
    setting = await client.by_id("setting", "server-url")
    written = await client.update(setting, value="https://outrider.example.com")
    assert (written["value"], written["source"]) == ("https://outrider.example.com", "db")
    await client.delete(written)
    version = await client.by_id("setting", "server-version")
    assert version["value"].startswith("v")
    with pytest.raises(NotOffered):
        await client.update(version, value="x")
    feature = await client.by_id("feature", "cluster-agent-scheduling-customization")
    on = await client.update(feature, value=True)
    assert (on["value"], on["default"], on["dynamic"]) == (True, False, True)
    await client.update(on, value=None)


async def test_retired_collections_are_empty(plane: Plane) -> None:
    root = await plane.administrator()
    for path in ("/v3/nodePools", "/v3/nodetemplates?limit=-1", "/v3/clusters/local/etcdBackups"):
        reply = await root.send()("GET", path, None)
        assert (reply.status, reply.json()["data"]) == (200, []), path
    assert (await root.send()("GET", "/v3/nonsense", None)).status == 404


async def test_pages(plane: Plane, unique: str) -> None:
    client = await (await plane.administrator()).norman()
    names = [f"{unique}-{number}" for number in range(7)]
    for name in names:
        await client.create("setting", name=name, value=unique)
    found = await client.list("setting", value=unique, limit=3, sort="name", order="desc")
    assert [one["name"] for one in found] == names[::-1]
    for setting in found:
        await client.delete(setting)


async def test_errors_are_normans(plane: Plane) -> None:
    send = (await plane.administrator()).send()
    for method, path, body, status, code in (
        ("GET", "/v3/clusters/c-nope", None, 404, "NotFound"),
        ("GET", "/v3/clusterregistrationtokens/nope", None, 404, "NotFound"),
        ("POST", "/v3/clusters", {}, 422, "MissingRequired"),
        ("POST", "/v3/clusters/local?action=explode", {}, 404, "ActionNotAvailable"),
        ("PUT", "/v3/clusters", {}, 405, "MethodNotAllow"),
        ("POST", "/v3/nodes", {}, 405, "MethodNotAllow"),
        ("GET", "/v3/clusters?limit=many", None, 422, "InvalidFormat"),
        ("GET", "/v3/clusters?marker=***", None, 422, "InvalidFormat"),
        ("POST", "/v3/clusters", b"[1", 422, "InvalidBodyContent"),
        ("DELETE", "/v3/clusters/local", None, 405, "MethodNotAllow"),
        ("GET", "/v3/cluster/c-nope/namespaces", None, 404, "NotFound"),
        ("GET", "/v3/a/b/c/d/e", None, 404, "NotFound"),
    ):
        reply = await send(method, path, body)
        error = reply.json()
        assert (reply.status, error["type"], error["code"]) == (status, "error", code), path
        assert error["message"]
