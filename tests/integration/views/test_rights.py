"""Nothing is shown that the user's rights do not back, and everything is that they do."""

from __future__ import annotations

import asyncio

import pytest

from tests.integration.views.conftest import Person, Plane
from tests.support.norman_client import NormanClient, NotOffered, Refused


async def clusters(plane: Plane, unique: str, count: int) -> list[str]:
    client = await (await plane.administrator()).norman()
    made = [await client.create("cluster", name=f"{unique}-{number}") for number in range(count)]
    names = [one["id"] for one in made]
    async with asyncio.timeout(15):
        for name in names:
            while not await client.list("clusterRegistrationToken", clusterId=name):
                await asyncio.sleep(0.05)
    return names


async def look_around(client: NormanClient) -> None:
    """Lists all that may be listed and opens each resource."""
    for kind, schema in client.types.items():
        if "GET" in schema["collectionMethods"]:
            for resource in await client.list(kind, limit=-1):
                if resource["id"].count("/") == 0:
                    await client.reload(resource)


async def test_an_administrator_is_shown_what_they_may(plane: Plane, unique: str) -> None:
    await clusters(plane, unique, 1)
    root = await plane.administrator()
    recorder = root.recorder()
    await look_around(await root.norman(recorder))
    assert recorder.noted > 10
    assert await recorder.unbacked() == []


async def test_somebody_sees_their_clusters_and_no_others(plane: Plane, unique: str) -> None:
    mine, readable, foreign = await clusters(plane, unique, 3)
    jane = await plane.person()
    await jane.may("get", "update", "patch", "delete", resource="clusters", names=[mine])
    await jane.may("get", resource="clusters", names=[readable])
    recorder = jane.recorder()
    client = await jane.norman(recorder)
    found = {one["id"]: one for one in await client.list("cluster")}
    assert set(found) == {mine, readable}
    assert set(found[mine]["links"]) >= {"self", "update", "remove"}
    assert not {"update", "remove", "nodes"} & set(found[readable]["links"])
    assert "generateKubeconfig" in found[readable]["actions"]
    assert client.types["cluster"]["collectionMethods"] == ["GET"]
    with pytest.raises(NotOffered):
        await client.create("cluster", name=f"{unique}-more")
    with pytest.raises(NotOffered):
        await client.update(found[readable], description="x")
    with pytest.raises(Refused) as refused:
        await client.by_id("cluster", foreign)
    assert refused.value.status == 403
    assert (await client.update(found[mine], description="mine"))["description"] == "mine"
    await look_around(client)
    assert await recorder.unbacked() == []


async def test_rights_in_one_namespace_show_there(plane: Plane, unique: str) -> None:
    mine, other = await clusters(plane, unique, 2)
    jane = await plane.person()
    await jane.may("get", resource="clusters", names=[mine, other])
    await jane.may("*", resource="clusterregistrationtokens", namespace=mine)
    recorder = jane.recorder()
    client = await jane.norman(recorder)
    assert client.types["clusterRegistrationToken"]["collectionMethods"] == ["GET", "POST"]
    found = await client.list("clusterRegistrationToken")
    assert {one["clusterId"] for one in found} == {mine}
    # who may not read Secrets sees no token
    assert {(one["token"], one["command"]) for one in found} == {("", "")}
    assert all("remove" in one["links"] for one in found)
    shown = {one["id"]: one for one in await client.list("cluster")}
    assert "clusterRegistrationTokens" in shown[mine]["links"]
    assert "clusterRegistrationTokens" not in shown[other]["links"]
    with pytest.raises(Refused) as refused:
        await client.create("clusterRegistrationToken", clusterId=other)
    assert refused.value.status == 403
    made = await client.create("clusterRegistrationToken", clusterId=mine)
    await client.delete(made)
    await look_around(client)
    assert await recorder.unbacked() == []


async def test_who_may_only_replace_still_writes(plane: Plane, unique: str) -> None:
    (mine,) = await clusters(plane, unique, 1)
    jane = await plane.person()
    await jane.may("get", "update", resource="clusters", names=[mine])
    client = await jane.norman()
    found = await client.by_id("cluster", mine)
    assert (await client.update(found, description="replaced"))["description"] == "replaced"


async def test_nobody_sees_nothing(plane: Plane) -> None:
    jane: Person = await plane.person()
    recorder = jane.recorder()
    client = await jane.norman(recorder)
    assert client.types["cluster"]["collectionMethods"] == []
    assert [one["id"] for one in await client.list("user")] == [jane.identity.user]
    await look_around(client)
    assert await recorder.unbacked() == []
    inside = await jane.send()("GET", "/v3/cluster/local/namespaces", None)
    missing = await jane.send()("GET", "/v3/cluster/c-nope/namespaces", None)
    assert (inside.status, inside.body) == (404, missing.body)
