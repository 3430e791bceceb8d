"""The endpoints as clients use them, over a real API server (contract, auth-and-rbac §1)."""

from __future__ import annotations

import re
from uuid import uuid4

import pytest

from outrider.apis.management.feature import FEATURES
from outrider.apis.management.token import TOKENS
from outrider.apis.management.user import USERS
from outrider.kube.builtin import CLUSTERROLEBINDINGS, CLUSTERROLES
from tests.integration.auth.conftest import BOOTSTRAP, Plane, basic, eventually

PASSWORD = "a good password"
LOGIN = "/v3-public/localProviders/local?action=login"


def unique(prefix: str = "jane") -> str:
    return f"{prefix}-{uuid4().hex[:8]}"


@pytest.fixture
async def jane(plane: Plane) -> tuple[str, str, str]:
    """A user without rights: user name, object name, session."""
    username = unique()
    user = await plane.user(username, PASSWORD)
    return username, user.metadata.name, await plane.login(username, PASSWORD)


@pytest.fixture
async def root(plane: Plane) -> str:
    return await plane.login("admin", BOOTSTRAP)


# providers


async def test_providers(plane):
    got = (await plane.request("GET", "/v3-public/authProviders")).json()
    assert got["type"] == "collection"
    (provider,) = got["data"]
    assert (provider["id"], provider["type"]) == ("local", "localProvider")
    assert provider["actions"]["login"] == f"https://outrider.test{LOGIN}"
    assert provider["links"]["self"] == "https://outrider.test/v3-public/localProviders/local"
    one = (await plane.request("GET", "/v3-public/authProviders/local")).json()
    assert one == provider
    assert (await plane.request("GET", "/v3-public/authProviders/github")).status == 404
    new = (await plane.request("GET", "/v1-public/authproviders")).json()
    assert [(row["id"], row["type"]) for row in new["data"]] == [("local", "localProvider")]
    assert (await plane.request("GET", "/v3-public/authTokens")).status == 404


async def test_the_old_surface_can_be_turned_off(plane, admin):
    await set_feature(admin, "v3-public", False)

    async def gone() -> bool:
        return (await plane.request("GET", "/v3-public/authProviders")).status == 404

    await eventually(gone)
    assert (await plane.request("POST", LOGIN, {})).status == 404
    assert (await plane.request("GET", "/v1-public/authproviders")).status == 200
    await set_feature(admin, "v3-public", None)


async def set_feature(admin, name: str, value: bool | None) -> None:
    if await admin.get_or_none(FEATURES, name) is None:
        await admin.create(FEATURES, {"metadata": {"name": name}, "spec": {}})
    await admin.patch(FEATURES, name, {"spec": {"value": value}})


async def test_hidden_local_login_refuses_logins_tokens_and_passwords_at_once(plane, admin, jane):
    username, _, session = jane
    plane.invalidations.clear()
    await set_feature(admin, "hide-local-auth-provider", True)
    try:

        async def refused() -> bool:
            return (await plane.verdict(session)).status == 401

        await eventually(refused, seconds=2)
        assert (await plane.verdict(basic(username, PASSWORD))).status == 401
        assert (
            await plane.request("POST", LOGIN, {"username": username, "password": PASSWORD})
        ).status == 404
        await eventually(lambda: any(message.everything for message in plane.invalidations), seconds=2)
    finally:
        await set_feature(admin, "hide-local-auth-provider", None)


# login


async def test_login_answers_with_the_token_once(plane, jane):
    username, name, _ = jane
    body = {"username": username, "password": PASSWORD, "description": "cli", "ttl": 1}
    got = await plane.request("POST", LOGIN, body)
    token = got.json()
    assert (got.status, token["type"], token["baseType"]) == (201, "token", "token")
    assert re.fullmatch(r"token-[bcdfghjklmnpqrstvwxz2-9]{5}:[bcdfghjklmnpqrstvwxz2-9]{54}", token["token"])
    assert token["token"].startswith(token["id"] + ":")
    # the ttl of a session is the setting's, whatever was asked for
    assert (token["ttl"], token["userId"], token["description"]) == (960 * 60_000, name, "cli")
    assert token["expiresAt"].endswith("Z")
    stored = await plane.client.get(TOKENS, token["id"])
    assert token["token"].split(":")[1] not in stored.token
    assert stored.token.startswith("$3:1:")
    assert stored.metadata.labels["authn.management.cattle.io/kind"] == "session"
    assert stored.metadata.labels["authn.management.cattle.io/token-userId"] == name
    assert stored.metadata.annotations["authn.management.cattle.io/token-hashed"] == "true"
    assert stored.user_principal.metadata.name == f"local://{name}"


