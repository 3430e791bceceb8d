"""Settings and features, with their sources (contract, auth-and-rbac §6)."""

from __future__ import annotations

from uuid import uuid4

from outrider.apis.management.feature import FEATURES
from outrider.apis.management.global_role import GLOBAL_ROLES
from outrider.apis.management.settings import BY_NAME
from outrider.kube.client import Client
from tests.integration.views.conftest import Plane, running


async def test_every_known_setting_is_there_with_its_default(plane: Plane) -> None:
    client = await (await plane.administrator()).norman()
    found = {one["id"]: one for one in await client.list("setting", limit=-1)}
    assert set(found) >= set(BY_NAME)
    for name, known in BY_NAME.items():
        setting = found[name]
        assert setting["source"] in ("default", "db", "env"), name
        if setting["source"] == "default" and not known.computed:
            assert setting["value"] == setting["default"] == known.default, name
    assert {"system-namespaces", "auth-user-info-resync-cron", "k8s-version"} <= set(found)


async def test_the_environment_decides_and_says_so(admin: Client, crds: None) -> None:
    environ = {"CATTLE_UI_PL": "ours", "CATTLE_FEATURES": "scim=true,external-rules=true"}
    async with running(admin, **environ) as plane:
        person = await plane.administrator()
        client = await person.norman()
        setting = await client.by_id("setting", "ui-pl")
        assert (setting["value"], setting["source"], setting["customized"]) == ("ours", "env", False)
        assert not {"update", "remove"} & set(setting["links"])
        refused = await person.send()("PUT", "/v3/settings/ui-pl", {"value": "x"})
        assert refused.status == 403
        assert "readOnly" in refused.json()["message"]
        feature = await client.by_id("feature", "scim")
        assert (feature["value"], feature["default"]) == (True, False)
        await plane.client.patch(FEATURES, "scim", {"spec": {"value": None}})


async def test_a_locked_feature_stays(plane: Plane) -> None:
    person = await plane.administrator()
    client = await person.norman()
    feature = await client.by_id("feature", "token-hashing")
    assert feature["lockedValue"] is True
    refused = await person.send()("PUT", "/v3/features/token-hashing", {"value": False})
    assert refused.status == 422


async def test_the_role_of_new_users_is_a_setting_too(plane: Plane) -> None:
    person = await plane.administrator()
    names = [f"role-{uuid4().hex[:6]}" for _ in range(2)]
    for name in names:
        await plane.client.create(GLOBAL_ROLES, {"metadata": {"name": name}, "displayName": name})
    send = person.send()
    put = await send("PUT", "/v3/settings/default-user-role", {"value": names[0]})
    assert (put.status, put.json()["value"]) == (200, names[0])
    assert (await plane.client.get(GLOBAL_ROLES, names[0])).new_user_default is True
    put = await send("PUT", "/v3/settings/default-user-role", {"value": ",".join(names)})
    assert put.json()["value"].split(",") == sorted(names)
    got = await send("GET", "/v3/settings/default-user-role", None)
    assert got.json()["value"].split(",") == sorted(names)
    unknown = await send("PUT", "/v3/settings/default-user-role", {"value": "nobody-s"})
    assert (unknown.status, unknown.json()["code"]) == (422, "InvalidReference")
    for name in names:
        await plane.client.delete(GLOBAL_ROLES, name)
