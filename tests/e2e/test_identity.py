"""Who signs in, with what, and what that reaches; and how soon it ends when somebody takes it away."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.conftest import until
from tests.support.door import Door, basic
from tests.support.instance import Instance
from tests.support.kubectl import Kubectl
from tests.support.people import LOGIN, PASSWORD, People, Person, grant, same

UNKNOWN = "c-zzzzz"
SOON = 2.0
"""Seconds in which a revocation must be effective everywhere."""


@pytest.fixture
def person(admin: Door) -> Iterator[Callable[[], Person]]:
    """Makes users without any rights, signed in."""
    people = People(admin)
    yield people
    people.drop()


class Watch:
    """A watch in the background, from its first byte until the server or somebody else ends it."""

    def __init__(self, door: Door, path: str) -> None:
        self._connection = door.connect()
        self._connection.request("GET", path, headers=door.headers())
        self._socket: socket.socket = self._connection.sock
        self.response = self._connection.getresponse()
        self.status = self.response.status
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            while self.response.read1(65536):
                pass
        except (OSError, http.client.HTTPException, ValueError):
            pass

    def ends_within(self, seconds: float) -> bool:
        """Whether it ends; waits for it."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Ends it from this side."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self.response.close()
        self._connection.close()


@pytest.fixture
def watching() -> Iterator[Callable[[Door, str], Watch]]:
    """Starts watches that end with the test."""
    with contextlib.ExitStack() as stack:

        def start(door: Door, path: str) -> Watch:
            watch = Watch(door, path)
            stack.callback(watch.close)
            return watch

        yield start


def reach(first: dict[str, Any]) -> str:
    return f"/k8s/clusters/{first['id']}/api/v1/namespaces/default/configmaps"


# signing in


def test_the_sequence_of_every_automation(door: Door, instance: Instance, first: dict[str, Any]) -> None:
    bootstrap, chosen = instance.ready["bootstrap_password"], "a password of my own"
    session = door.post(LOGIN, {"username": "admin", "password": bootstrap, "responseType": "json"})
    assert session.status == 201
    signed_in = door.with_token(session.json()["token"])
    assert signed_in.get("/v3/users?me=true").json()["data"][0]["username"] == "admin"

    change = {"currentPassword": bootstrap, "newPassword": chosen}
    assert signed_in.post("/v3/users?action=changepassword", change).status in {200, 204}
    assert door.post(LOGIN, {"username": "admin", "password": bootstrap}).status == 401
    assert door.post(LOGIN, {"username": "admin", "password": chosen}).status == 201
    assert door.get("/v3/settings/first-login").json()["value"] == "false"

    token = signed_in.post("/v3/tokens", {"type": "token", "description": "automation", "ttl": 0})
    assert token.status == 201
    automation = door.with_token(token.json()["token"])
    written = automation.request("PUT", "/v3/settings/server-url", {"name": "server-url", "value": door.url})
    assert (written.status, written.json()["value"]) == (200, door.url)
    assert automation.get("/v3/settings/server-url").json()["value"] == door.url
    assert automation.get(reach(first)).status == 200
    made = automation.post(f"/v3/clusters/{first['id']}?action=generateKubeconfig")
    assert (made.status, made.json()["type"]) == (200, "generateKubeConfigOutput")
    assert f"/k8s/clusters/{first['id']}" in made.json()["config"]

    back = {"currentPassword": chosen, "newPassword": bootstrap}
    assert signed_in.post("/v3/users?action=changepassword", back).status in {200, 204}


def test_a_generated_kubeconfig_works_unchanged(
    admin: Door, first: dict[str, Any], modern: Kubectl, tmp_path: Any
) -> None:
    config = admin.post(f"/v3/clusters/{first['id']}?action=generateKubeconfig").json()["config"]
    path = tmp_path / "generated.yaml"
    path.write_text(config)
    path.chmod(0o600)
    assert "kube-system" in modern.at(path)("get", "namespaces")
    assert modern.at(path)("config", "current-context").strip() == "demo-1"


def test_wrong_names_and_passwords_are_answered_alike(door: Door, person: Callable[[], Person]) -> None:
    one = person()
    attacker = door.come_from("127.0.0.9")
    wrong = [
        attacker.post(LOGIN, {"username": name, "password": "not the password"})
        for name in (one.username, "nobody-at-all")
    ]
    assert [answer.status for answer in wrong] == [401, 401]
    assert wrong[0].body == wrong[1].body
    assert attacker.request("POST", LOGIN, b"{", {"Content-Type": "application/json"}).status == 422
    assert door.post("/v1-public/login", {"type": "noSuchProvider"}).status == 422


