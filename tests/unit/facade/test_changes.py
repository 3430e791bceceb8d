"""Changes that are told to many from one watch, and to those who come later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from outrider.apis.norman import retry_later
from outrider.facade.changes import KEPT, Change, Changes, Watches
from outrider.kube.builtin import CONFIGMAPS, SECRETS
from outrider.kube.errors import Gone
from outrider.kube.identity import Identity
from outrider.kube.meta import List, ObjectKey
from outrider.kube.watch import WatchEvent

JANE, JOHN = Identity("jane"), Identity("john")


class Server:
    """An API server's lists and watches, played by the test."""

    def __init__(self, version: str = "100") -> None:
        self.version = version
        self.begun: list[str] = []
        self.events: list[asyncio.Queue[Any]] = []

    async def pages(self, kind: Any, **_: Any) -> AsyncIterator[List[Any]]:
        assert kind.metadata_only
        yield List(items=[], resource_version=self.version)

    async def watch(self, kind: Any, *, resource_version: str, timeout: float) -> AsyncIterator[Any]:
        self.begun.append(resource_version)
        queue: asyncio.Queue[Any] = asyncio.Queue()
        self.events.append(queue)
        while (event := await queue.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield event

    def happens(self, number: int, kind: Any = "MODIFIED", name: str = "a", watch: int = 0) -> None:
        key = ObjectKey("b", name)
        event: WatchEvent[Any] = WatchEvent(type=kind, key=key, resource_version=str(number))
        self.events[watch].put_nowait(event)


@pytest.fixture
async def server() -> Server:
    return Server()


@pytest.fixture
async def changes(server: Server) -> AsyncIterator[Changes]:
    made = Changes(server)  # type: ignore[arg-type]
    yield made
    await made.close()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_one_watch_tells_all_and_ends_with_the_last(server: Server, changes: Changes) -> None:
    one: list[Change] = []
    two: list[Change] = []
    async with changes.told(CONFIGMAPS, one.append):
        async with changes.told(CONFIGMAPS, two.append), changes.told(SECRETS, two.append):
            assert changes.watches == 2
            server.happens(101, "ADDED")
            await settle()
            assert one == two == [Change("create", ObjectKey("b", "a"), "101")]
        server.happens(102, "DELETED")
        server.happens(103, "BOOKMARK")
        await settle()
        assert [change.event for change in one] == ["create", "remove"]
        assert one[1].gone
        assert len(two) == 1
        assert changes.watches == 1
    assert changes.watches == 0
    assert server.begun == ["100", "100"]


async def test_who_comes_later_is_told_what_came_after_their_version(
    server: Server, changes: Changes
) -> None:
    early: list[Change] = []
    late: list[Change] = []
    async with changes.told(CONFIGMAPS, early.append, since="90"):
        assert server.begun == ["90"]
        for number in (91, 95, 99):
            server.happens(number)
        await settle()
        async with changes.told(CONFIGMAPS, late.append, since="91"):
            assert [change.revision for change in late] == ["95", "99"]
        async with changes.told(CONFIGMAPS, late.append):
            assert len(late) == 2
    assert server.begun == ["90"]


async def test_who_saw_what_is_not_remembered_catches_up_by_a_watch_of_their_own(
    server: Server, changes: Changes
) -> None:
    late: list[Change] = []
    async with changes.told(CONFIGMAPS, lambda _: None, since="90"):
        for number in range(1, KEPT + 10):
            server.happens(100 + number)
        await settle()
        while server.events[0].qsize():
            await settle()
        async with changes.told(CONFIGMAPS, late.append, since="95"):
            await settle()
            assert server.begun == ["90", "95"]
            server.happens(96, watch=1)
            await settle()
            assert [change.revision for change in late] == ["96"]
            server.events[1].put_nowait(Gone("too old"))
            await settle()
            assert late[-1].event == "lost"


async def test_a_version_that_is_too_old_is_told_as_lost(server: Server, changes: Changes) -> None:
    told: list[Change] = []
    async with changes.told(CONFIGMAPS, told.append, since="1"):
        server.events[0].put_nowait(Gone("too old"))
        await settle()
        assert told == [Change("lost")]
        assert server.begun == ["1", "100"]


async def test_an_end_of_the_stream_is_no_end(server: Server, changes: Changes) -> None:
    told: list[Change] = []
    async with changes.told(CONFIGMAPS, told.append):
        server.happens(107)
        server.events[0].put_nowait(None)
        await settle()
        assert server.begun == ["100", "107"]


async def test_a_cluster_that_is_away_for_a_while_loses_nothing(server: Server, changes: Changes) -> None:
    told: list[Change] = []
    async with changes.told(CONFIGMAPS, told.append):
        server.happens(105)
        server.events[0].put_nowait(retry_later(503, "cluster agent disconnected", 5.0))
        async with asyncio.timeout(5):
            while len(server.begun) < 2:
                await asyncio.sleep(0.01)
        assert server.begun == ["100", "105"]
        server.happens(106, watch=1)
        await settle()
        assert [change.revision for change in told] == ["105", "106"]


async def test_in_other_clusters_one_watch_serves_one_user() -> None:
    own, hers, his = Server(), Server(), Server()
    watches = Watches(own)  # type: ignore[arg-type]

    def of(cluster: str, who: Identity, server: Server) -> Changes:
        return watches.of(cluster, who, server)  # type: ignore[arg-type]

    assert of("", JANE, hers) is of("", JOHN, his)
    async with of("c-1", JANE, hers).told(CONFIGMAPS, lambda _: None):
        assert of("c-1", JANE, hers) is of("c-1", JANE, hers)
        assert of("c-1", JANE, hers) is not of("c-1", JOHN, his)
        assert of("c-1", JANE, hers) is not of("c-2", JANE, hers)
        assert watches.watches == 1
    assert watches.watches == 0
    await watches.close()
