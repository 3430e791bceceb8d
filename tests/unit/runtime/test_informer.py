import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from outrider.kit.backoff import Backoff
from outrider.kit.tasks import cancel_and_wait
from outrider.kube.builtin import CONFIGMAPS
from outrider.kube.client import Client
from outrider.kube.errors import TransportError
from outrider.kube.kind import Kind
from outrider.kube.meta import ObjectKey
from outrider.kube.transport import Request, Response
from outrider.runtime.informer import Event, Informer
from tests.support.clock import FakeClock, settle
from tests.support.fake_api import FakeApi
from tests.support.widgets import WIDGETS, Widget

A, B, C = (ObjectKey("n", name) for name in "abc")


@asynccontextmanager
async def following(
    api: FakeApi, kind: Kind[Any] = CONFIGMAPS, clock: FakeClock | None = None, **options: Any
) -> AsyncIterator[tuple[Informer[Any], list[Event[Any]]]]:
    informer: Informer[Any] = Informer(
        Client(api), kind, backoff=Backoff(1, 8, jitter=0), clock=clock or FakeClock(), **options
    )
    events: list[Event[Any]] = []
    informer.subscribe(events.append)
    task = asyncio.create_task(informer.run())
    await settle(100)
    try:
        yield informer, events
    finally:
        await cancel_and_wait(task)


def summary(events: list[Event[Any]]) -> list[tuple[str, str]]:
    return [(e.type, (e.new or e.old)["metadata"]["name"]) for e in events]


async def test_it_lists_in_pages_then_follows() -> None:
    api = FakeApi(CONFIGMAPS)
    for name in "abcde":
        api.put(CONFIGMAPS, name, "n")
    async with following(api, page_size=2) as (informer, events):
        assert informer.synced
        await informer.wait_synced()
        assert len(informer) == 5
        api.put(CONFIGMAPS, "a", "n", data={"x": "1"})
        api.put(CONFIGMAPS, "f", "m")
        api.drop(CONFIGMAPS, "b", "n")
        await settle()
        assert summary(events[5:]) == [("MODIFIED", "a"), ("ADDED", "f"), ("DELETED", "b")]
        assert events[5].old["metadata"]["resourceVersion"] < events[5].new["metadata"]["resourceVersion"]
        assert informer.get(A)["data"] == {"x": "1"}
        assert informer.get(B) is None
        assert len(list(informer.list("n"))) == 4
        assert len(list(informer.list())) == 5
        assert informer.resource_version == str(api.version)


async def test_indexes_follow_changes() -> None:
    api = FakeApi(CONFIGMAPS)
    api.put(CONFIGMAPS, "a", "n", data={"team": "red"})

    def team(obj: dict[str, Any]) -> list[str]:
        return [obj["data"]["team"]]

    async with following(api, indexes={"team": team}) as (informer, _):
        assert [o["metadata"]["name"] for o in informer.index("team", "red")] == ["a"]
        api.put(CONFIGMAPS, "a", "n", data={"team": "blue"})
        await settle()
        assert informer.index("team", "red") == []
        assert len(informer.index("team", "blue")) == 1


async def test_readers_get_the_same_decoded_instance_every_time() -> None:
    api = FakeApi(WIDGETS)
    api.put(WIDGETS, "a", "n", spec={"displayName": "A"})
    async with following(api, WIDGETS) as (informer, _):
        assert isinstance(informer.get(A), Widget)
        assert informer.get(A) is informer.get(A)
        assert next(iter(informer.list())) is informer.get(A)


async def test_managed_fields_are_not_kept() -> None:
    api = FakeApi(CONFIGMAPS)
    api.put(CONFIGMAPS, "a", "n", metadata={"managedFields": [{"manager": "x"}], "labels": {"l": "1"}})
    async with following(api) as (informer, _):
        meta = informer.get(A)["metadata"]
        assert "managedFields" not in meta
        assert meta["labels"] == {"l": "1"}


async def test_a_watch_that_ends_goes_on_from_where_it_was() -> None:
    api = FakeApi(CONFIGMAPS)
    api.put(CONFIGMAPS, "a", "n")
    clock = FakeClock()
    async with following(api, clock=clock) as (_, events):
        await clock.advance(300)
        api.cut()
        await settle()
        api.put(CONFIGMAPS, "b", "n")
        await settle()
        assert summary(events) == [("ADDED", "a"), ("ADDED", "b")]
        assert lists(api) == 1


async def test_a_bookmark_moves_the_version_without_an_event() -> None:
    api = FakeApi(CONFIGMAPS)
    async with following(api) as (informer, events):
        api.send({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "777"}}})
        await settle()
        assert informer.resource_version == "777"
        assert events == []