def test_too_many_wrong_passwords_lock_user_and_address(door: Door, person: Callable[[], Person]) -> None:
    one = person()
    attacker = door.come_from("127.0.0.8")
    wrong = {"username": one.username, "password": "not the password"}
    statuses = [attacker.post(LOGIN, wrong).status for _ in range(12)]
    assert statuses[:5] == [401] * 5
    assert 429 in statuses
    locked = attacker.post(LOGIN, {"username": one.username, "password": PASSWORD})
    assert locked.status == 429
    assert int(locked.header("Retry-After")) > 0
    # Who it really is signs in from where it always does.
    assert door.post(LOGIN, {"username": one.username, "password": PASSWORD}).status == 201
    assert one.door.get("/v3/users?me=true").status == 200


def test_http_basic(door: Door, person: Callable[[], Person], first: dict[str, Any], admin: Door) -> None:
    one = person()
    name, _, secret = one.door.token.partition(":")
    for credentials in ((name, secret), (one.username, PASSWORD)):
        answer = door.request("GET", "/v3/users?me=true", headers=basic(*credentials))
        assert (answer.status, answer.json()["data"][0]["id"]) == (200, one.name)
    assert door.request("GET", "/v3/users", headers=basic(one.username, "wrong")).status == 401
    assert door.request("GET", reach(first), headers=basic(*admin.token.split(":"))).status == 200


def test_credentials_that_are_none(door: Door, first: dict[str, Any]) -> None:
    for value in (
        "Bearer",
        "Bearer ",
        "Bearer token-aaaaa:x",
        "Bearer a:b:c",
        "Digest x",
        "Basic !!!",
        "Bearer ext/x:y",
    ):
        answer = door.request("GET", reach(first), headers={"Authorization": value})
        assert answer.status == 401, value
        assert answer.json()["message"].endswith("must authenticate")


# cookies


def test_a_session_in_a_cookie(
    door: Door, person: Callable[[], Person], admin: Door, first: dict[str, Any]
) -> None:
    one = person()
    answer = door.post(LOGIN, {"username": one.username, "password": PASSWORD, "responseType": "cookie"})
    assert (answer.status, answer.body) == (200, b"")
    session = answer.cookies()["R_SESS"]
    attributes = {part.strip().lower() for part in session.split(";")[1:]}
    assert {"httponly", "secure", "path=/", "samesite=lax"} <= attributes
    cookie = f"R_SESS={session.partition(';')[0]}"
    browser = {"Cookie": cookie, "User-Agent": "Mozilla/5.0"}
    page = door.request("GET", "/v3/users?me=true", headers=browser)
    assert page.json()["data"][0]["id"] == one.name
    csrf = page.cookies()["CSRF"].partition(";")[0]
    assert len(csrf) == 32

    wanted = {"type": "token", "description": "by cookie"}
    proof = {"Cookie": f"{cookie}; CSRF={csrf}", "User-Agent": "Mozilla/5.0"}
    for headers in (browser, proof, proof | {"X-API-CSRF": "0" * 32}):
        forged = door.request("POST", "/v3/tokens", wanted, headers)
        assert (forged.status, forged.json()["code"]) == (422, "InvalidCSRFToken")
    assert door.request("POST", "/v3/tokens", wanted, proof | {"X-API-CSRF": csrf}).status == 201
    # Without a browser's name, the cookie alone is no proof either.
    assert door.request("POST", "/v3/tokens", wanted, {"Cookie": cookie}).status == 422

    left = door.request("POST", "/v1/logout", {}, proof | {"X-API-CSRF": csrf})
    assert left.status == 200
    assert "max-age=" in left.cookies()["R_SESS"].lower()
    until(lambda: door.request("GET", "/v3/users?me=true", headers=browser).status == 401, SOON)


def test_a_cookie_at_a_clusters_api(
    door: Door, admin: Door, instance: Instance, first: dict[str, Any]
) -> None:
    body = {"username": "admin", "password": instance.ready["bootstrap_password"], "responseType": "cookie"}
    cookie = f"R_SESS={door.post(LOGIN, body).cookies()['R_SESS'].partition(';')[0]}"
    assert door.request("GET", reach(first), headers={"Cookie": cookie}).status == 200
    dry = f"{reach(first)}?dryRun=All"
    wanted = {"metadata": {"name": "by-cookie"}}
    forged = door.request("POST", dry, wanted, {"Cookie": cookie})
    assert (forged.status, forged.json()["message"]) == (422, "Invalid CSRF token")
    proof = {"Cookie": f"{cookie}; CSRF=abc", "X-API-CSRF": "abc"}
    assert door.request("POST", dry, wanted, proof).status == 201
    upgrade = {
        "Cookie": cookie,
        "Origin": "https://evil.test",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
    }
    assert door.request("GET", f"{reach(first)}?watch=1", headers=upgrade).status == 403


