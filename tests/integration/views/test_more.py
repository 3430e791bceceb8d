"""Principals, identity providers, cloud credentials, drivers and workspaces by a Norman client."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from outrider.kube.builtin import NAMESPACES, SECRETS
from outrider.kube.errors import AlreadyExists
from tests.integration.views.conftest import BASE, Plane
from tests.support.norman_client import NotOffered, Refused


async def test_principals(plane: Plane, unique: str) -> None:
    root = await plane.administrator()
    client = await root.norman()
    (me,) = [one for one in await client.list("principal") if one["me"]]
    assert me["id"] == f"local://{root.identity.user}"
    assert me["links"]["self"] == f"{BASE}/v3/principals/local:%2F%2F{root.identity.user}"
    assert (await client.reload(me))["id"] == me["id"]
    assert (await client.by_id("principal", me["id"]))["id"] == me["id"]
    made = await client.create("user", username=unique, password="a good password", name="Zoë")
    found = await client.act_on_all("principal", "search", name=unique[:-1].upper(), principalType="user")
    assert [one["id"] for one in found["data"]] == [f"local://{made['id']}"]
    assert (found["data"][0]["loginName"], found["data"][0]["provider"]) == (unique, "local")
    assert (await client.act_on_all("principal", "search", name=unique, principalType="group"))["data"] == []
    with pytest.raises(Refused) as missing:
        await client.by_id("principal", "local://user-nobody")
    assert missing.value.status == 404
    with pytest.raises(NotOffered):
        await client.create("principal", name="x")
    await client.delete(made)


async def test_local_sign_in_stays(plane: Plane) -> None:
    person = await plane.administrator()
    client = await person.norman()
    local = await client.by_id("authConfig", "local")
    assert (local["type"], local["baseType"], local["enabled"]) == ("localConfig", "authConfig", True)
    refused = await person.send()("PUT", "/v3/authConfigs/local", {"enabled": False})
    assert (refused.status, refused.json()["code"]) == (422, "InvalidState")
    assert (await person.send()("POST", "/v3/authConfigs", {"name": "x"})).status == 405


async def test_cloud_credentials_keep_their_secret(plane: Plane, unique: str) -> None:
    with contextlib.suppress(AlreadyExists):
        await plane.client.create(NAMESPACES, {"metadata": {"name": "cattle-global-data"}})
    person = await plane.administrator()
    recorder = person.recorder()
    client = await person.norman(recorder)
    config = {"accessKey": "AKIA", "secretKey": "top secret", "defaultRegion": "eu-1"}
    made = await client.create(
        "cloudCredential", name=unique, description="d", amazonec2credentialConfig=config
    )
    namespace, _, name = made["id"].partition(":")
    assert (namespace, name[:3], made["name"]) == ("cattle-global-data", "cc-", unique)
    assert made["amazonec2credentialConfig"] == {"accessKey": "AKIA", "defaultRegion": "eu-1"}
    stored = await plane.client.get(SECRETS, name, namespace)
    assert set(stored["data"]) == {
        f"amazonec2credentialConfig-{key}" for key in ("accessKey", "secretKey", "defaultRegion")
    }
    assert stored["metadata"]["labels"]["cattle.io/creator"] == "norman"
    assert "top secret" not in str(made)
    assert "data" not in made
    assert [one["id"] for one in await client.list("cloudCredential", name=unique)] == [made["id"]]
    changed = await client.update(
        made, description="e", amazonec2credentialConfig={"accessKey": "AKIB", "secretKey": ""}
    )
    assert (changed["description"], changed["amazonec2credentialConfig"]["accessKey"]) == ("e", "AKIB")
    later = await plane.client.get(SECRETS, name, namespace)
    key = "amazonec2credentialConfig-secretKey"
    assert later["data"][key] == stored["data"][key]
    with pytest.raises(Refused) as empty:
        await client.create("cloudCredential", name="x")
    assert (empty.value.status, "a Config field" in empty.value.error["message"]) == (422, True)
    await client.delete(changed)
    assert await recorder.unbacked() == []


async def test_a_credential_in_use_stays(plane: Plane, unique: str) -> None:
    client = await (await plane.administrator()).norman()
    made = await client.create(
        "cloudCredential", name=unique, amazonec2credentialConfig={"accessKey": "a", "secretKey": "b"}
    )
    cluster = await client.create(
        "cluster", name=unique, eksConfig={"amazonCredentialSecret": made["id"], "region": "r"}
    )
    with pytest.raises(Refused) as used:
        await client.delete(made)
    assert (used.value.status, used.value.error["code"]) == (422, "InvalidAction")
    await client.delete(cluster)


@pytest.mark.parametrize("kind", ["nodeDriver", "kontainerDriver"])
async def test_drivers(plane: Plane, unique: str, kind: str) -> None:
    client = await (await plane.administrator()).norman()
    made = await client.create(kind, name=unique, url="https://example.com/d", active=False)
    assert (made["name"], made["active"], made["state"]) == (unique, False, "inactive")
    assert set(made["actions"]) == {"activate"}
    on = await client.act(made, "activate")
    assert (on["active"], on["state"], set(on["actions"])) == (True, "active", {"deactivate"})
    await client.delete(on)


async def test_workspaces(plane: Plane, unique: str) -> None:
    client = await (await plane.administrator()).norman()
    made = await client.create("fleetWorkspace", name=unique, labels={"a": "b"})
    assert (made["id"], made["name"], made["labels"]) == (unique, unique, {"a": "b"})
    found: list[Any] = await client.list("fleetWorkspace", name=unique)
    assert [one["id"] for one in found] == [unique]
    await client.delete(made)