@pytest.mark.parametrize("as_event", [True, False])
async def test_an_expired_version_leads_to_a_new_list(as_event: bool) -> None:
    api = FakeApi(CONFIGMAPS)
    for name in "ab":
        api.put(CONFIGMAPS, name, "n")
    clock = FakeClock()
    async with following(api, clock=clock) as (informer, events):
        kept = informer.get(A)
        # While nobody watches: one goes, one changes, one comes.
        watches, api.watches = api.watches, []
        api.drop(CONFIGMAPS, "b", "n")
        api.put(CONFIGMAPS, "c", "n")
        api.expire()
        for *_, queue in watches:
            if as_event:
                status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
                queue.put_nowait(msgspec.json.encode({"type": "ERROR", "object": status}) + b"\n")
            queue.put_nowait(None)
        api.watches += watches
        await clock.advance(5)
        assert summary(events[2:]) == [("ADDED", "c"), ("DELETED", "b")]
        assert informer.get(A) is kept
        assert informer.get(B) is None
        api.put(CONFIGMAPS, "d", "n")
        await settle()
        assert summary(events)[-1] == ("ADDED", "d")


async def test_an_object_made_again_is_another_object() -> None:
    api = FakeApi(CONFIGMAPS)
    api.put(CONFIGMAPS, "a", "n")
    clock = FakeClock()
    async with following(api, clock=clock) as (_, events):
        watches, api.watches = api.watches, []
        api.drop(CONFIGMAPS, "a", "n")
        api.put(CONFIGMAPS, "a", "n")
        api.expire()
        watches[0][-1].put_nowait(None)
        api.watches += watches
        await clock.advance(5)
        assert [e.type for e in events] == ["ADDED", "DELETED", "ADDED"]


async def test_pages_that_expire_are_read_again_in_one_piece() -> None:
    api = FakeApi(CONFIGMAPS)
    for name in "abc":
        api.put(CONFIGMAPS, name, "n")

    def expire_pages(request: Request) -> Response | None:
        if "continue=" not in request.path:
            return None
        status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
        return Response(status=410, headers={}, body=msgspec.json.encode(status))

    api.interfere = expire_pages
    async with following(api, page_size=2) as (informer, events):
        assert informer.synced
        assert summary(events) == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "c")]


async def test_failures_back_off_and_recover() -> None:
    api = FakeApi(CONFIGMAPS)
    clock = FakeClock()
    times: list[float] = []

    def refuse(request: Request) -> Exception | None:
        times.append(clock.monotonic() - 1000)
        return TransportError("connection refused") if len(times) < 5 else None

    api.interfere = refuse
    api.put(CONFIGMAPS, "a", "n")
    async with following(api, clock=clock) as (informer, _):
        assert not informer.synced
        await clock.advance(30)
        assert informer.synced
        # A list each at 0, 1, 3 and 7 s; the fifth works, and the watch follows at once.
        assert times == [0, 1, 3, 7, 15, 15]


async def test_an_event_starts_the_backoff_anew() -> None:
    api = FakeApi(CONFIGMAPS)
    clock = FakeClock()
    async with following(api, clock=clock) as (informer, _):
        for _ in range(3):
            api.cut(TransportError("reset"))
            await clock.advance(8)
        api.put(CONFIGMAPS, "a", "n")
        await settle()
        before = len(api.requests)
        api.cut(TransportError("reset"))
        await settle()
        await clock.advance(0.9)
        assert len(api.requests) == before
        await clock.advance(0.2)
        assert len(api.requests) > before
        assert informer.get(A) is not None


async def test_watches_that_end_at_once_are_not_hammered() -> None:
    api = FakeApi(CONFIGMAPS)
    clock = FakeClock()
    api.interfere = lambda request: (
        Response(status=200, headers={}, body=b"") if "watch=true" in request.path else None
    )
    async with following(api, clock=clock):
        await clock.advance(60)
        watches = sum("watch=true" in request.path for request in api.requests)
        # 0, 1, 3, 7, 15, 23, 31, 39, 47, 55
        assert watches == 10


async def test_a_broken_watch_is_resumed_without_a_list() -> None:
    api = FakeApi(CONFIGMAPS)
    clock = FakeClock()
    async with following(api, clock=clock) as (_, events):
        api.cut(TransportError("reset"))
        await settle()
        api.put(CONFIGMAPS, "a", "n")
        await clock.advance(2)
        assert summary(events) == [("ADDED", "a")]
        assert lists(api) == 1


def lists(api: FakeApi) -> int:
    """How many whole lists were asked for; the look at the version has a limit of 1."""
    return sum(
        "watch=true" not in request.path and "limit=1&" not in f"{request.path}&" for request in api.requests
    )