async def test_login_by_cookie(plane, jane):
    username, _, _ = jane
    body = {
        "type": "localProvider",
        "username": username,
        "password": PASSWORD,
        "responseType": "cookie",
    }
    got = await plane.request("POST", "/v1-public/login", body)
    morsel = got.cookies()["R_SESS"]
    assert (got.status, got.body) == (200, b"")
    assert (morsel["httponly"], morsel["secure"], morsel["path"], morsel["samesite"]) == (
        True,
        True,
        "/",
        "lax",
    )
    assert (await plane.verdict(f"Bearer {morsel.value}")).status == 200


@pytest.mark.parametrize(("kind", "cluster"), [("kubeconfig", ""), ("kubeconfig_c-abcde", "c-abcde")])
async def test_login_for_a_kubeconfig(plane, jane, kind, cluster):
    username, name, _ = jane
    got = await plane.request(
        "POST", LOGIN, {"username": username, "password": PASSWORD, "responseType": kind}
    )
    assert got.status == 201
    token = await plane.client.get(TOKENS, got.json()["id"])
    scope = f".{cluster}" if cluster else ""
    assert token.metadata.name.startswith(f"kubeconfig-{name}{scope}")
    assert (token.cluster_name, token.ttl, token.is_derived) == (cluster, 43200 * 60_000, True)
    assert token.metadata.labels["authn.management.cattle.io/kind"] == "kubeconfig"
    verdict = await plane.verdict("Bearer " + got.json()["token"])
    assert verdict.status == (401 if cluster else 200)


async def test_wrong_user_and_wrong_password_are_answered_alike(plane, jane):
    username, _, _ = jane
    answers = [
        await plane.request("POST", LOGIN, {"username": name, "password": "wrong"})
        for name in (username, unique("nobody"), "")
    ]
    assert {answer.status for answer in answers} == {401}
    assert len({answer.body for answer in answers}) == 1
    assert answers[0].json()["message"] == "authentication failed"
    assert answers[0].json()["code"] == "Unauthorized"


@pytest.mark.parametrize(
    ("target", "body", "status", "code"),
    [
        (LOGIN, b"{", 422, "InvalidBodyContent"),
        (LOGIN, b"[" * 50_000, 422, "InvalidBodyContent"),
        (LOGIN, b'{"username": {"a": 1}}', 422, "InvalidBodyContent"),
        (LOGIN, {"username": "x", "password": "y", "responseType": "saml"}, 422, "InvalidOption"),
        ("/v3-public/localProviders/local?action=other", {}, 404, "ActionNotAvailable"),
        ("/v1-public/login", {"username": "x", "password": "y"}, 422, "InvalidBodyContent"),
        ("/v1-public/login", {"type": "githubProvider"}, 422, "InvalidBodyContent"),
    ],
)
async def test_bad_logins(plane, target, body, status, code):
    got = await plane.request("POST", target, body)
    assert (got.status, got.json()["code"]) == (status, code)


async def test_a_disabled_user_learns_it_only_by_the_right_password(plane, admin, jane):
    username, name, _ = jane
    await admin.patch(USERS, name, {"enabled": False})

    async def known() -> bool:
        got = await plane.request("POST", LOGIN, {"username": username, "password": PASSWORD})
        return got.status == 403 and got.json()["code"] == "PermissionDenied"

    await eventually(known)
    got = await plane.request("POST", LOGIN, {"username": username, "password": "wrong"})
    assert got.status == 401


async def test_guessing_locks_with_a_time_to_wait(plane, jane):
    username, _, _ = jane
    for _ in range(6):
        assert (await plane.request("POST", LOGIN, {"username": username, "password": "no"})).status == 401
    got = await plane.request("POST", LOGIN, {"username": username, "password": PASSWORD})
    assert (got.status, got.headers["retry-after"]) == (429, "1")
    elsewhere = await plane.request(
        "POST", LOGIN, {"username": username, "password": PASSWORD}, remote="198.51.100.7"
    )
    assert elsewhere.status == 201


