import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from outrider.kube.builtin import CONFIGMAPS, NAMESPACES, SERVICEACCOUNTS
from outrider.kube.client import Client
from outrider.kube.errors import (
    AlreadyExists,
    Conflict,
    DecodeError,
    Gone,
    KubeError,
    NotFound,
    TooManyRequests,
    TransportError,
    Unavailable,
)
from outrider.kube.identity import Identity
from outrider.kube.transport import Request, Response
from tests.support.clock import FakeClock, settle
from tests.support.fake_api import FakeApi
from tests.support.widgets import WIDGETS, Widget, WidgetSpec, widget


class Scripted:
    """A transport that gives prepared answers in order and keeps the requests."""

    def __init__(self, *answers: tuple[int, Any] | tuple[int, Any, Mapping[str, str]]) -> None:
        self._answers = list(answers)
        self.requests: list[Request] = []

    async def request(self, request: Request, *, timeout: float) -> Response:
        self.requests.append(request)
        status, body, *rest = self._answers.pop(0)
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return Response(status=status, headers=rest[0] if rest else {}, body=data)

    @asynccontextmanager
    async def stream(self, request: Request, *, timeout: float) -> AsyncIterator["Chunks"]:
        self.requests.append(request)
        status, chunks, *_ = self._answers.pop(0)
        yield Chunks(status, chunks)

    async def close(self) -> None: ...

    @property
    def last(self) -> Request:
        return self.requests[-1]

    @property
    def query(self) -> dict[str, str]:
        return {key: values[0] for key, values in parse_qs(urlsplit(self.last.path).query).items()}

    @property
    def sent(self) -> Any:
        return msgspec.json.decode(self.last.body)


class Chunks:
    def __init__(self, status: int, chunks: Sequence[bytes]) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {}
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk


def page(*items: dict[str, Any], token: str = "", version: str = "9") -> dict[str, Any]:
    return {"metadata": {"resourceVersion": version, "continue": token}, "items": items}


def failure(code: int, reason: str = "", **more: Any) -> dict[str, Any]:
    return {"kind": "Status", "code": code, "reason": reason, "message": reason or "no", **more}


def content_type(request: Request) -> str:
    return dict(request.headers)["Content-Type"]


# Reading


async def test_get() -> None:
    transport = Scripted((200, widget("a")), (404, failure(404, "NotFound")), (404, failure(404, "NotFound")))
    client = Client(transport)
    assert (await client.get(WIDGETS, "a", "n")).spec.display_name == "A"
    assert transport.last.path == "/apis/example.io/v1/namespaces/n/widgets/a"
    with pytest.raises(NotFound):
        await client.get(WIDGETS, "b", "n")
    assert await client.get_or_none(WIDGETS, "b", "n") is None
    with pytest.raises(ValueError, match="empty"):
        await client.get(NAMESPACES, "")


async def test_a_list_follows_its_pages() -> None:
    transport = Scripted(
        (200, page(widget("a"), token="t/1", version="9")), (200, page(widget("b"), version="9"))
    )
    found = await Client(transport).list(WIDGETS, labels="app in (a,b)", fields="x=y", limit=1)
    assert [item.metadata.name for item in found.items] == ["a", "b"]
    assert (found.resource_version, found.continue_token) == ("9", "")
    assert transport.query == {
        "labelSelector": "app in (a,b)", "fieldSelector": "x=y", "limit": "1", "continue": "t/1",
    }  # fmt: skip


async def test_expired_pages_start_the_list_again_in_one_piece() -> None:
    transport = Scripted(
        (200, page(widget("old"), token="t")),
        (410, failure(410, "Expired")),
        (200, page(widget("a"), widget("b"), version="12")),
    )
    found = await Client(transport).list(WIDGETS, limit=1)
    assert [item.metadata.name for item in found.items] == ["a", "b"]
    assert found.resource_version == "12"
    assert "limit" not in transport.query


async def test_pages_report_that_they_expired() -> None:
    transport = Scripted((200, page(widget("old"), token="t")), (410, failure(410, "Expired")))
    pages = Client(transport).pages(WIDGETS, limit=1)
    assert len((await anext(pages)).items) == 1
    with pytest.raises(Gone):
        await anext(pages)


async def test_a_list_names_what_it_had_to_leave_out() -> None:
    transport = Scripted(
        (200, page(widget("a"), widget("bad", size=[]), token="t")), (200, page(widget("c")))
    )
    found = await Client(transport).list(WIDGETS)
    assert [item.metadata.name for item in found.items] == ["a", "c"]
    assert [str(rejected.key) for rejected in found.rejected] == ["n/bad"]