@pytest.mark.parametrize("quietly", [True, False])
async def test_a_server_that_went_back_in_time_is_noticed(quietly: bool) -> None:
    api = FakeApi(CONFIGMAPS)
    api.put(CONFIGMAPS, "a", "n", data={"x": "1"})
    api.put(CONFIGMAPS, "b", "n")
    backup, version = dict(api.objects), api.version
    clock = FakeClock()
    async with following(api, clock=clock) as (informer, events):
        kept = informer.get(B)
        api.put(CONFIGMAPS, "a", "n", data={"x": "2"})
        api.put(CONFIGMAPS, "c", "n", data={"x": "before"})
        for name in "xyz":
            api.put(CONFIGMAPS, name, "n")
        await settle()
        if quietly:
            # A new watch, on which nothing has come yet.
            api.cut()
            await settle()
        watches = api.watches
        if quietly:
            api.watches = []
        api.restore(backup, version)
        if quietly:
            # The watch stays open, from a future that does not come, until its time is over.
            api.watches = watches
            await clock.advance(400)
            api.cut()
        # The versions that were seen come again, for other objects and with other content.
        api.put(CONFIGMAPS, "d", "n")
        api.put(CONFIGMAPS, "c", "n", data={"x": "after"})
        await clock.advance(10)
        assert {obj["metadata"]["name"] for obj in informer.list()} == {"a", "b", "c", "d"}
        assert informer.get(A)["data"] == {"x": "1"}
        assert informer.get(C)["data"] == {"x": "after"}
        assert informer.get(B) is kept
        api.put(CONFIGMAPS, "e", "n")
        await settle()
        assert summary(events)[-1] == ("ADDED", "e")


async def test_a_watch_that_said_nothing_costs_a_look_and_not_a_list() -> None:
    api = FakeApi(CONFIGMAPS)
    clock = FakeClock()
    async with following(api, clock=clock):
        for _ in range(5):
            await clock.advance(300)
            api.cut()
            await settle()
        assert lists(api) == 1
        assert sum("limit=1" in request.path for request in api.requests) == 5


async def test_an_object_that_cannot_be_decoded_keeps_its_last_good_state(
    caplog: pytest.LogCaptureFixture,
) -> None:
    api = FakeApi(WIDGETS)
    for name in "ab":
        api.put(WIDGETS, name, "n", spec={"displayName": "good"})
    clock = FakeClock()
    async with following(api, WIDGETS, clock) as (informer, events):
        api.put(WIDGETS, "a", "n", spec={"displayName": 5})
        api.put(WIDGETS, "b", "n", spec={"displayName": "better"})
        await settle()
        assert informer.get(A).spec.display_name == "good"
        assert informer.get(B).spec.display_name == "better"
        assert "Widget n/a is left as it was last known" in caplog.text
        # Nor does a new list take it for deleted.
        api.expire()
        api.cut(TransportError("reset"))
        api.version += 1
        api.expire()
        await clock.advance(10)
        assert informer.get(A).spec.display_name == "good"
        assert [e.type for e in events] == ["ADDED", "ADDED", "MODIFIED"]
        # But when it is deleted, it is gone.
        api.drop(WIDGETS, "a", "n")
        await settle()
        assert informer.get(A) is None
        assert events[-1].old.spec.display_name == "good"


async def test_a_late_subscriber_is_told_what_is_there_and_can_leave() -> None:
    api = FakeApi(CONFIGMAPS)
    api.put(CONFIGMAPS, "a", "n")
    async with following(api) as (informer, _):
        late: list[Event[Any]] = []
        unsubscribe = informer.subscribe(late.append)
        assert summary(late) == [("ADDED", "a")]
        unsubscribe()
        unsubscribe()
        api.put(CONFIGMAPS, "b", "n")
        await settle()
        assert len(late) == 1
        assert informer.get(B) is not None


async def test_a_handler_that_fails_stops_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    api = FakeApi(CONFIGMAPS)
    async with following(api) as (informer, events):

        def broken(event: Event[Any]) -> None:
            raise ZeroDivisionError

        informer.subscribe(broken)
        seen: list[Event[Any]] = []
        informer.subscribe(seen.append)
        api.put(CONFIGMAPS, "a", "n")
        await settle()
        assert len(seen) == len(events) == 1
        assert "a handler of configmaps failed" in caplog.text


async def test_only_the_wanted_namespace_is_followed() -> None:
    api = FakeApi(CONFIGMAPS)
    api.put(CONFIGMAPS, "a", "n")
    api.put(CONFIGMAPS, "a", "other")
    async with following(api, namespace="n", labels="x=y") as (informer, events):
        api.put(CONFIGMAPS, "c", "other")
        api.put(CONFIGMAPS, "c", "n")
        await settle()
        assert [ObjectKey("n", name) for _, name in summary(events)] == [A, C]
        assert len(informer) == 2
        assert all("labelSelector=x%3Dy" in request.path for request in api.requests)