async def test_a_page_of_another_site_cannot_sign_in(plane, jane):
    username, _, _ = jane
    body = {"username": username, "password": PASSWORD}
    got = await plane.request("POST", LOGIN, body, headers={"origin": "https://evil.test"})
    assert got.status == 403
    got = await plane.request("POST", LOGIN, body, headers={"origin": "https://outrider.test"})
    assert got.status == 201


# tokens


async def test_tokens_are_ones_own(plane, jane, root):
    _, name, session = jane
    made = await plane.request(
        "POST", "/v3/tokens", {"type": "token", "description": "ci", "ttl": 60_000}, credential=session
    )
    token = made.json()
    assert (made.status, token["description"], token["ttl"]) == (201, "ci", 60_000)
    assert (token["isDerived"], token["userId"]) == (True, name)
    assert (await plane.verdict("Bearer " + token["token"])).user == name
    mine = (await plane.request("GET", "/v3/tokens", credential=session)).json()["data"]
    assert {row["id"] for row in mine} >= {token["id"]}
    assert {row["userId"] for row in mine} == {name}
    assert [row["id"] for row in mine if row["current"]] == [session[7:].split(":")[0]]
    read = await plane.request("GET", f"/v3/tokens/{token['id']}", credential=session)
    assert (read.status, read.json()["token"]) == (200, "")
    for method in ("GET", "DELETE"):
        foreign = await plane.request(method, f"/v3/tokens/{token['id']}", credential=root)
        missing = await plane.request(method, "/v3/tokens/token-zzzzz", credential=root)
        assert foreign.status == missing.status == 404
        assert foreign.body.replace(token["id"].encode(), b"token-zzzzz") == missing.body
    gone = await plane.request("DELETE", f"/v3/tokens/{token['id']}", credential=session)
    assert (gone.status, gone.body) == (204, b"")
    again = await plane.request("GET", f"/v3/tokens/{token['id']}", credential=session)
    assert again.status == 404


async def test_the_current_session_is_not_deleted_but_left(plane, jane):
    _, _, session = jane
    name = session[7:].split(":")[0]
    got = await plane.request("DELETE", f"/v3/tokens/{name}", credential=session)
    assert (got.status, got.json()["message"]) == (
        400,
        "Cannot delete token for current session. Use logout instead",
    )
    assert (await plane.request("POST", "/v3/tokens?action=logout", credential=session)).status == 200
    assert await plane.client.get_or_none(TOKENS, name) is None


async def test_a_token_made_with_a_password(plane, jane):
    username, name, _ = jane
    made = await plane.request("POST", "/v3/tokens", {"ttl": 0}, credential=basic(username, PASSWORD))
    assert made.status == 201
    # ttl 0 is the default, which is not "for ever"
    assert made.json()["ttl"] == 129600 * 60_000
    assert (await plane.verdict("Bearer " + made.json()["token"])).user == name


async def test_a_scoped_token_cannot_make_a_wider_one(plane, jane):
    _, _, session = jane
    made = await plane.request("POST", "/v3/tokens", {"clusterId": "c-abcde"}, credential=session)
    assert made.json()["clusterId"] == "c-abcde"
    scoped = "Bearer " + made.json()["token"]
    got = await plane.request("POST", "/v3/tokens", {}, credential=scoped)
    assert got.status == 401
    assert "clusterID does not match" in got.json()["message"]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_tokens_need_a_credential(plane, method):
    got = await plane.request(method, "/v3/tokens", {} if method == "POST" else None)
    assert got.status == 401
    assert "No valid token cookie or auth header" in got.json()["message"]


async def test_token_review(plane, jane, root):
    _, name, session = jane
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": session[7:]}}
    got = (await plane.request("POST", "/v3/tokenreview", body, credential=root)).json()
    assert got["status"]["authenticated"] is True
    assert got["status"]["user"]["username"] == name
    assert "system:cattle:authenticated" in got["status"]["user"]["groups"]
    assert session[7:] not in str(got)
    body["spec"] = {"token": "token-aaaaa:wrong"}
    got = (await plane.request("POST", "/v3/tokenreview", body, credential=root)).json()
    assert got["status"] == {"authenticated": False}
    assert (await plane.request("POST", "/v3/tokenreview", body)).status == 401


