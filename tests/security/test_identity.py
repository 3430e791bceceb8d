"""Nobody acts as somebody else: by headers, by what a hop may take away, by reserved names."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.conftest import until
from tests.support.door import Door
from tests.support.kubectl import Kubectl
from tests.support.people import Person, let_see, who_am_i
from tests.support.raw_client import exchange, head, status

IMPERSONATING = (
    ("Impersonate-User: admin",),
    ("Impersonate-User: system:admin", "Impersonate-Group: system:masters"),
    ("Impersonate-Group: system:masters",),
    ("impersonate-uid: 1",),
    ("IMPERSONATE-EXTRA-scopes: all",),
    ("Impersonate-User;: admin", "Impersonate-User: admin"),
)
AUTOMATIC = {"system:authenticated", "system:cattle:authenticated"}


def caller(door: Door, cluster: str, *lines: str) -> bytes:
    """The answer to "who am I" on the wire, with these header lines as they are."""
    path = f"/k8s/clusters/{cluster}/apis/authentication.k8s.io/v1/selfsubjectreviews"
    body = b'{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}'
    sized = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    return exchange(door, head(door, f"POST {path}", *sized, *lines) + body)


@pytest.mark.parametrize("lines", IMPERSONATING[:5])
def test_cve_2021_36776_impersonation_headers_of_a_client_are_refused(
    alice: Person, first: dict[str, Any], lines: tuple[str, ...]
) -> None:
    refused = caller(alice.door, first["id"], *lines)
    assert status(refused) == 403
    assert b"not allowed to impersonate" in refused
    for path in ("/v3/users?me=true", "/api/v1/namespaces"):
        assert status(exchange(alice.door, head(alice.door, f"GET {path}", *lines))) == 403
    served = caller(alice.door, first["id"])
    assert status(served) == 201
    assert f'"username":"{alice.name}"'.encode() in served


@pytest.mark.parametrize(
    "named",
    [
        "Impersonate-User",
        "Impersonate-User, Impersonate-Group, Impersonate-Uid",
        "Impersonate-Extra-username, Impersonate-Extra-requesttokenid",
        "Authorization",
        "authorization,IMPERSONATE-USER",
        "X-Outrider-Claim",
        "Host, Content-Length, Transfer-Encoding",
        "keep-alive, Impersonate-User",
    ],
)
def test_cve_2021_31999_headers_named_in_connection_take_nothing_of_ours_away(
    alice: Person, first: dict[str, Any], named: str
) -> None:
    answer = caller(alice.door, first["id"], f"Connection: {named}")
    assert status(answer) == 201
    assert f'"username":"{alice.name}"'.encode() in answer
    assert b'"system:cattle:authenticated"' in answer
    assert b"system:serviceaccount" not in answer, "the agent's own account must never show"
    assert b"system:masters" not in answer


@pytest.mark.parametrize("value", ["Bearer admin", "Basic YWRtaW46YWRtaW4=", "Negotiate x"])
def test_a_second_credential_is_refused(alice: Person, first: dict[str, Any], value: str) -> None:
    answer = caller(alice.door, first["id"], f"Authorization: {value}")
    assert status(answer) == 400
    assert b"more than one authorization header" in answer


@pytest.mark.parametrize(
    "line",
    [
        "X-API-Tunnel-Token: t",
        "X-API-Tunnel-Params: e30=",
        "X-API-Tunnel-ID: local",
        "X-API-URL-Prefix: https://evil.test",
        "X-API-Host: evil.test",
        "X-API-Auth-Header: Bearer x",
        "X-API-CattleAuth-Header: awsv4 credID=x",
        "X-API-CSRF: x",
        "X-Remote-User: admin",
        "X-Remote-Group: system:masters",
        "X-Outrider-Claim: eyJ1c2VyIjoiYWRtaW4ifQ==",
        "X-Outrider-Cluster: local",
        "X-Forwarded-For: 10.0.0.1",
        "X-Forwarded-User: admin",
        "Proxy-Authorization: Basic YWRtaW46YWRtaW4=",
        "Front-Proxy-User: admin",
    ],
)
def test_headers_between_servers_change_nothing_for_a_client(
    alice: Person, first: dict[str, Any], line: str
) -> None:
    answer = caller(alice.door, first["id"], line)
    assert status(answer) == 201
    assert f'"username":"{alice.name}"'.encode() in answer
    assert b"system:masters" not in answer
    page = exchange(alice.door, head(alice.door, "GET /v3/users?me=true", line))
    assert status(page) == 200
    assert alice.name.encode() in page
    assert b"evil.test" not in page


@pytest.mark.parametrize("source", ["attribute of a provider", "attribute of the local provider"])
def test_reserved_names_are_never_claimed(
    person: Callable[[], Person],
    management: Kubectl,
    first: dict[str, Any],
    source: str,
) -> None:
    one = person()
    let_see(management, one.name, first["id"])
    names = [
        "local://system:masters",
        "system:masters",
        "System:Masters",
        " system:masters",
        "local://local://system:masters",
        "okta_group://system:masters",
        "system:nodes",
        "okta_group://devs",
    ]
    items = [{"metadata": {"name": name}} for name in names]
    attribute = {
        "apiVersion": "management.cattle.io/v3",
        "kind": "UserAttribute",
        "metadata": {"name": one.name},
        "GroupPrincipals": {"okta" if source.endswith("a provider") else "local": {"Items": items}},
    }
    management("apply", "-f", "-", stdin=json.dumps(attribute))

    def groups() -> set[str]:
        review = who_am_i(one.door, first["id"])
        return set(review.json()["status"]["userInfo"]["groups"]) if review.status == 201 else set()

    until(lambda: "okta_group://devs" in groups(), 10, "the group that is none of Kubernetes' own arrives")
    assert groups() == {"okta_group://devs", *AUTOMATIC}
    nodes = one.door.get(f"/k8s/clusters/{first['id']}/api/v1/nodes")
    assert (nodes.status, nodes.json()["reason"]) == (403, "Forbidden")


@pytest.mark.parametrize("name", ["system:admin", "system:masters", "System:admin"])
def test_users_of_reserved_names_cannot_be_made(management: Kubectl, name: str) -> None:
    draft = {"apiVersion": "management.cattle.io/v3", "kind": "User", "username": "x", "metadata": {}}
    refused = management.attempt("create", "-f", "-", stdin=json.dumps(draft | {"metadata": {"name": name}}))
    assert refused.returncode
    assert "Invalid value" in refused.stderr
    fine = draft | {"metadata": {"name": "a-user-of-a-plain-name"}}
    management("create", "--dry-run=server", "-f", "-", stdin=json.dumps(fine))


def test_cve_2025_23389_a_cookie_does_not_say_who_one_is(alice: Person, door: Door) -> None:
    forged = {"Cookie": "userID=admin; userId=admin; R_SESS_USER=admin; PRINCIPAL=local://admin"}
    mine = alice.door.request("GET", "/v3/users?me=true", headers=forged)
    assert [row["id"] for row in mine.json()["data"]] == [alice.name]
    assert door.request("GET", "/v3/users?me=true", headers=forged).status == 401


def test_cve_2024_58260_user_names_are_unique_and_stay(
    alice: Person, management: Kubectl, administrator: Door
) -> None:
    for name in ("admin", alice.username):
        taken = administrator.post(
            "/v3/users", {"type": "user", "username": name, "password": "quite a long one"}
        )
        assert (taken.status, taken.json()["code"]) == (422, "NotUnique")
    for user in (alice.name,):
        refused = management.attempt(
            "patch",
            "users.management.cattle.io",
            user,
            "--type=merge",
            "--patch",
            '{"username":"admin"}',
        )
        assert refused.returncode
        assert "what others know the user by must stay true" in refused.stderr
    own = alice.door.request("PUT", f"/v3/users/{alice.name}", {"type": "user", "username": "admin"})
    # a Norman client sends every field back: one that cannot be changed is left as it is, and the answer says so
    assert own.status == 200
    assert own.json()["username"] == alice.username
    kept = management.json("get", "users.management.cattle.io", alice.name)
    assert kept["username"] == alice.username
    renamed = '{"displayName":"Jane Two"}'
    management("patch", "users.management.cattle.io", alice.name, "--type=merge", "--patch", renamed)


def test_cve_2025_23391_who_manages_users_does_not_manage_administrators(
    person: Callable[[], Person], allowed: Callable[..., None], management: Kubectl
) -> None:
    manager, victim = person(), person()
    allowed(manager.name, "get,list,update,patch,delete", "users.management.cattle.io")
    change = {"newPassword": "a password of the attacker"}

    def set_password(user: str) -> Any:
        return manager.door.post(f"/v3/users/{user}?action=setpassword", change)

    until(lambda: set_password(victim.name).status == 200, 10, "of a plain user it may")
    boss = next(
        one["metadata"]["name"]
        for one in management.json("get", "users.management.cattle.io")["items"]
        if one.get("username") == "admin"
    )
    refused = set_password(boss)
    assert refused.status == 403
    assert "only an administrator may change an administrator" in refused.json()["message"]
    deleted = manager.door.request("DELETE", f"/v3/users/{boss}")
    assert deleted.status == 403
    assert "only an administrator" in deleted.json()["message"]
