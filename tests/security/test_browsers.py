"""Whoever's page somebody looks at, it does not act with the session in their cookie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.door import Door
from tests.support.instance import Instance
from tests.support.people import LOGIN, PASSWORD, Person
from tests.support.raw_client import exchange, head, status, upgrade

WATCH = "/api/v1/namespaces?watch=true"
SUBSCRIBE = "/v1/subscribe"


@pytest.fixture(scope="module")
def cookie(administrator: Door, instance: Instance) -> str:
    """The administrator's session in a browser."""
    body = {"username": "admin", "password": instance.ready["bootstrap_password"], "responseType": "cookie"}
    answer = administrator.with_token("").post(LOGIN, body)
    assert answer.status == 200, answer
    return f"R_SESS={answer.cookies()['R_SESS'].partition(';')[0]}"


def foreign(door: Door) -> list[str]:
    """Origins that are not this server's, in all the ways in which they may look like it."""
    own = f"{door.host}:{door.port}"
    return [
        "https://evil.test",
        f"https://{door.host}",
        f"https://{door.host}:{door.port + 1}",
        f"https://{own}.evil.test",
        f"https://evil.test/{own}",
        f"https://evil.test#{own}",
        f"https://evil{own}",
        f"https://{own}@evil.test",
        "null",
        "file://",
        "https://",
    ]


@pytest.mark.parametrize("number", range(11))
def test_cve_2019_13209_a_foreign_page_opens_no_websocket_with_a_cookie(
    door: Door, cookie: str, first: dict[str, Any], number: int
) -> None:
    clusters = [f"/k8s/clusters/{cluster}" for cluster in (first["id"], "local")]
    for path in (*(cluster + tail for cluster in clusters for tail in (WATCH, SUBSCRIBE)), SUBSCRIBE):
        code, answer, stream = upgrade(door, path, f"Cookie: {cookie}", f"Origin: {foreign(door)[number]}")
        stream.close()
        assert code == 403, answer
        assert b"must come from this server's own pages" in answer


def test_without_an_origin_a_cookie_opens_no_websocket(
    door: Door, cookie: str, first: dict[str, Any]
) -> None:
    code, answer, stream = upgrade(door, f"/k8s/clusters/{first['id']}{WATCH}", f"Cookie: {cookie}")
    stream.close()
    assert code == 403, answer
    assert b"must come from this server's own pages" in answer


def test_a_page_of_our_own_opens_one(door: Door, cookie: str, first: dict[str, Any]) -> None:
    """The control. A token in a header needs no origin: no page can make a browser send it."""
    path, own = f"/k8s/clusters/{first['id']}{WATCH}", f"Origin: https://{door.host}:{door.port}"
    code, answer, stream = upgrade(door, path, f"Cookie: {cookie}", own)
    stream.close()
    assert code == 101, answer


def test_two_origins_are_refused(door: Door, cookie: str, first: dict[str, Any]) -> None:
    own = f"Origin: https://{door.host}:{door.port}"
    path = f"/k8s/clusters/{first['id']}{WATCH}"
    code, answer, stream = upgrade(door, path, f"Cookie: {cookie}", own, "Origin: https://evil.test")
    stream.close()
    assert (code, b"more than one origin header" in answer) == (400, True)


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("X-API-CSRF: guessed",),
        ("X-API-CSRF: ",),
        ("Cookie: CSRF=mine",),
        ("Cookie: CSRF=mine", "X-API-CSRF: other"),
        ("Cookie: CSRF=", "X-API-CSRF: "),
        ("Origin: https://evil.test",),
        ("Origin: https://evil.test", "Sec-Fetch-Site: cross-site", "User-Agent: Mozilla/5.0"),
        ("X-HTTP-Method-Override: GET",),
        ("User-Agent: kubectl/v1.37",),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_cookie_alone_changes_nothing(
    door: Door, cookie: str, first: dict[str, Any], method: str, lines: tuple[str, ...]
) -> None:
    """At a cluster, at the management cluster and at our own API."""
    sent = f"Cookie: {cookie}"
    body = b'{"metadata":{"name":"forged"}}'
    named = "" if method == "POST" else "/forged"
    for path in (
        f"/k8s/clusters/{first['id']}/api/v1/namespaces/default/configmaps{named}?dryRun=All",
        f"/k8s/clusters/local/api/v1/namespaces/default/configmaps{named}?dryRun=All",
        f"/v3/tokens{named}?_method=GET",
        f"/v1/configmaps/default{named}?_method=GET",
        f"/k8s/clusters/{first['id']}/v1/configmaps/default{named}",
        f"/k8s/proxy/local/v1/configmaps/default{named}",
    ):
        typed = ("Content-Type: application/json", f"Content-Length: {len(body)}")
        answer = exchange(door, head(door, f"{method} {path}", sent, *lines, *typed) + body)
        assert status(answer) == 422, (path, answer)
        assert b"InvalidCSRFToken" in answer


def test_a_cookie_and_its_token_change_something(door: Door, cookie: str, first: dict[str, Any]) -> None:
    """The control; and what changes nothing needs no token."""
    path = f"/k8s/clusters/{first['id']}/api/v1/namespaces/default/configmaps"
    proof = {"Cookie": f"{cookie}; CSRF=mine", "X-API-CSRF": "mine"}
    assert door.request("POST", f"{path}?dryRun=All", {"metadata": {"name": "mine"}}, proof).status == 201
    assert door.request("GET", path, headers={"Cookie": cookie}).status == 200


def test_a_foreign_page_signs_nobody_in(door: Door, person: Callable[[], Person]) -> None:
    one = person()
    body = {"username": one.username, "password": PASSWORD, "responseType": "cookie"}
    refused = door.request("POST", LOGIN, body, {"Origin": "https://evil.test"})
    assert refused.status == 403
    assert "another site" in refused.json()["message"]
    assert not refused.cookies()
    own = door.request("POST", LOGIN, body, {"Origin": f"https://{door.host}:{door.port}"})
    assert own.status == 200
    attributes = {part.strip().lower() for part in own.cookies()["R_SESS"].split(";")[1:]}
    assert {"httponly", "secure", "samesite=lax"} <= attributes


def test_pages_of_clusters_and_of_ours_answer_no_other_site(
    door: Door, cookie: str, first: dict[str, Any]
) -> None:
    """No answer lets another origin read it."""
    for path in (f"/k8s/clusters/{first['id']}/api", "/v3/users?me=true", "/v3/settings/cacerts"):
        asked = {"Cookie": cookie, "Origin": "https://evil.test", "Access-Control-Request-Method": "GET"}
        for method in ("GET", "OPTIONS"):
            answer = door.request(method, path, headers=asked)
            assert not answer.header("Access-Control-Allow-Origin"), path
            assert not answer.header("Access-Control-Allow-Credentials"), path