# logout


async def test_logout_clears_the_cookies(plane, jane):
    _, _, session = jane
    got = await plane.request("POST", "/v1/logout", credential=session)
    assert got.status == 200
    for name in ("R_SESS", "CSRF", "R_OIDC_ID"):
        morsel = got.cookies()[name]
        assert (morsel.value, int(morsel["max-age"]) < 0) == ("", True)
        assert morsel["expires"]


async def test_logout_without_or_with_a_bad_credential(plane):
    got = await plane.request("POST", "/v1/logout")
    assert (got.status, got.body) == (401, b"No valid token cookie or auth header")
    assert got.headers["content-type"].startswith("text/plain")
    assert (await plane.request("POST", "/v1/logout", credential="Bearer token-aaaaa:x")).status == 401


async def test_logout_with_an_expired_token_still_clears(plane, jane, admin):
    _, _, session = jane
    name = session[7:].split(":")[0]
    from outrider.link.messages import Claim
    from tests.support.asgi import call

    expired = Claim(code="Expired", message="must authenticate", token=name, host="h")
    got = await call(plane.app, "POST", "/v1/logout", claim=expired)
    assert got.status == 200
    assert "R_SESS" in got.cookies()
    assert await admin.get_or_none(TOKENS, name) is None


# users


async def test_me(plane, jane):
    username, name, session = jane
    (row,) = (await plane.request("GET", "/v3/users?me=true", credential=session)).json()["data"]
    assert (row["id"], row["username"], row["me"]) == (name, username, True)


async def test_another_user_sees_only_itself_the_administrator_everybody(plane, jane, root):
    username, name, session = jane
    rows = (await plane.request("GET", "/v3/users", credential=session)).json()["data"]
    assert [row["id"] for row in rows] == [name]
    rows = (await plane.request("GET", "/v3/users", credential=root)).json()["data"]
    assert {"admin", username} <= {row["username"] for row in rows}
    found = (await plane.request("GET", "/v3/users?username=admin", credential=root)).json()["data"]
    assert [row["username"] for row in found] == ["admin"]
    assert found[0]["actions"]["setpassword"].endswith("?action=setpassword")
    me = found[0]["id"]
    foreign = await plane.request("GET", f"/v3/users/{me}", credential=session)
    missing = await plane.request("GET", "/v3/users/user-zzzzz", credential=session)
    assert foreign.status == missing.status == 404


async def test_create_use_and_delete_a_user(plane, root):
    username = unique("bob")
    body = {
        "type": "user",
        "username": username,
        "password": PASSWORD,
        "name": "Bob",
        "mustChangePassword": True,
    }
    made = await plane.request("POST", "/v3/users", body, credential=root)
    user = made.json()
    assert (made.status, user["username"], user["name"], user["enabled"]) == (201, username, "Bob", True)
    assert user["mustChangePassword"] is True
    assert PASSWORD not in made.body.decode()
    assert re.fullmatch("user-[a-z0-9]{5}", user["id"])
    stored = await plane.client.get(USERS, user["id"])
    assert stored.password == ""
    assert stored.principal_ids == [f"local://{user['id']}"]
    bob = await plane.login(username, PASSWORD)
    assert (await plane.verdict(bob)).status == 200
    # a password that must be changed is no credential, but opens a session to change it
    assert (await plane.verdict(basic(username, PASSWORD))).status == 401
    again = await plane.request("POST", "/v3/users", body, credential=root)
    assert (again.status, again.json()["code"]) == (422, "NotUnique")
    gone = await plane.request("DELETE", f"/v3/users/{user['id']}", credential=root)
    assert gone.status == 204
    assert (await plane.request("GET", f"/v3/users/{user['id']}", credential=root)).status == 404


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"username": "", "password": PASSWORD}, "a user needs a username"),
        ({"username": "someone-new", "password": "short"}, "Password must be at least 12 characters"),
        (
            {"username": "someone-else-new", "password": "someone-else-new"},
            "cannot be the same as the username",
        ),
        ({"username": "someone-new"}, "Password must be at least 12 characters"),
    ],
)
async def test_bad_users(plane, root, body, message):
    got = await plane.request("POST", "/v3/users", body, credential=root)
    assert got.status == 422
    assert message in got.json()["message"]