# Watching


def event(kind: str, obj: Any) -> bytes:
    return msgspec.json.encode({"type": kind, "object": obj}) + b"\n"


async def test_a_watch_decodes_events_across_chunks() -> None:
    data = event("ADDED", widget("a")) + event("BOOKMARK", {"metadata": {"resourceVersion": "50"}})
    transport = Scripted((200, [data[:20], data[20:40], data[40:]]))
    client = Client(transport)
    found = [e async for e in client.watch(WIDGETS, "n", resource_version="7", labels="a=b", timeout=300)]
    assert [e.type for e in found] == ["ADDED", "BOOKMARK"]
    assert isinstance(found[0].object, Widget)
    assert found[1].resource_version == "50"
    assert transport.query == {
        "watch": "true", "allowWatchBookmarks": "true", "resourceVersion": "7", "labelSelector": "a=b",
        "timeoutSeconds": "300",
    }  # fmt: skip


@pytest.mark.parametrize(
    "answer",
    [
        (410, [msgspec.json.encode(failure(410, "Expired"))]),
        (200, [event("ERROR", failure(410, "Expired"))]),
    ],
)
async def test_an_expired_version_is_gone_however_it_is_said(answer: tuple[int, list[bytes]]) -> None:
    stream = Client(Scripted(answer)).watch(WIDGETS, resource_version="1", timeout=5)
    with pytest.raises(Gone):
        await anext(stream)


# Writing


async def test_create_sends_what_the_object_is() -> None:
    transport = Scripted((201, widget("a")))
    obj = Widget(spec=WidgetSpec(display_name="A"))
    obj.metadata.name, obj.metadata.namespace = "a", "n"
    await Client(transport, field_manager="mgr").create(WIDGETS, obj)
    assert (transport.last.method, urlsplit(transport.last.path).path) == (
        "POST",
        "/apis/example.io/v1/namespaces/n/widgets",
    )
    assert transport.query == {"fieldManager": "mgr"}
    assert transport.sent == {
        "apiVersion": "example.io/v1",
        "kind": "Widget",
        "metadata": {"name": "a", "namespace": "n"},
        "spec": {"displayName": "A"},
    }


async def test_create_needs_a_namespace_where_the_kind_has_one() -> None:
    with pytest.raises(ValueError, match="namespace is empty"):
        await Client(Scripted()).create(CONFIGMAPS, {"metadata": {"name": "a"}})


async def test_apply() -> None:
    transport = Scripted((200, widget("a")), (409, failure(409, "Conflict")))
    client = Client(transport)
    given = widget("a")
    await client.apply(WIDGETS, given, subresource="status")
    assert transport.last.method == "PATCH"
    assert urlsplit(transport.last.path).path.endswith("/namespaces/n/widgets/a/status")
    assert transport.query == {"fieldManager": "outrider", "force": "true"}
    assert content_type(transport.last) == "application/apply-patch+yaml"
    assert transport.sent["kind"] == "Widget"
    assert "kind" not in given
    with pytest.raises(Conflict):
        await client.apply(WIDGETS, given, force=False)
    assert "force" not in transport.query


async def test_what_yaml_would_misread_is_escaped_in_an_apply() -> None:
    value = '\x7f\x85\u2028\u2029\ufeff é😀 \\ " \t\n'
    transport = Scripted((200, {}))
    await Client(transport).apply(
        CONFIGMAPS, {"metadata": {"name": "a", "namespace": "n"}, "data": {"k": value}}
    )
    assert transport.sent["data"]["k"] == value
    text = transport.last.body.decode()
    assert not set("\x7f\x85\u2028\u2029\ufeff") & set(text)
    assert "é😀" in text


async def test_the_kind_of_a_patch_follows_its_type() -> None:
    transport = Scripted((200, widget("a")), (200, widget("a")))
    client = Client(transport)
    await client.patch(WIDGETS, "a", {"spec": {"size": None}}, "n", subresource="status")
    assert content_type(transport.last) == "application/merge-patch+json"
    assert transport.last.body == b'{"spec":{"size":null}}'
    await client.patch(WIDGETS, "a", [{"op": "remove", "path": "/spec/size"}], "n")
    assert content_type(transport.last) == "application/json-patch+json"


async def test_delete_with_preconditions() -> None:
    transport = Scripted(
        (200, {}), (404, failure(404, "NotFound")), (404, failure(404, "NotFound")), (200, {})
    )
    client = Client(transport)
    await client.delete(WIDGETS, "a", "n", uid="u", resource_version="7", propagation="Foreground")
    assert transport.sent == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Foreground",
        "preconditions": {"uid": "u", "resourceVersion": "7"},
    }
    with pytest.raises(NotFound):
        await client.delete(WIDGETS, "a", "n")
    assert "preconditions" not in transport.sent
    assert await client.delete_if_exists(WIDGETS, "a", "n") is False
    assert await client.delete_if_exists(WIDGETS, "a", "n") is True


