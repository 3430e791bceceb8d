"""ext.cattle.io tokens through a real API server: whose they are, what they are good for, what changes them."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from outrider.apis.ext.group import NAMESPACE
from outrider.kube.builtin import SECRETS, untyped
from outrider.kube.errors import BadRequest, Conflict, Forbidden, Invalid, NotFound
from outrider.kube.transport import Request
from outrider.link.messages import Resolve
from tests.integration.extension.conftest import Person, Plane
from tests.support.proc import until

TOKENS = untyped("ext.cattle.io", "v1", "tokens", "Token", namespaced=False)
PATH = "/apis/ext.cattle.io/v1/tokens"


async def resolved(plane: Plane, credential: str, cluster: str = "") -> Any:
    asked = Resolve(id=1, credential=credential, cluster=cluster, host="outrider.test", remote="192.0.2.7")
    return await plane.auth.verdicts.resolve(asked)


async def test_a_token_is_made_used_changed_and_deleted(plane: Plane, jane: Person) -> None:
    made = await jane.create("tokens", {"description": "ci", "ttl": 3_600_000}, name="ignored")
    name, value = made["metadata"]["name"], made["status"]["value"]
    assert name.startswith("token-")
    assert made["status"]["bearerToken"] == f"ext/{name}:{value}"
    assert made["spec"]["userID"] == jane.name
    assert made["spec"]["userPrincipal"]["name"] == f"local://{jane.name}"

    verdict = await resolved(plane, f"Bearer ext/{name}:{value}")
    assert (verdict.status, verdict.user, verdict.token) == (200, jane.name, f"ext/{name}")
    assert verdict.identity.extra["requesttokenid"] == (name,)
    assert (await resolved(plane, f"Bearer {name}:{value}")).status == 401
    assert (await resolved(plane, f"Bearer ext/{name}:{value}x")).status == 401

    shown = await jane.client.get(TOKENS, name)
    assert not {"value", "hash", "bearerToken"} & set(shown["status"])
    assert value not in str(shown)
    assert shown["metadata"]["uid"] == made["metadata"]["uid"]
    secret = await plane.client.get(SECRETS, name, NAMESPACE)
    assert base64.b64decode(secret["data"]["hash"]).startswith(b"$3:1:")

    changed = await jane.client.patch(TOKENS, name, {"spec": {"enabled": False, "ttl": 1_800_000}})
    assert (changed["spec"]["enabled"], changed["spec"]["ttl"]) == (False, 1_800_000)

    async def refused() -> bool:
        return (await resolved(plane, f"Bearer ext/{name}:{value}")).status == 401

    await until(refused)
    with pytest.raises(Invalid):
        await jane.client.patch(TOKENS, name, {"spec": {"ttl": 3_600_000}})
    await jane.client.delete(TOKENS, name, uid=made["metadata"]["uid"])
    assert await plane.client.get_or_none(SECRETS, name, NAMESPACE) is None


async def test_each_sees_their_own_and_who_oversees_all(plane: Plane, jane: Person) -> None:
    joe = await plane.person()
    made = await jane.create("tokens", {})
    name = made["metadata"]["name"]
    assert [one["metadata"]["name"] for one in (await jane.client.list(TOKENS)).items] == [name]
    assert (await joe.client.list(TOKENS)).items == []
    for attempt in (
        joe.client.get(TOKENS, name),
        joe.client.delete(TOKENS, name),
        joe.client.patch(TOKENS, name, {"spec": {"description": "mine"}}),
    ):
        with pytest.raises(NotFound):
            await attempt
    await plane.may(joe.name, ["*"], "ext.cattle.io", "tokens")
    assert name in {one["metadata"]["name"] for one in (await joe.client.list(TOKENS)).items}
    assert not (await joe.client.get(TOKENS, name))["status"].get("current")


async def test_who_cannot_have_one(plane: Plane, jane: Person) -> None:
    joe = await plane.person(session=False)
    with pytest.raises(Forbidden, match="missing authentication token ID"):
        await joe.create("tokens", {})
    with pytest.raises(BadRequest, match="unable to create token for other user"):
        await jane.create("tokens", {"userID": joe.name})
    with pytest.raises(Forbidden, match="not allowed to access cluster"):
        await jane.create("tokens", {"clusterName": "c-nowhere"})
    await plane.may(jane.name, ["get"], "management.cattle.io", "clusters")
    with pytest.raises(BadRequest, match="cluster c-nowhere not found"):
        await jane.create("tokens", {"clusterName": "c-nowhere"})
    admin = {"apiVersion": "ext.cattle.io/v1", "kind": "Token", "metadata": {}, "spec": {}}
    with pytest.raises(Forbidden, match="is not a Rancher user"):
        await plane.client.post(PATH, admin)


async def test_a_token_for_one_cluster_makes_none_for_others(plane: Plane, jane: Person) -> None:
    here, there = await plane.cluster("here"), await plane.cluster("there")
    await plane.may(jane.name, ["get"], "management.cattle.io", "clusters", here, there)
    made = await jane.create("tokens", {"clusterName": here})
    bearer = f"Bearer {made['status']['bearerToken']}"
    assert (await resolved(plane, bearer, here)).status == 200
    assert (await resolved(plane, bearer, there)).status == 401
    extra = dict(jane.identity.extra, requesttokenid=(made["metadata"]["name"],))
    limited = Person(
        jane.name, "", plane.client.as_user(type(jane.identity)(jane.name, jane.identity.groups, extra)),
        jane.identity,
    )  # fmt: skip
    with pytest.raises(Forbidden, match=f"reaches cluster {here} only"):
        await limited.create("tokens", {"clusterName": there})
    assert (await limited.create("tokens", {}))["spec"]["clusterName"] == here


async def test_nothing_of_a_dry_run_is_kept(jane: Person) -> None:
    made = await jane.create("tokens", {"description": "dry"}, "?dryRun=All")
    assert made["spec"]["description"] == "dry"
    assert (await jane.client.list(TOKENS)).items == []
    kept = await jane.create("tokens", {"description": "kept"})
    name = kept["metadata"]["name"]
    patch = Request(
        method="PATCH",
        path=f"{PATH}/{name}?dryRun=All",
        headers=[("Content-Type", "application/merge-patch+json")],
        body=b'{"spec": {"description": "new"}}',
    )
    answer = await jane.client.raw(patch)
    assert b'"new"' in answer.body
    await jane.client.raw(Request(method="DELETE", path=f"{PATH}/{name}?dryRun=All", headers=[], body=b""))
    assert (await jane.client.get(TOKENS, name))["spec"]["description"] == "kept"


async def test_what_changed_meanwhile_is_not_overwritten(jane: Person) -> None:
    name = (await jane.create("tokens", {}))["metadata"]["name"]
    first = await jane.client.get(TOKENS, name)
    await jane.client.patch(TOKENS, name, {"spec": {"description": "one"}})
    with pytest.raises(Conflict):
        await jane.client.replace(TOKENS, first)
    with pytest.raises(Conflict):
        await jane.client.delete(TOKENS, name, uid="another")
    now = await jane.client.get(TOKENS, name)
    now["spec"]["description"] = "two"
    now["metadata"]["labels"] = {"team": "a", "cattle.io/user-id": "user-other"}
    written = await jane.client.replace(TOKENS, now)
    assert written["spec"]["description"] == "two"
    assert written["metadata"]["labels"]["team"] == "a"
    assert written["metadata"]["labels"]["cattle.io/user-id"] == jane.name
    with pytest.raises(Invalid, match="immutable"):
        await jane.client.patch(TOKENS, name, {"spec": {"userID": "user-other"}})


async def test_json_patch_and_apply(jane: Person) -> None:
    name = (await jane.create("tokens", {"description": "a"}))["metadata"]["name"]
    operations = [
        {"op": "test", "path": "/spec/description", "value": "a"},
        {"op": "replace", "path": "/spec/description", "value": "b"},
    ]
    assert (await jane.client.patch(TOKENS, name, operations))["spec"]["description"] == "b"
    with pytest.raises(Invalid):
        await jane.client.patch(TOKENS, name, operations)
    applied = await jane.client.apply(TOKENS, {"metadata": {"name": name}, "spec": {"description": "c"}})
    assert applied["spec"]["description"] == "c"
    with pytest.raises(NotFound):
        await jane.client.apply(TOKENS, {"metadata": {"name": "token-none"}, "spec": {}})


async def test_lists_are_selected_and_paged(jane: Person) -> None:
    names = []
    for number in range(3):
        made = await jane.create("tokens", {}, labels={"n": str(number)})
        names.append(made["metadata"]["name"])
    found = await jane.client.list(TOKENS, labels="n in (0,2)")
    assert {one["metadata"]["name"] for one in found.items} == {names[0], names[2]}
    found = await jane.client.list(TOKENS, fields=f"metadata.name={names[1]}")
    assert [one["metadata"]["name"] for one in found.items] == [names[1]]
    with pytest.raises(BadRequest):
        await jane.client.list(TOKENS, fields="spec.userID=x")
    with pytest.raises(BadRequest):
        await jane.client.list(TOKENS, labels="a==b==c")
    sizes = [len(page.items) async for page in jane.client.pages(TOKENS, limit=2)]
    assert sizes == [2, 1]
    await jane.client.raw(Request(method="DELETE", path=f"{PATH}?labelSelector=n!=1", headers=[], body=b""))
    assert [one["metadata"]["name"] for one in (await jane.client.list(TOKENS)).items] == [names[1]]


async def test_a_watch_shows_the_own_ones_only(plane: Plane, jane: Person) -> None:
    joe = await plane.person()
    start = await jane.client.list(TOKENS)
    seen: list[tuple[str, str]] = []

    async def follow() -> None:
        stream = jane.client.watch(TOKENS, resource_version=start.resource_version, timeout=30)
        async for event in stream:
            if event.type != "BOOKMARK" and event.object is not None:
                seen.append((event.type, event.object["metadata"]["name"]))

    task = asyncio.create_task(follow())
    await joe.create("tokens", {})
    name = (await jane.create("tokens", {}))["metadata"]["name"]
    await jane.client.patch(TOKENS, name, {"spec": {"description": "x"}})
    await jane.client.delete(TOKENS, name)
    await until(lambda: len(seen) >= 3)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert seen == [("ADDED", name), ("MODIFIED", name), ("DELETED", name)]


async def test_unknown_fields_and_values(jane: Person) -> None:
    body = {"spec": {"colour": "red"}}
    with pytest.raises(BadRequest, match=r'unknown field "spec\.colour"'):
        await jane.create("tokens", body["spec"], "?fieldValidation=Strict")
    await jane.create("tokens", body["spec"])
    with pytest.raises(BadRequest, match="Unsupported value"):
        await jane.create("tokens", {"kind": "agent"})
    with pytest.raises(BadRequest):
        await jane.create("tokens", {"ttl": "long"})
    broken = Request(method="POST", path=PATH, headers=[("Content-Type", "application/json")], body=b"{")
    assert (await jane.client.raw(broken)).status == 400
    foreign = Request(
        method="POST",
        path=PATH,
        headers=[("Content-Type", "application/vnd.kubernetes.protobuf")],
        body=b"k8s",
    )
    assert (await jane.client.raw(foreign)).status == 415


async def test_deleted_with_its_user(plane: Plane, jane: Person) -> None:
    from outrider.apis.management.user import USERS

    name = (await jane.create("tokens", {}))["metadata"]["name"]
    await plane.client.delete(USERS, jane.name)

    async def gone() -> bool:
        return await plane.client.get_or_none(SECRETS, name, NAMESPACE) is None

    await until(gone)