async def test_another_user_creates_deletes_and_sets_nothing(plane, jane, root):
    _, _, session = jane
    body = {"username": unique("eve"), "password": PASSWORD}
    got = await plane.request("POST", "/v3/users", body, credential=session)
    assert (got.status, got.json()["code"]) == (403, "PermissionDenied")
    (admin,) = (await plane.request("GET", "/v3/users?username=admin", credential=root)).json()["data"]
    target = f"/v3/users/{admin['id']}"
    change = {"newPassword": "taken over now"}
    assert (
        await plane.request("POST", f"{target}?action=setpassword", change, credential=session)
    ).status == 404
    assert (await plane.request("DELETE", target, credential=session)).status == 404
    assert (await plane.request("POST", "/v3/users", body)).status == 401


async def test_an_administrator_sets_a_password(plane, jane, root, admin):
    username, name, _ = jane
    await admin.patch(USERS, name, {"mustChangePassword": True})
    target = f"/v3/users/{name}?action=setpassword"
    short = await plane.request("POST", target, {"newPassword": "short"}, credential=root)
    assert (short.status, short.json()["code"]) == (422, "MinLengthExceeded")
    got = await plane.request("POST", target, {"newPassword": "set by admin"}, credential=root)
    assert (got.status, got.json()["id"], got.json()["mustChangePassword"]) == (200, name, False)
    await plane.login(username, "set by admin")
    other = await plane.request("POST", f"/v3/users/{name}?action=promote", {}, credential=root)
    assert other.json()["code"] == "ActionNotAvailable"


async def test_who_manages_users_does_not_manage_administrators(plane, jane, root, admin):
    """CVE-2025-23391"""
    _, name, session = jane
    role = unique("manage-users")
    rule = {"apiGroups": ["management.cattle.io"], "resources": ["users"], "verbs": ["*"]}
    await admin.create(CLUSTERROLES, {"metadata": {"name": role}, "rules": [rule]})
    await admin.create(
        CLUSTERROLEBINDINGS,
        {
            "metadata": {"name": role},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
        },
    )
    (target,) = (await plane.request("GET", "/v3/users?username=admin", credential=root)).json()["data"]

    async def sees() -> bool:
        return (await plane.request("GET", f"/v3/users/{target['id']}", credential=session)).status == 200

    await eventually(sees)
    change = {"newPassword": "taken over now"}
    url = f"/v3/users/{target['id']}"
    got = await plane.request("POST", f"{url}?action=setpassword", change, credential=session)
    assert (got.status, "only an administrator" in got.json()["message"]) == (403, True)
    assert (await plane.request("DELETE", url, credential=session)).status == 403
    bob = unique("bob")
    made = await plane.request(
        "POST", "/v3/users", {"username": bob, "password": PASSWORD}, credential=session
    )
    assert made.status == 201
    change_bob = f"/v3/users/{made.json()['id']}?action=setpassword"
    got = await plane.request("POST", change_bob, {"newPassword": "set by manager"}, credential=session)
    assert got.status == 200
    await plane.login(bob, "set by manager")


@pytest.mark.parametrize(
    ("current", "new", "message"),
    [
        ("", "another password", "must specify current password"),
        ("wrong password", "another password", "invalid current password"),
        (PASSWORD, PASSWORD, "The new password must not be the same as the current password"),
        (PASSWORD, "short", "Password must be at least 12 characters"),
    ],
)
async def test_bad_password_changes(plane, jane, current, new, message):
    _, _, session = jane
    body = {"currentPassword": current, "newPassword": new}
    got = await plane.request("POST", "/v3/users?action=changepassword", body, credential=session)
    assert got.status == 422
    assert message in got.json()["message"]


async def test_guessing_the_current_password_locks(plane, jane):
    _, _, session = jane
    body = {"currentPassword": "wrong", "newPassword": "another password"}
    target = "/v3/users?action=changepassword"
    seen = [(await plane.request("POST", target, body, credential=session)).status for _ in range(7)]
    assert seen == [422] * 6 + [429]
