"""The aggregated API behind its door: who gets in, which forms and errors it answers with."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from outrider.apis.ext.served import Caller, Change, Json, Page, Selection, Served
from outrider.apis.ext.token import EXT_TOKENS
from outrider.facade.api_server import build_api_app
from outrider.facade.extension import arguments
from outrider.facade.extension.api import ExtensionApi
from outrider.facade.extension.fields import Fields
from outrider.facade.extension.tables import age
from outrider.kit.clock import SystemClock
from outrider.kube.errors import ApiError, BadRequest, Gone, TransportError
from tests.support.asgi import Answer, call

PATH = "/apis/ext.cattle.io/v1/tokens"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
PARTIAL = (
    "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,"
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
)


def item(name: str) -> Json:
    created = "2026-01-01T00:00:00Z"
    return {
        "apiVersion": "ext.cattle.io/v1",
        "kind": "Token",
        "metadata": {"name": name, "uid": "u", "resourceVersion": "7", "creationTimestamp": created},
        "spec": {"userID": "user-a"},
        "status": {},
    }


class Held:
    """A kind of two objects; the third is trouble."""

    async def get(self, caller: Caller, name: str) -> Json:
        if name == "broken":
            raise TransportError("secret detail")
        return item(name)

    async def select(self, caller: Caller, selection: Selection) -> Page:
        return Page(items=[item("a"), item("b")], version="9")

    async def watch(
        self, caller: Caller, selection: Selection, *, version: str, timeout: float
    ) -> AsyncGenerator[Change, None]:
        yield Change(type="ADDED", version="10", object=item("a"))
        yield Change(type="BOOKMARK", version="11")
        raise Gone("too old")

    def served(self) -> Served:
        return Served(kind=EXT_TOKENS, get=self.get, select=self.select, watch=self.watch)


def app(certificate: str = "front-proxy-client") -> Any:
    """The application as the door has it, for a client with this certificate."""
    routes = ExtensionApi([Held().served()], SystemClock()).routes()
    inner: Starlette = build_api_app(routes, trusts=lambda name: name == "front-proxy-client")

    async def with_certificate(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {"certificate": certificate}
        await inner(scope, receive, send)

    return with_certificate


async def ask(target: str = PATH, accept: str = "", method: str = "GET", body: Any = None) -> Answer:
    headers = {"x-remote-user": "user-a"} | ({"accept": accept} if accept else {})
    return await call(app(), method, target, body, headers=headers)


@pytest.mark.parametrize(
    ("certificate", "headers"),
    [("", {"x-remote-user": "a"}), ("someone", {"x-remote-user": "a"}), ("front-proxy-client", {})],
)
async def test_only_the_api_server_gets_in(certificate: str, headers: dict[str, str]) -> None:
    for target in ("/apis", PATH, f"{PATH}/a", "/openapi/v2", "/apis/x/y"):
        refused = await call(app(certificate), "GET", target, headers=headers)
        assert refused.status == 401
        assert refused.json()["kind"] == "Status"


async def test_discovery() -> None:
    listed = (await ask("/apis/ext.cattle.io/v1")).json()["resources"]
    assert [(one["name"], one["verbs"]) for one in listed] == [("tokens", ["get", "list", "watch"])]
    assert (await ask("/apis/ext.cattle.io")).json()["preferredVersion"]["version"] == "v1"
    assert (await ask("/apis")).json()["groups"][0]["name"] == "ext.cattle.io"


async def test_forms() -> None:
    assert (await ask()).json()["kind"] == "TokenList"
    table = (await ask(accept=TABLE)).json()
    assert [column["name"] for column in table["columnDefinitions"]][:2] == ["Name", "User"]
    assert [row["cells"][:2] for row in table["rows"]] == [["a", "user-a"], ["b", "user-a"]]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    listed = (await ask(accept=PARTIAL)).json()
    assert listed["kind"] == "PartialObjectMetadataList"
    assert "spec" not in listed["items"][0]
    assert (await ask(accept="application/vnd.kubernetes.protobuf")).status == 406
    whole = (await ask(f"{PATH}?includeObject=Object", accept=TABLE)).json()
    assert whole["rows"][0]["object"]["spec"]


async def test_a_watch_ends_with_its_error() -> None:
    answered = await ask(f"{PATH}?watch=1&allowWatchBookmarks=true")
    events = [msgspec.json.decode(line) for line in answered.body.splitlines()]
    assert [event["type"] for event in events] == ["ADDED", "BOOKMARK", "ERROR"]
    assert events[1]["object"]["metadata"] == {"resourceVersion": "11"}
    assert events[2]["object"]["code"] == 410
    rows = await ask(f"{PATH}?watch=true", accept=TABLE)
    events = [msgspec.json.decode(line) for line in rows.body.splitlines()]
    assert [event["type"] for event in events] == ["ADDED", "ERROR"]
    assert events[0]["object"]["kind"] == "Table"
    assert (await ask(f"{PATH}?watch=1&sendInitialEvents=true")).status == 422


async def test_errors_are_statuses() -> None:
    for answered, code in (
        (await ask(f"{PATH}/broken"), 503),
        (await ask("/apis/ext.cattle.io/v1/nothing"), 404),
        (await ask("/apis/other.io/v1"), 404),
        (await ask(method="POST", body={}), 405),
        (await ask(f"{PATH}/a", method="DELETE"), 405),
        (await ask(f"{PATH}/a", method="PATCH", body={}), 405),
        (await ask(f"{PATH}?limit=x"), 400),
        (await ask(f"{PATH}?labelSelector=a==b=="), 400),
    ):
        assert (answered.status, answered.json()["code"]) == (code, code)
        assert answered.json()["kind"] == "Status"
        assert b"secret detail" not in answered.body


def outcome(run: Callable[[], Any]) -> Any:
    """What comes of it, or the code of its refusal."""
    try:
        return run()
    except ApiError as error:
        return error.code


@given(st.text(max_size=40))
def test_any_accept_header_is_read_or_refused(accept: str) -> None:
    assert outcome(lambda: arguments.wanted_form(accept)) in ("object", "table", "metadata", 406)


@given(st.binary(max_size=60), st.sampled_from(["application/json", "application/yaml", "text/plain", ""]))
def test_any_body_is_an_object_or_refused(content: bytes, media: str) -> None:
    found = outcome(lambda: arguments.object_of(content, media))
    assert isinstance(found, dict) or found in (400, 415)


def test_fields() -> None:
    fields = Fields(EXT_TOKENS)
    good = {"metadata": {"anything": 1}, "spec": {"ttl": 1, "userPrincipal": {"extraInfo": {"k": "v"}}}}
    fields.check(good)
    assert fields.unknown(good) == []
    odd = {"extra": 1, "spec": {"colour": 1, "userPrincipal": {"nick": 1}}}
    assert fields.unknown(odd) == ["extra", "spec.colour", "spec.userPrincipal.nick"]
    for bad in (
        {"kind": "Secret"},
        {"apiVersion": "v1"},
        {"spec": {"ttl": "1"}},
        {"spec": []},
        {"spec": {"kind": "agent"}},
        {"spec": {"description": "x" * 5000}},
    ):
        with pytest.raises(BadRequest):
            fields.check(bad)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"), (119, "119s"), (120, "2m"), (432, "7m12s"), (3599, "59m"), (3 * 3600, "3h"),
        (3 * 3600 + 300, "3h5m"), (40 * 3600, "40h"), (50 * 3600, "2d2h"), (20 * 86400, "20d"), (800 * 86400, "2y70d"),
    ],
)  # fmt: skip
def test_ages(seconds: int, text: str) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert age((now - timedelta(seconds=seconds)).isoformat(), now) == text
    assert age(None, now) == "<unknown>"