# what a token reaches


def test_a_token_for_one_cluster(
    admin: Door, door: Door, first: dict[str, Any], second: dict[str, Any]
) -> None:
    made = admin.post("/v3/tokens", {"type": "token", "clusterId": first["id"], "ttl": 600_000})
    assert (made.status, made.json()["clusterId"]) == (201, first["id"])
    limited = door.with_token(made.json()["token"])
    assert limited.get(reach(first)).status == 200
    assert limited.get(f"/k8s/proxy/{first['id']}/version").status == 200
    for path in (
        reach(second),
        "/k8s/clusters/local/api",
        "/api/v1/namespaces",
        "/v3/tokens",
        "/v3/users",
        f"/v3/clusters/{second['id']}",
    ):
        assert limited.get(path).status == 401, path
    wider = limited.post("/v3/tokens", {"type": "token"})
    assert wider.status == 401


def test_who_may_nothing_cannot_tell_a_cluster_from_none(
    person: Callable[[], Person],
    first: dict[str, Any],
    second: dict[str, Any],
    modern: Kubectl,
    tmp_path: Any,
) -> None:
    one = person()
    unknown = one.door.get(f"/k8s/clusters/{UNKNOWN}/api/v1/pods")
    assert unknown.status == 404
    assert unknown.json()["kind"] == "Status"
    for name in (first["id"], second["id"], "local", "Not_An_Id", "c-" + "x" * 80):
        for prefix in ("/k8s/clusters", "/k8s/proxy"):
            assert same(one.door.get(f"{prefix}/{name}/api/v1/pods"), unknown), name
    action = "?action=generateKubeconfig"
    refused = one.door.post(f"/v3/clusters/{first['id']}{action}")
    nowhere = one.door.post(f"/v3/clusters/{UNKNOWN}{action}")
    assert refused.status == nowhere.status
    assert refused.status in {403, 404}
    assert refused.body.replace(first["id"].encode(), UNKNOWN.encode()) == nowhere.body
    assert one.door.get(f"/v3/clusters/{first['id']}").status in {403, 404}
    assert [row["id"] for row in one.door.get("/v3/users").json()["data"]] == [one.name]


def test_rights_decide_what_is_reached_and_end_at_once(
    person: Callable[[], Person],
    management: Kubectl,
    direct: Kubectl,
    first: dict[str, Any],
    second: dict[str, Any],
    namespace: str,
    watching: Callable[[Door, str], Watch],
) -> None:
    one = person()
    base = f"/k8s/clusters/{first['id']}/api/v1/namespaces/{namespace}"
    assert one.door.get(f"{base}/configmaps").status == 404
    grant(management, direct, one.name, first["id"], namespace)
    until(lambda: one.door.get(f"{base}/configmaps").status == 200, 5)
    denied = one.door.get(f"{base}/secrets")
    assert denied.status == 403
    assert one.name in denied.json()["message"]
    assert one.door.post(f"{base}/configmaps", {"metadata": {"name": "x"}}).status == 403
    assert one.door.get(f"/k8s/clusters/{second['id']}/api").status == 404
    assert one.door.get(f"/k8s/clusters/local/api/v1/namespaces/{namespace}/configmaps").status == 404

    watch = watching(one.door, f"{base}/configmaps?watch=1")
    assert watch.status == 200
    time.sleep(3)  # the verdict is an old one by now
    management("delete", "clusterrolebinding", f"see-{one.name}", "--wait=false")
    began = time.monotonic()
    until(lambda: one.door.get(f"{base}/configmaps").status == 404, SOON)
    assert watch.ends_within(SOON - (time.monotonic() - began))
    management("delete", "clusterrole", f"see-{one.name}")


# how it ends