async def test_subresources_and_reviews() -> None:
    transport = Scripted(
        (201, {"status": {"token": "x"}}), (201, {"status": {"allowed": True}}), (200, b"[]")
    )
    client = Client(transport)
    answer = await client.create_subresource(SERVICEACCOUNTS, "sa", "n", "token", {"spec": {}})
    assert answer["status"] == {"token": "x"}
    assert transport.last.path == "/api/v1/namespaces/n/serviceaccounts/sa/token"
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    assert (await client.post(path, {"spec": {}}))["status"] == {"allowed": True}
    with pytest.raises(DecodeError, match="/version is not a JSON object"):
        await client.get_json("/version?x=secret")


async def test_a_raw_request_goes_through_as_it_is() -> None:
    transport = Scripted((404, b"nothing"))
    request = Request(method="PUT", path="/x?y", headers=[("X-A", "1")], body=b"z")
    response = await Client(transport).as_user(Identity("bob")).raw(request)
    assert (response.status, response.body) == (404, b"nothing")
    assert (transport.last.method, transport.last.path, transport.last.body) == ("PUT", "/x?y", b"z")
    assert {("X-A", "1"), ("Impersonate-User", "bob")} <= set(transport.last.headers)


async def test_as_user_adds_the_identity_to_every_request() -> None:
    transport = Scripted((200, {}), (200, {}))
    admin = Client(transport, field_manager="mgr")
    await admin.as_user(Identity("bob", ("dev",))).get(NAMESPACES, "a")
    assert ("Impersonate-User", "bob") in transport.last.headers
    assert ("Impersonate-Group", "dev") in transport.last.headers
    await admin.get(NAMESPACES, "a")
    assert not any(name.startswith("Impersonate") for name, _ in transport.last.headers)
    with pytest.raises(ValueError, match="identity"):
        admin.as_user(Identity("bob\r\nx"))


# Slowing down

BUSY = {"retry-after": "4"}


async def test_a_busy_server_is_asked_again_after_the_time_it_names() -> None:
    transport = Scripted((429, failure(429), BUSY), (503, failure(503), BUSY), (200, {"metadata": {}}))
    clock = FakeClock()
    task = asyncio.create_task(Client(transport, clock=clock).get(NAMESPACES, "a"))
    await clock.advance(3.9)
    assert len(transport.requests) == 1
    await clock.advance(0.2)
    assert len(transport.requests) == 2
    await clock.advance(4)
    await task
    assert len(transport.requests) == 3


async def test_asking_again_is_bounded_in_number_and_time() -> None:
    transport = Scripted(*[(429, failure(429, "TooManyRequests"), {"retry-after": "3600"})] * 3)
    clock = FakeClock()
    client = Client(transport, clock=clock, max_retries=2, max_retry_wait=10)
    task = asyncio.create_task(client.get(NAMESPACES, "a"))
    await clock.advance(20)
    with pytest.raises(TooManyRequests) as caught:
        await task
    assert caught.value.retry_after == 3600


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((503, failure(503, "ServiceUnavailable")), Unavailable),
        ((409, failure(409, "AlreadyExists"), BUSY), AlreadyExists),
        ((500, b"oops", BUSY), KubeError),
    ],
)
async def test_other_answers_are_final(answer: Any, error: type[KubeError]) -> None:
    transport = Scripted(answer)
    with pytest.raises(error):
        await Client(transport).create(NAMESPACES, {"metadata": {"name": "a"}})
    assert len(transport.requests) == 1


async def test_leaving_a_watch_early_ends_its_stream() -> None:
    api = FakeApi(CONFIGMAPS)
    stream = Client(api).watch(CONFIGMAPS, resource_version="100", timeout=60)
    first = asyncio.ensure_future(anext(stream))
    await settle()
    api.put(CONFIGMAPS, "a", "n")
    assert (await first).type == "ADDED"
    assert len(api.watches) == 1
    await stream.aclose()
    assert api.watches == []


async def test_a_broken_watch_says_so() -> None:
    api = FakeApi(CONFIGMAPS)
    stream = Client(api).watch(CONFIGMAPS, resource_version="100", timeout=60)
    first = asyncio.ensure_future(anext(stream))
    await settle()
    api.cut(TransportError("reset"))
    with pytest.raises(TransportError):
        await first
