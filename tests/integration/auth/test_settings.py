"""`/v3/settings` as scripts, Terraform and the sign-in page use it."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.integration.auth.conftest import BOOTSTRAP, Plane


@pytest.fixture
async def served(plane: Plane) -> Plane:
    return plane


@pytest.fixture
async def root(served: Plane) -> str:
    return await served.login("admin", BOOTSTRAP)


async def test_a_server_url_comes_back_as_written(served, root):
    body = {"id": "server-url", "name": "server-url", "value": "https://outrider.example.com"}
    put = await served.request("PUT", "/v3/settings/server-url", body, credential=root)
    assert (put.status, put.json()["value"]) == (200, "https://outrider.example.com")
    got = (await served.request("GET", "/v3/settings/server-url", credential=root)).json()
    assert (got["value"], got["source"], got["customized"]) == ("https://outrider.example.com", "db", True)
    assert got["links"]["self"] == "https://outrider.test/v3/settings/server-url"
    assert (got["type"], got["id"]) == ("setting", "server-url")
    gone = await served.request("DELETE", "/v3/settings/server-url", credential=root)
    assert gone.status == 204
    got = (await served.request("GET", "/v3/settings/server-url", credential=root)).json()
    assert (got["value"], got["source"], got["customized"]) == ("", "default", False)


async def test_the_api_servers_own_check_is_heard(served, root):
    bad = await served.request("PUT", "/v3/settings/server-url", {"value": "not a url"}, credential=root)
    assert bad.status == 422
    assert "takes a URL such as" in bad.json()["message"]


async def test_arbitrary_names_are_kept(served, root):
    name = f"telemetry-opt-{uuid4().hex[:6]}"
    made = await served.request("POST", "/v3/settings", {"name": name, "value": "out"}, credential=root)
    assert (made.status, made.json()["value"]) == (201, "out")
    again = await served.request("POST", "/v3/settings", {"name": name, "value": "in"}, credential=root)
    assert (again.status, again.json()["code"]) == (409, "AlreadyExists")
    put = await served.request("PUT", f"/v3/settings/{name}-x", {"value": "new"}, credential=root)
    assert (put.status, put.json()["value"]) == (200, "new")
    for one in (name, f"{name}-x"):
        assert (await served.request("DELETE", f"/v3/settings/{one}", credential=root)).status == 204
        assert (await served.request("GET", f"/v3/settings/{one}", credential=root)).status == 404


async def test_only_the_public_ones_need_no_sign_in(served):
    assert (await served.request("GET", "/v3/settings/first-login")).status == 200
    assert (await served.request("GET", "/v3/settings/cacerts")).json()["value"] == ""
    assert (await served.request("GET", "/v3/settings/server-url")).status == 401
    rows = (await served.request("GET", "/v3/settings")).json()["data"]
    names = {row["name"] for row in rows}
    assert not names & {"server-url", "auth-token-max-ttl-minutes"}
    assert (await served.request("PUT", "/v3/settings/ui-pl", {"value": "x"})).status == 401


async def test_another_user_writes_nothing(served):
    username = f"jane-{uuid4().hex[:8]}"
    await served.user(username)
    jane = await served.login(username, "a good password")
    for method, target, body in (
        ("PUT", "/v3/settings/ui-pl", {"value": "x"}),
        ("POST", "/v3/settings", {"name": "x-y", "value": "x"}),
        ("GET", "/v3/settings/server-url", None),
        ("DELETE", "/v3/settings/ui-pl", None),
    ):
        assert (await served.request(method, target, body, credential=jane)).status == 403


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        ("PUT", "/v3/settings/cacerts", {"value": "x"}, 403),
        ("PUT", "/v3/settings/ui-pl", {}, 422),
        ("PUT", "/v3/settings/UI", {"value": "x"}, 422),
        ("POST", "/v3/settings", {"value": "x"}, 422),
    ],
)
async def test_refusals(served, root, method, target, body, status):
    assert (await served.request(method, target, body, credential=root)).status == status


async def test_the_environment_locks_a_setting(admin, crds):
    from tests.integration.auth.conftest import ENVIRONMENT, running

    environ = {**ENVIRONMENT, "CATTLE_UI_PL": "ours"}
    async with running(admin, environ=environ) as plane:
        got = (await plane.request("GET", "/v3/settings/ui-pl")).json()
        assert (got["value"], got["source"]) == ("ours", "env")
        root = await plane.login("admin", BOOTSTRAP)
        put = await plane.request("PUT", "/v3/settings/ui-pl", {"value": "x"}, credential=root)
        assert (put.status, "environment" in put.json()["message"]) == (403, True)
