"""The audit trail at the front door: which exchanges are recorded, when, and with which bodies."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from outrider.gateway.audit import NoAudit
from outrider.link.messages import Verdict
from tests.support.audit_desk import AuditDesk
from tests.support.wire import Call
from tests.unit.gateway.desk import C1, get, status, turn

Make = Callable[[int], AuditDesk]
JSON = b"Content-Type: application/json"


@pytest.fixture
async def make(tmp_path: Path) -> Any:
    made: list[AuditDesk] = []

    def desk(level: int) -> AuditDesk:
        made.append(AuditDesk(tmp_path, level))
        return made[-1]

    yield desk
    for one in made:
        one.close()


def post(path: bytes, body: bytes, *lines: bytes, method: bytes = b"POST") -> bytes:
    return get(path, JSON, b"Content-Length: %d" % len(body), *lines, method=method) + body


def json_answer(call: Call) -> None:
    call.answer(b'{"answer":1,"token":"Canary"}', lines=b"content-type: application/json\r\n")


async def test_level_1_records_metadata_and_no_body(make: Make) -> None:
    desk = make(1)
    desk.client().feed(post(C1 + b"/api/v1/x?token=Canary", b'{"a":1}'))
    json_answer(desk.cluster.last)
    (entry,) = desk.log()
    assert entry["requestURI"] == "/k8s/clusters/c-1/api/v1/x?token=[redacted]"
    assert (entry["method"], entry["responseCode"], entry["remoteAddr"]) == ("POST", 200, "192.0.2.7")
    assert (entry["requestBytes"], entry["responseBytes"]) == (7, 29)
    assert entry["user"]["name"] == "u-alice"
    assert not {"requestBody", "responseBody"} & entry.keys()
    assert b"Canary" not in desk.text


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"PATCH"])
async def test_level_2_adds_the_requests_body(make: Make, method: bytes) -> None:
    desk = make(2)
    desk.client().feed(post(C1 + b"/api", b'{"a":1,"password":"Canary"}', method=method), 3)
    json_answer(desk.cluster.last)
    (entry,) = desk.log()
    assert entry["requestBody"] == {"a": 1, "password": "[redacted]"}
    assert "responseBody" not in entry


async def test_level_3_adds_the_responses_body(make: Make) -> None:
    desk = make(3)
    desk.client().feed(post(C1 + b"/api", b'{"a":1}'))
    call = desk.cluster.calls[0]
    call.responder.on_head(200, -1, b"content-type: application/json\r\n", b'{"answer"', False)
    call.responder.on_data(b':1,"token":"Canary"}')
    call.responder.on_end(b"")
    (entry,) = desk.log()
    assert entry["requestBody"] == {"a": 1}
    assert entry["responseBody"] == {"answer": 1, "token": "[redacted]"}


async def test_answers_of_the_gateways_own_are_shown_too(make: Make) -> None:
    desk = make(3)
    desk.client().feed(get(b"/k8s/clusters/nowhere/api"))
    (entry,) = desk.log()
    assert (entry["responseCode"], entry["responseBody"]["kind"]) == (503, "Status")


async def test_a_body_that_came_before_its_turn_is_copied(make: Make) -> None:
    desk = make(2)
    client = desk.client()
    client.feed(get(C1 + b"/first") + post(C1 + b"/second", b'{"a":1}'))
    desk.cluster.calls[0].answer()
    await turn()
    desk.cluster.calls[1].answer()
    assert [entry.get("requestBody") for entry in desk.log()] == [None, {"a": 1}]


async def test_a_long_body_is_passed_on_whole_and_copied_in_part(make: Make) -> None:
    desk = make(3)
    body = b'{"a":"' + b"x" * 200_000 + b'"}'
    desk.client().feed(post(C1 + b"/api", body), 10_000)
    call = desk.cluster.calls[0]
    assert bytes(call.body) == body
    call.answer(body, lines=b"content-type: application/json\r\n")
    (entry,) = desk.log()
    for name in ("requestBodyOmitted", "responseBodyOmitted"):
        assert entry[name]["length"] == len(body)
        assert entry[name]["kept"] == 65536
    assert desk.trail._holdings.held == 0


async def test_copies_are_let_go_when_a_client_vanishes(make: Make) -> None:
    desk = make(3)
    client = desk.client()
    client.feed(post(C1 + b"/api", b'{"a":1}'))
    assert desk.trail._holdings.held == 7
    client.vanish()
    (entry,) = desk.log()
    assert entry["responseCode"] == 0
    assert desk.trail._holdings.held == 0


@pytest.mark.parametrize("level", [1, 3])
async def test_a_sign_in_names_who_tried(make: Make, level: int) -> None:
    desk = make(level)
    body = b'{"username":"eve","password":"Canary"}'
    desk.client().feed(post(b"/v3-public/localProviders/local?action=login", body))
    desk.control.last.answer(b"{}", 401)
    (entry,) = desk.log()
    assert (entry["event"], entry["responseCode"], entry["userLoginName"]) == ("login", 401, "eve")
    assert entry.get("requestBody") == (None if level == 1 else {"username": "eve", "password": "[redacted]"})
    assert b"Canary" not in desk.text


@pytest.mark.parametrize("level", [1, 3])
async def test_an_upgraded_exchange_has_two_lines(make: Make, level: int) -> None:
    desk = make(level)
    client = desk.client()
    client.feed(get(C1 + b"/exec?command=sh", b"Connection: Upgrade", b"Upgrade: SPDY/3.1"))
    assert desk.log() == []
    call = desk.cluster.calls[0]
    call.responder.on_head(101, -1, b"", b"", False)
    (opened,) = desk.log()
    assert (opened["stage"], opened["responseCode"], opened["responseBytes"]) == ("open", 101, 0)
    client.feed(b"Canary in")
    call.responder.on_data(b"Canary output")
    client.vanish()
    closed = desk.log()[1]
    assert (closed["stage"], closed["requestBytes"], closed["responseBytes"]) == ("close", 9, 13)
    assert closed["auditID"] == opened["auditID"]
    assert closed["user"]["name"] == "u-alice"
    assert len(desk.log()) == 2
    assert b"Canary" not in desk.text


async def test_an_upgrade_that_was_refused_is_one_plain_line(make: Make) -> None:
    desk = make(1)
    desk.client().feed(get(C1 + b"/exec", b"Connection: Upgrade", b"Upgrade: websocket"))
    desk.cluster.calls[0].answer(b"no", 403)
    (entry,) = desk.log()
    assert entry["responseCode"] == 403
    assert "stage" not in entry


@pytest.mark.parametrize(
    ("verdict", "user", "event"),
    [
        (Verdict(id=0, status=401, generation=1), None, "authentication"),
        (
            Verdict(id=0, status=401, token="token-abcde", generation=1),
            {"extra": {"requesttokenid": ["token-abcde"]}},
            "authentication",
        ),
        (Verdict(id=0, status=404, user="u-bob", generation=1), {"name": "u-bob"}, None),
    ],
)
async def test_whoever_is_refused_is_recorded(
    make: Make, verdict: Verdict, user: dict[str, Any] | None, event: str | None
) -> None:
    desk = make(1)
    desk.verdict = verdict
    client = desk.client()
    client.feed(get(C1 + b"/api"))
    (entry,) = desk.log()
    assert entry["responseCode"] == verdict.status == status(client.take())
    assert entry.get("user") == user
    assert entry.get("event") == event


async def test_requests_that_are_not_even_http_are_recorded(make: Make) -> None:
    desk = make(1)
    desk.client().feed(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    (entry,) = desk.log()
    assert entry["responseCode"] == 400


async def test_probes_are_not_recorded(make: Make) -> None:
    desk = make(3)
    for path in (b"/ping", b"/healthz", b"/readyz"):
        desk.client().feed(get(path))
    assert desk.log() == []


async def test_impersonation_that_was_refused_says_of_whom(make: Make) -> None:
    desk = make(1)
    desk.client().feed(get(C1 + b"/api", b"Impersonate-User: root", b"Impersonate-Group: a"))
    (entry,) = desk.log()
    assert entry["responseCode"] == 403
    assert entry["user"] == {"requestUser": "root", "requestGroups": ["a"]}


async def test_nothing_is_copied_below_level_2(make: Make) -> None:
    desk = make(1)
    desk.client().feed(post(C1 + b"/api", b"{}"))
    assert desk.cluster.calls[0].responder.tap is None  # type: ignore[attr-defined]


async def test_lost_records_are_said_in_the_next_one(make: Make) -> None:
    desk = make(3)
    desk.cluster.answers = json_answer
    desk.trail._channel.limit = 0
    client = desk.client()
    for _ in range(3):
        client.feed(post(C1 + b"/api", b"{}"))
    desk.trail._channel.limit = 1 << 20
    client.feed(get(C1 + b"/api"))
    (entry,) = desk.log()
    assert entry["auditLogError"].startswith("3 records were lost")
    assert entry["auditID"].endswith("000000000004")
    assert desk.trail._holdings.held == 0
    assert desk.trail.values() == {"rancher_audit_events_total": 4, "rancher_audit_dropped_total": 3}


async def test_when_the_writer_is_slow_bodies_go_before_records(make: Make) -> None:
    desk = make(3)
    desk.trail._channel.limit = 200_000
    client = desk.client()
    body = b'{"a":"' + b"x" * 50_000 + b'"}'
    for _ in range(5):
        client.feed(post(C1 + b"/api", body))
        desk.cluster.last.answer(b"{}")
        desk.trail._channel._blocked = True
    desk.trail._channel._blocked = False
    entries = desk.log()
    assert len(entries) == 5
    assert "requestBody" in entries[0]
    assert "requestBody" not in entries[-1]
    assert entries[-1]["auditLogError"].startswith("its bodies were dropped")
    assert desk.trail._holdings.held == 0


def test_level_0_records_nothing() -> None:
    assert NoAudit().values() == {}
    assert not NoAudit.taps