@pytest.mark.parametrize(
    "how", ["token deleted", "token deleted by kubectl", "user disabled", "user deleted", "logout"]
)
def test_what_is_taken_away_ends_within_two_seconds(
    how: str,
    person: Callable[[], Person],
    admin: Door,
    management: Kubectl,
    direct: Kubectl,
    first: dict[str, Any],
    namespace: str,
    watching: Callable[[Door, str], Watch],
) -> None:
    one = person()
    grant(management, direct, one.name, first["id"], namespace)
    base = f"/k8s/clusters/{first['id']}/api/v1/namespaces/{namespace}/configmaps"
    until(lambda: one.door.get(base).status == 200, 5)
    other = one.door.with_token(one.door.post("/v3/tokens", {"type": "token"}).json()["token"])
    token = one.door.token.partition(":")[0]
    watch, spared = watching(one.door, f"{base}?watch=1"), watching(other, f"{base}?watch=1")
    assert (watch.status, spared.status) == (200, 200)
    time.sleep(2.5)
    if how == "token deleted":
        assert other.request("DELETE", f"/v3/tokens/{token}").status == 204
    elif how == "token deleted by kubectl":
        management("delete", "tokens.management.cattle.io", token, "--wait=false")
    elif how == "user disabled":
        management(
            "patch", "users.management.cattle.io", one.name, "--type=merge", "--patch", '{"enabled":false}'
        )
    elif how == "user deleted":
        assert admin.request("DELETE", f"/v3/users/{one.name}").status in {200, 204}
    else:
        assert one.door.post("/v1/logout").status == 200
    began = time.monotonic()
    until(lambda: one.door.get(base).status in {401, 404}, SOON)
    assert watch.ends_within(max(0.1, SOON - (time.monotonic() - began)))
    until(lambda: one.door.get("/v3/tokens").status == 401, max(0.1, SOON - (time.monotonic() - began)))
    if how.startswith("user"):
        assert spared.ends_within(SOON)
        until(lambda: other.get(base).status == 401, max(0.1, SOON - (time.monotonic() - began)))
    else:
        assert not spared.ends_within(0.1), "another token of the same user goes on"
        assert other.get(base).status == 200
    management("delete", "clusterrole,clusterrolebinding", f"see-{one.name}")


def test_an_expired_token_ends_its_watches(
    admin: Door, door: Door, first: dict[str, Any], watching: Callable[[Door, str], Watch]
) -> None:
    short = door.with_token(admin.post("/v3/tokens", {"type": "token", "ttl": 3000}).json()["token"])
    began = time.monotonic()
    watch = watching(short, f"{reach(first)}?watch=1")
    assert watch.status == 200
    until(lambda: short.get(reach(first)).status == 401, 3 + SOON)
    assert time.monotonic() - began > 1.5
    assert watch.ends_within(3 + SOON)
    until(lambda: short.get("/v3/tokens").status == 401, SOON)


def test_the_current_session_is_not_deleted_but_left(person: Callable[[], Person]) -> None:
    one = person()
    token = one.door.token.partition(":")[0]
    refused = one.door.request("DELETE", f"/v3/tokens/{token}")
    assert refused.status == 400
    assert "Use logout instead" in refused.json()["message"]
    somebody = person()
    assert somebody.door.get(f"/v3/tokens/{token}").status == 404
    assert somebody.door.request("DELETE", f"/v3/tokens/{token}").status == 404


def test_no_secret_of_a_token_is_stored(management: Kubectl, instance: Instance, admin: Door) -> None:
    made = admin.post("/v3/tokens", {"type": "token"}).json()["token"]
    everything = management("get", "tokens.management.cattle.io,secrets,configmaps", "-A", "--output=json")
    assert made.partition(":")[2] not in everything
    assert admin.token.partition(":")[2] not in everything
    for log in instance.data.glob("**/*.log"):
        text = log.read_text(errors="replace")
        assert made.partition(":")[2] not in text, log
        assert admin.token.partition(":")[2] not in text, log


def test_bad_input_has_an_answer_that_says_what_to_do(admin: Door, door: Door, first: dict[str, Any]) -> None:
    cases = [
        admin.post("/v3/users", {"type": "user", "username": "short", "password": "short"}),
        admin.post("/v3/users", {"type": "user", "password": PASSWORD}),
        admin.post("/v3/users", {"type": "user", "username": "admin", "password": PASSWORD}),
        admin.request("POST", "/v3/tokens", b"not json", {"Content-Type": "application/json"}),
        admin.post("/v3/tokens", {"ttl": "soon"}),
        admin.post("/v3/tokens?action=explode"),
        admin.get("/v3/nothing-of-the-sort"),
        admin.request("PATCH", "/v3/tokens", {}),
        admin.post(f"/v3/clusters/{first['id']}?action=explode"),
        door.post("/v3/users?action=changepassword", {}),
    ]
    for answer in cases:
        assert 400 <= answer.status < 500, answer
        body = answer.json()
        assert body["type"] == "error", answer
        assert len(body["message"]) > 5
        assert "Traceback" not in json.dumps(body)
