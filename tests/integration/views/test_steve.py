"""`/v1` on a real API server: any kind, by a client that knows the contract only."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from outrider.kube.builtin import CONFIGMAPS, CRDS, DEPLOYMENTS, NAMESPACES, PODS, SECRETS, untyped
from outrider.kube.client import Client
from tests.integration.views.conftest import BASE, RBAC, Person, Plane
from tests.support.norman_client import NotOffered, Refused
from tests.support.steve_client import SteveClient
from tests.support.steve_recorder import SteveRecorder


async def steve(who: Person, root: str = "/v1") -> SteveClient:
    return await SteveClient.open(who.send(), BASE, root)


def config_map(namespace: str, name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "data": data}


@pytest.fixture
async def root(plane: Plane) -> SteveClient:
    return await steve(await plane.administrator())


async def test_the_root_says_where_its_schemas_are(plane: Plane) -> None:
    send = (await plane.administrator()).send()
    reply = await send("GET", "/v1", None)
    assert reply.headers["x-api-schemas"] == f"{BASE}/v1/schemas"
    assert (await send("HEAD", "/v1/configmaps", None)).status == 200
    inside = await send("GET", "/k8s/clusters/local/v1", None)
    assert inside.status in (200, 404)


async def test_schemas_tell_what_a_kind_is_and_what_one_may(root: SteveClient) -> None:
    pod = root.types["pod"]
    assert pod["pluralName"] == "pods"
    assert pod["collectionMethods"] == ["GET", "POST"]
    assert set(pod["resourceMethods"]) == {"GET", "PUT", "PATCH", "DELETE"}
    attributes = pod["attributes"]
    assert (attributes["group"], attributes["version"], attributes["kind"]) == ("", "v1", "Pod")
    assert attributes["namespaced"] is True
    assert attributes["access"]["list"] == [{"namespace": "*", "resourceName": "*"}]
    assert attributes["columns"][0]["name"] == "Name"
    assert attributes["columns"][1]["field"] == "$.metadata.fields[1]"
    assert {"apps.deployment", "management.cattle.io.cluster", "rbac.authorization.k8s.io.role"} <= set(
        root.types
    )
    one = (await root.ask("GET", f"{BASE}/v1/schemas/pods")).json()
    assert one["id"] == "pod"


async def test_an_object_is_shown_with_what_clients_need(
    root: SteveClient, admin: Client, namespace: str, unique: str
) -> None:
    await admin.create(
        SECRETS, {"metadata": {"name": unique, "namespace": namespace}, "type": "example.com/kind"}
    )
    shown = await root.by_id("secret", f"{namespace}/{unique}")
    link = f"{BASE}/v1/secrets/{namespace}/{unique}"
    view = f"{BASE}/api/v1/namespaces/{namespace}/secrets/{unique}"
    assert shown["links"] == {"self": link, "view": view, "update": link, "patch": link, "remove": link}
    assert (shown["type"], shown["_type"]) == ("secret", "example.com/kind")
    assert shown["metadata"]["state"] == {
        "name": "active", "error": False, "transitioning": False, "message": "",
    }  # fmt: skip
    assert shown["metadata"]["fields"][:2] == [unique, "example.com/kind"]
    assert shown["metadata"]["relationships"] == []


async def test_state_conditions_and_relationships(
    root: SteveClient, admin: Client, namespace: str, unique: str
) -> None:
    labels = {"app": unique}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "b"}]}}
    made = await admin.create(
        DEPLOYMENTS,
        {
            "metadata": {"name": unique, "namespace": namespace},
            "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
        },
    )
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": unique, "uid": made["metadata"]["uid"]}
    pod = {
        "metadata": {"name": unique, "namespace": namespace, "ownerReferences": [owner]},
        "spec": template["spec"],
    }
    await admin.create(PODS, pod)
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no room"}
    await admin.patch(PODS, unique, {"status": {"conditions": [condition]}}, namespace, subresource="status")
    shown = await root.by_id("pod", f"{namespace}/{unique}")
    assert shown["metadata"]["relationships"] == [
        {"fromId": f"{namespace}/{unique}", "fromType": "apps.deployment", "rel": "owner"}
    ]
    assert shown["metadata"]["state"]["name"] == "scheduling"
    assert shown["metadata"]["state"]["message"] == "no room"
    assert shown["status"]["conditions"][0]["error"] is True
    deployment = await root.by_id("apps.deployment", f"{namespace}/{unique}")
    selects = {"toType": "pod", "toNamespace": namespace, "rel": "creates", "selector": f"app={unique}"}
    assert deployment["metadata"]["relationships"] == [selects]


async def test_lists_in_a_namespace_and_everywhere(root: SteveClient, admin: Client, namespace: str) -> None:
    for name in ("b", "a", "c"):
        await admin.create(CONFIGMAPS, config_map(namespace, name))
    listed = await root.list("configmap", namespace)
    assert [one["id"] for one in listed["data"]] == [f"{namespace}/{name}" for name in "abc"]
    assert (listed["count"], listed["resourceType"]) == (3, "configmap")
    assert listed["createTypes"] == {"configmap": f"{BASE}/v1/configmaps"}
    assert int(listed["revision"]) > 0
    assert f"{namespace}/a" in await root.ids("configmap")
    first = await root.list("configmap", namespace, {"limit": 2})
    assert [one["metadata"]["name"] for one in first["data"]] == ["a", "b"]
    rest = await root.list("configmap", namespace, {"limit": 2, "continue": first["continue"]})
    assert [one["metadata"]["name"] for one in rest["data"]] == ["c"]
    assert "continue" not in rest


async def test_filter_sort_and_pages(root: SteveClient, admin: Client, namespace: str) -> None:
    for number in range(5):
        made = config_map(namespace, f"n{number}", color="red" if number % 2 else "blue")
        made["metadata"]["labels"] = {"example.com/number": str(number)}
        await admin.create(CONFIGMAPS, made)

    async def names(*query: tuple[str, str]) -> list[str]:
        found = await root.ids("configmap", namespace, query)
        return [one.removeprefix(f"{namespace}/") for one in found]

    assert await names(("filter", "data.color='red'")) == ["n1", "n3"]
    assert await names(("filter", "data.color=RE")) == ["n1", "n3"]
    assert await names(("filter", "data.color!=red"), ("sort", "-metadata.name")) == ["n4", "n2", "n0"]
    assert await names(("filter", "metadata.name=n1,metadata.name=n4")) == ["n1", "n4"]
    assert await names(("filter", "data.color=red"), ("filter", "metadata.name=n1")) == ["n1"]
    assert await names(("filter", "metadata.labels[example.com/number] in (0,3)")) == ["n0", "n3"]
    assert await names(("filter", "metadata.labels[example.com/number]>2")) == ["n3", "n4"]
    assert await names(("filter", "!data.color")) == []
    assert await names(("sort", "data.color,-metadata.fields[0]")) == ["n4", "n2", "n0", "n3", "n1"]
    assert await names(("labelSelector", "example.com/number=4")) == ["n4"]
    page = await root.list("configmap", namespace, {"pagesize": 2, "page": 2, "sort": "-metadata.name"})
    assert [one["metadata"]["name"] for one in page["data"]] == ["n2", "n1"]
    assert (page["count"], page["pages"]) == (5, 3)
    assert await names(("pagesize", "2"), ("page", "9")) == []
    sums = await root.list(
        "configmap", namespace, {"summary": "data.color,metadata.state.name", "summaryonly": ""}
    )
    assert sums["data"] == []
    assert sums["summary"] == [
        {"property": "data.color", "counts": {"blue": 3, "red": 2}},
        {"property": "metadata.state.name", "counts": {"active": 5}},
    ]


async def test_what_is_not_asked_for_is_left_out(root: SteveClient, admin: Client, namespace: str) -> None:
    await admin.create(CONFIGMAPS, config_map(namespace, "a", one="1", two="2"))
    query = [("exclude", "metadata.managedFields"), ("exclude", "data.one"), ("excludeValues", "data")]
    (shown,) = (await root.list("configmap", namespace, query))["data"]
    assert "managedFields" not in shown["metadata"]
    assert shown["data"] == {"two": ""}
    (shown,) = (await root.list("configmap", namespace, [("include", "metadata.name")]))["data"]
    assert set(shown) == {"id", "type", "links", "actions", "metadata"}
    assert shown["metadata"] == {"name": "a"}


async def test_pages_show_what_was_written_meanwhile(
    root: SteveClient, admin: Client, namespace: str
) -> None:
    await admin.create(CONFIGMAPS, config_map(namespace, "a"))
    query = {"pagesize": 10, "sort": "metadata.name"}
    assert await root.ids("configmap", namespace, query) == [f"{namespace}/a"]
    made = await root.create("configmap", config_map(namespace, "b"))
    assert await root.ids("configmap", namespace, query) == [f"{namespace}/a", f"{namespace}/b"]
    await root.remove(made)
    assert await root.ids("configmap", namespace, query) == [f"{namespace}/a"]
    await admin.create(CONFIGMAPS, config_map(namespace, "c"))
    async with asyncio.timeout(10):
        while await root.ids("configmap", namespace, query) != [f"{namespace}/a", f"{namespace}/c"]:
            await asyncio.sleep(0.05)


async def test_objects_are_created_replaced_patched_and_deleted(root: SteveClient, namespace: str) -> None:
    made = await root.create("configmap", config_map(namespace, "a", one="1"))
    made["data"]["two"] = "2"
    saved = await root.save(made)
    assert saved["data"] == {"one": "1", "two": "2"}
    with pytest.raises(Refused) as stale:
        await root.save(made)
    assert (stale.value.status, stale.value.error["code"]) == (409, "Conflict")
    blind = {**made, "metadata": {"name": "a", "namespace": namespace}}
    with pytest.raises(Refused) as missing:
        await root.save(blind)
    assert (missing.value.status, missing.value.error["fieldName"]) == (422, "metadata.resourceVersion")
    patched = (await root.ask("PATCH", saved["links"]["patch"], {"data": {"one": None}})).json()
    assert patched["data"] == {"two": "2"}
    with pytest.raises(Refused) as twice:
        await root.create("configmap", config_map(namespace, "a"))
    assert (twice.value.status, twice.value.error["code"]) == (409, "AlreadyExists")
    await root.remove(patched)
    with pytest.raises(Refused) as gone:
        await root.by_id("configmap", f"{namespace}/a")
    assert gone.value.error == {
        "type": "error", "baseType": "error", "status": 404, "code": "NotFound",
        "message": 'configmaps "a" not found',
    }  # fmt: skip


async def test_a_kind_that_was_made_just_now(
    root: SteveClient, admin: Client, namespace: str, unique: str
) -> None:
    group = f"{unique}.example.com"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    column = {"name": "Size", "type": "integer", "jsonPath": ".spec.size"}
    version = {
        "name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": [column],
    }  # fmt: skip
    await admin.create(
        CRDS,
        {
            "metadata": {"name": f"gadgets.{group}"},
            "spec": {
                "group": group, "scope": "Namespaced", "versions": [version],
                "names": {"plural": "gadgets", "kind": "Gadget"},
            },
        },
    )  # fmt: skip
    gadgets = untyped(group, "v1", "gadgets", "Gadget", namespaced=True)
    async with asyncio.timeout(20):
        while True:
            try:
                body = {"metadata": {"name": "g9", "namespace": namespace}, "spec": {"size": 9}}
                await admin.create(gadgets, body)
                break
            except Exception:
                await asyncio.sleep(0.1)
    link = f"{BASE}/v1/{group}.gadgets"
    body = {"metadata": {"name": "g10", "namespace": namespace}, "spec": {"size": 10}, "id": "x"}
    made = (await root.ask("POST", link, body)).json()
    assert (made["id"], made["type"]) == (f"{namespace}/g10", f"{group}.gadget")
    listed = (await root.ask("GET", f"{link}?sort=-spec.size&filter=metadata.fields[1]>8")).json()
    assert [one["metadata"]["fields"][:2] for one in listed["data"]] == [["g10", 10], ["g9", 9]]
    with pytest.raises(Refused) as unknown:
        await root.ask("GET", f"{BASE}/v1/{group}.gizmos")
    assert (unknown.value.status, unknown.value.error["code"]) == (404, "NotFound")


async def test_definitions_of_a_kinds_fields(root: SteveClient) -> None:
    found = (await root.ask("GET", f"{BASE}/v1/schemaDefinitions/pod")).json()
    assert found["definitionType"] == "io.k8s.api.core.v1.Pod"
    spec = found["definitions"]["io.k8s.api.core.v1.PodSpec"]["resourceFields"]
    assert spec["nodeName"]["type"] == "string"
    assert (spec["containers"]["type"], spec["containers"]["subtype"]) == (
        "array",
        "io.k8s.api.core.v1.Container",
    )
    assert spec["containers"]["required"] is True
    mine = (await root.ask("GET", f"{BASE}/v1/schemaDefinitions/management.cattle.io.cluster")).json()
    assert "displayName" in str(mine["definitions"])


async def test_wrong_questions_get_plain_answers(root: SteveClient, namespace: str) -> None:
    for query in ("filter=%3D%3D", "sort=%5B", "page=x", "filter=a%20in%20b", "continue=offset:x"):
        with pytest.raises(Refused) as refused:
            await root.ask("GET", f"{BASE}/v1/configmaps?{query}")
        assert refused.value.status == 422
    with pytest.raises(Refused) as refused:
        await root.ask("DELETE", f"{BASE}/v1/configmaps")
    assert (refused.value.status, refused.value.error["code"]) == (405, "MethodNotAllowed")


async def test_somebody_sees_what_is_theirs(plane: Plane, admin: Client, namespace: str, unique: str) -> None:
    other = f"{unique}-other"
    await admin.create(NAMESPACES, {"metadata": {"name": other}})
    for where in (namespace, other):
        for name in ("a", "b"):
            await admin.create(CONFIGMAPS, config_map(where, name))
    jane = await plane.person()
    nothing = await steve(jane)
    assert "configmap" not in nothing.types
    with pytest.raises(Refused) as refused:
        await nothing.ask("GET", f"{BASE}/v1/configmaps")
    assert (refused.value.status, refused.value.error["code"]) == (403, "Forbidden")
    await jane.may("get", "list", "update", resource="configmaps", group="", namespace=namespace)
    await jane.may("get", resource="configmaps", group="", names=["b"], namespace=other)
    client = await steve(jane)
    schema = client.types["configmap"]
    assert schema["collectionMethods"] == ["GET"]
    assert set(schema["resourceMethods"]) == {"GET", "PUT"}
    granted = {(one["namespace"], one["resourceName"]) for one in schema["attributes"]["access"]["get"]}
    assert granted == {(namespace, "*"), (other, "b")}
    query = {"filter": "metadata.name in (a,b)", "sort": "metadata.name"}
    listed = await client.list("configmap", query=query)
    ids = [f"{namespace}/a", f"{namespace}/b", f"{other}/b"]
    assert sorted(one["id"] for one in listed["data"]) == sorted(ids)
    assert set(await client.ids("configmap")) >= set(ids)
    for one in listed["data"]:
        assert ("update" in one["links"]) is one["id"].startswith(f"{namespace}/")
        assert "remove" not in one["links"]
    with pytest.raises(Refused) as refused:
        await client.by_id("configmap", f"{other}/a")
    assert refused.value.status == 403
    with pytest.raises(NotOffered):
        await client.create("configmap", config_map(namespace, "c"))


async def look_around(client: SteveClient) -> int:
    """Lists all that may be listed, and opens each resource once."""
    seen = 0
    for kind, schema in client.types.items():
        if "GET" not in schema["collectionMethods"] or "kind" not in schema["attributes"]:
            continue
        for shown in (await client.list(kind))["data"][:3]:
            seen += 1
            await client.ask("GET", shown["links"]["self"])
    return seen


@pytest.mark.parametrize("everything", [True, False])
async def test_nothing_is_shown_without_a_right(
    plane: Plane, admin: Client, namespace: str, everything: bool
) -> None:
    for name in ("a", "b"):
        await admin.create(CONFIGMAPS, config_map(namespace, name))
        await admin.create(SECRETS, {"metadata": {"name": name, "namespace": namespace}})
    jane = await (plane.administrator() if everything else plane.person())
    if not everything:
        await jane.may("get", "list", "patch", resource="configmaps", group="", namespace=namespace)
        await jane.may("get", "update", resource="secrets", group="", names=["a"], namespace=namespace)
        await jane.may("get", "list", "create", resource="namespaces", group="")
        await jane.may("get", "delete", resource="clusterroles", group=RBAC, names=["view", "edit"])
    recorder = SteveRecorder(admin, (), jane.identity, namespaces=jane.namespaces)
    client = await SteveClient.open(recorder.watching(jane.send()), BASE)
    assert await look_around(client) > 3
    assert recorder.noted > 10
    assert await recorder.unbacked() == []
    if not everything:
        assert await client.ids("secret") == [f"{namespace}/a"]
        roles = (await client.list("rbac.authorization.k8s.io.clusterrole"))["data"]
        assert [one["id"] for one in roles] == ["edit", "view"]
        assert all("remove" in one["links"] and "update" not in one["links"] for one in roles)


async def test_a_right_that_ends_ends_what_was_kept(plane: Plane, admin: Client, namespace: str) -> None:
    await admin.create(CONFIGMAPS, config_map(namespace, "a"))
    jane = await plane.person()
    granted = await jane.may("get", "list", "watch", resource="configmaps", group="", namespace=namespace)
    client = await steve(jane)
    query = {"pagesize": 5}
    assert await client.ids("configmap", namespace, query) == [f"{namespace}/a"]
    assert len(plane.steve.lists) == 1
    await jane.may_no_more(granted)
    with pytest.raises(Refused) as refused:
        await client.ids("configmap", namespace, query)
    assert refused.value.status == 403
    assert len(plane.steve.lists) == 0


async def test_what_one_may_do_where_a_cluster_has_its_things(plane: Plane, unique: str) -> None:
    norman = await (await plane.administrator()).norman()
    made = await norman.create("cluster", name=unique)
    async with asyncio.timeout(15):
        while not await norman.list("clusterRegistrationToken", clusterId=made["id"]):
            await asyncio.sleep(0.05)
    jane = await plane.person()
    await jane.may("get", resource="clusters", names=[made["id"]])
    await jane.may("get", "list", "delete", resource="projects", namespace=made["id"])
    client = await steve(jane)
    asked = "management.cattle.io.project,pod,no.such"
    (shown,) = (await client.list("management.cattle.io.cluster", query={"checkPermissions": asked}))["data"]
    link = f"{BASE}/v1/management.cattle.io.projects/{made['id']}"
    may = {"management.cattle.io.project": dict.fromkeys(("delete", "get", "list"), link)}
    assert shown["resourcePermissions"] == may
    one = await client.ask("GET", f"{shown['links']['self']}?checkPermissions={asked}")
    assert one.json()["resourcePermissions"] == may


async def test_clusters_are_an_empty_list_for_who_sees_none(plane: Plane) -> None:
    jane = await plane.person()
    client = await steve(jane)
    for kind in ("management.cattle.io.cluster", "provisioning.cattle.io.cluster"):
        assert (client.types[kind]["collectionMethods"], client.types[kind]["resourceMethods"]) == (
            ["GET"],
            [],
        )
        for query in ({}, {"page": 1, "pagesize": 10}):
            listed = await client.list(kind, query=query)
            assert (listed["data"], listed["count"]) == ([], 0)


async def test_one_sees_oneself_without_the_digest_of_the_password(plane: Plane, admin: Client) -> None:
    jane = await plane.person()
    name = jane.identity.user
    reply = await jane.send()("GET", f"/v1/management.cattle.io.users/{name}", None)
    assert (reply.status, reply.json()["id"]) == (200, name)
    assert "password" not in reply.json()
    other = (await plane.person()).identity.user
    assert (await jane.send()("GET", f"/v1/management.cattle.io.users/{other}", None)).status == 403


async def test_three_surfaces_agree(plane: Plane, admin: Client, unique: str) -> None:
    person = await plane.administrator()
    norman, client = await person.norman(), await steve(person)
    made = await norman.create("cluster", name=unique, description="told three times")
    async with asyncio.timeout(20):
        while True:
            # its controllers are at work meanwhile: what both read must be of one version
            shown = await client.by_id("management.cattle.io.cluster", made["id"])
            native = await admin.get_json(f"/apis/management.cattle.io/v3/clusters/{made['id']}")
            if shown["metadata"]["resourceVersion"] == native["metadata"]["resourceVersion"]:
                break
    assert shown["spec"] == native["spec"]
    assert (shown["spec"]["displayName"], shown["spec"]["description"]) == (unique, "told three times")
    assert shown["metadata"]["uid"] == native["metadata"]["uid"] == made["uuid"]
    async with asyncio.timeout(20):
        while True:
            # its controllers are at work meanwhile
            now = await norman.by_id("cluster", made["id"])
            shown = await client.by_id("management.cattle.io.cluster", made["id"])
            if shown["metadata"]["state"]["name"] == now["state"]:
                break
            await asyncio.sleep(0.05)
    assert shown["metadata"]["state"]["message"] == now["transitioningMessage"]
    assert set(shown["actions"]) == set(now["actions"])
    config = await client.act(shown, "generateKubeconfig")
    assert config["config"]
    listed = {one["id"] for one in await norman.list("cluster", limit=-1)}
    assert set(await client.ids("management.cattle.io.cluster")) == listed
    everything = await admin.get_json("/apis/management.cattle.io/v3/clusters")
    assert {one["metadata"]["name"] for one in everything["items"]} == listed
