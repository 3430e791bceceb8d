"""The edge of admission: what keeps a judge from speaking is a denial, and strangers are not answered."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec
import pytest

from outrider.apis.admission import AdmissionRequest, Denial, Guard, by_name, read_review
from outrider.apis.management import GLOBAL_ROLES
from outrider.facade import admission
from outrider.facade.admission import AdmissionRoute
from outrider.facade.api_server import build_api_app, common_name
from outrider.kube.errors import TransportError

REVIEW = {
    "request": {
        "uid": "u-1",
        "operation": "CREATE",
        "name": "x",
        "userInfo": {"username": "ann", "groups": ["dev"], "extra": {"k": ["v"]}},
        "object": {"metadata": {"name": "x"}},
        "oldObject": None,
    }
}


async def ask(
    judge: Any,
    *,
    body: bytes = b"",
    ready: bool = True,
    shown: str = "",
    proven: bool = False,
    name: str = "g",
) -> tuple[int, Any]:
    """Status and answer."""
    guard = Guard("g", (GLOBAL_ROLES,), judge)
    route = AdmissionRoute([guard], ready=lambda: ready, proven=proven).route()
    app = build_api_app([route], trusts=lambda name: name == "the-api-server")
    sent: list[Any] = []
    scope = {
        "type": "http",
        "method": "POST",
        "path": f"/admission/{name}",
        "raw_path": b"",
        "query_string": b"",
        "headers": [],
        "state": {"certificate": shown},
    }
    parts = [{"type": "http.request", "body": body or msgspec.json.encode(REVIEW), "more_body": False}]

    async def receive() -> Any:
        return parts.pop() if parts else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], msgspec.json.decode(sent[1]["body"])


async def fine(request: AdmissionRequest) -> Denial | None:
    return None


async def wrong(request: AdmissionRequest) -> Denial | None:
    return Denial("that is circular", 422)


async def broken(request: AdmissionRequest) -> Denial | None:
    raise TransportError("the API server is away")


async def endless(request: AdmissionRequest) -> Denial | None:
    await asyncio.sleep(60)
    return None


async def test_a_judge_is_given_the_request_and_its_word_is_passed_on() -> None:
    seen: list[AdmissionRequest] = []

    async def judge(request: AdmissionRequest) -> Denial | None:
        seen.append(request)
        return None

    status, answer = await ask(judge)
    assert (status, answer["response"]) == (200, {"uid": "u-1", "allowed": True})
    assert answer["kind"] == "AdmissionReview"
    (request,) = seen
    assert (request.operation, request.object, request.old_object) == (
        "CREATE",
        {"metadata": {"name": "x"}},
        None,
    )
    identity = request.user_info.identity
    assert (identity.user, identity.groups, identity.extra) == ("ann", ("dev",), {"k": ("v",)})
    _, answer = await ask(wrong)
    assert answer["response"] == {
        "uid": "u-1",
        "allowed": False,
        "status": {"code": 422, "message": "that is circular", "reason": "Invalid"},
    }


async def test_who_cannot_judge_denies(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    caplog.set_level(logging.CRITICAL)
    monkeypatch.setattr(admission, "SECONDS", 0.02)
    for judge, ready in ((fine, False), (broken, True), (endless, True)):
        status, answer = await ask(judge, ready=ready)
        assert status == 200
        assert (answer["response"]["allowed"], answer["response"]["status"]["code"]) == (False, 503)
        assert "try again" in answer["response"]["status"]["message"]


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"{}", b'{"request": 1}', b'{"request": {}}', b"\xff", b"[" * 10000]
)
async def test_what_is_no_review_is_answered_so(body: bytes) -> None:
    status, answer = await ask(fine, body=body)
    assert status == 400
    assert "AdmissionReview" in answer["message"]


async def test_where_the_api_server_proves_itself_nobody_else_is_answered() -> None:
    for shown, expected in (("", 403), ("somebody", 403), ("the-api-server", 200)):
        status, _ = await ask(fine, shown=shown, proven=True)
        assert status == expected, shown
    assert (await ask(fine))[0] == 200


async def test_an_unknown_guard_is_not_found() -> None:
    assert (await ask(fine, name="other"))[0] == 404


def test_two_guards_of_one_name_are_a_mistake() -> None:
    one, two = (Guard("g", (GLOBAL_ROLES,), judge) for judge in (fine, wrong))
    with pytest.raises(ValueError, match="two guards are called g"):
        by_name([one, two])


def test_the_name_in_a_certificate() -> None:
    subject = ((("organizationName", "x"),), (("commonName", "aggregator"),))
    assert common_name({"subject": subject}) == "aggregator"
    assert common_name(None) == ""
    assert common_name({}) == ""


def test_a_review_may_lack_all_but_what_is_needed() -> None:
    request = read_review(b'{"request": {"uid": "1", "operation": "DELETE", "object": null}}')
    assert (request.user_info.identity.user, request.object) == ("", None)
