"""Lists are kept while somebody looks at them, no longer, and for nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from outrider.apis.norman import NormanError
from outrider.facade.v1.catalogue import Resource
from outrider.facade.v1.lists import Lists
from outrider.facade.v1.live import LiveList
from outrider.facade.v1.query import Selection
from outrider.facade.v1.reading import Listing, Scope, load
from outrider.facade.v1.select import Where
from outrider.kube.builtin import CONFIGMAPS
from outrider.kube.errors import Forbidden, Gone
from outrider.kube.identity import Identity
from outrider.kube.meta import List, ObjectKey
from outrider.kube.table import Row, Table
from outrider.kube.watch import WatchEvent

JANE, JOHN = Identity("jane", ("a",)), Identity("john", ("a",))


def row(name: str, data: str = "") -> Row:
    obj = {"metadata": {"name": name, "namespace": "n"}, "data": {"x": data}}
    return Row(object=msgspec.Raw(msgspec.json.encode(obj)), cells=(name,))


class Server:
    """One user's client of a server with a few objects."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.allowed = True
        self.lists = 0
        self.watches = 0
        self.events: asyncio.Queue[Any] = asyncio.Queue()

    async def pages(self, kind: Any, namespace: str = "", **_: Any) -> AsyncIterator[List[Table]]:
        self.lists += 1
        if not self.allowed:
            raise Forbidden("no")
        yield List(items=[Table(rows=[row(name) for name in self.names])], resource_version="7")

    async def watch(self, kind: Any, namespace: str = "", **_: Any) -> AsyncIterator[Any]:
        self.watches += 1
        try:
            while (event := await self.events.get()) is not None:
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self.watches -= 1

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        assert body["spec"]["resourceAttributes"]["verb"] == "list"
        return {"status": {"allowed": self.allowed}}

    def listing(self, who: Identity = JANE, *scopes: Scope) -> Listing:
        resource = Resource(CONFIGMAPS, frozenset({"get", "list", "watch"}))
        return Listing(self, who, resource, scopes or (Scope("n"),))  # type: ignore[arg-type]


async def names(view: LiveList) -> list[str]:
    numbers = await view.select(Selection(), Where())
    return [key.name for key in map(view.rows.key, numbers) if key is not None]


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
async def lists() -> AsyncIterator[Lists]:
    made = Lists(now, idle=0.2, life=1.0, most=2)
    yield made
    await made.close()


async def test_pages_of_a_list_cost_one_read(lists: Lists) -> None:
    server = Server("a", "b")
    first = await lists.view("", server.listing(), ())
    again = await lists.view("", server.listing(), ())
    assert first is again
    assert (await names(again), server.lists) == (["a", "b"], 1)


async def test_a_list_goes_when_nobody_looks(lists: Lists) -> None:
    server = Server("a")
    await lists.view("", server.listing(), ())
    await asyncio.sleep(0.05)
    assert (len(lists), server.watches) == (1, 1)
    async with asyncio.timeout(5):
        while len(lists) or server.watches:
            await asyncio.sleep(0.02)


async def test_a_list_that_is_looked_at_all_the_time_is_read_anew_at_last(lists: Lists) -> None:
    server = Server("a")
    async with asyncio.timeout(10):
        while server.lists < 2:
            await lists.view("", server.listing(), ())
            await asyncio.sleep(0.02)


async def test_nobody_gets_the_list_of_somebody_else(lists: Lists) -> None:
    hers, his = Server("a"), Server("b")
    assert await names(await lists.view("", hers.listing(JANE), ())) == ["a"]
    assert await names(await lists.view("", his.listing(JOHN), ())) == ["b"]
    groups = Identity("jane", ("b",))
    assert await names(await lists.view("", his.listing(groups), ())) == ["b"]
    assert await names(await lists.view("c-1", his.listing(JANE), ())) == ["b"]


async def test_who_may_list_no_more_gets_nothing_of_what_was_kept(lists: Lists) -> None:
    server = Server("a")
    await lists.view("", server.listing(), ())
    server.allowed = False
    with pytest.raises(Forbidden):
        await lists.view("", server.listing(), ())
    assert len(lists) == 0


async def test_changes_come_by_the_watch(lists: Lists) -> None:
    server = Server("a", "b")
    view = await lists.view("", server.listing(), ())
    key = ObjectKey("n", "c")
    lists.wrote("", CONFIGMAPS, key)
    made = Table(rows=[row("c")])
    events: list[WatchEvent[Table]] = [
        WatchEvent(type="DELETED", key=ObjectKey("n", "a"), resource_version="8"),
        WatchEvent(type="ADDED", object=made, key=key, resource_version="9"),
    ]
    asyncio.get_running_loop().call_later(0.05, lambda: [server.events.put_nowait(event) for event in events])
    again = await lists.view("", server.listing(), ())
    assert again is view
    assert await names(again) == ["b", "c"]
    assert view.revision == "9"


async def test_a_watch_that_can_go_no_further_ends_the_list(lists: Lists) -> None:
    server = Server("a")
    first = await lists.view("", server.listing(), ())
    server.events.put_nowait(Gone("too old"))
    await asyncio.sleep(0.05)
    assert not first.alive
    assert await lists.view("", server.listing(), ()) is not first


async def test_no_more_are_kept_than_there_is_room_for(lists: Lists) -> None:
    servers = [Server(str(number)) for number in range(4)]
    for number, server in enumerate(servers):
        await lists.view(f"c-{number}", server.listing(), ())
    assert len(lists) == 2
    small = Lists(now, most_bytes=1)
    for server in servers[:2]:
        await small.view("", server.listing(Identity(server.names[0])), ())
    assert len(small) == 1
    await small.close()


async def test_a_list_that_is_too_long_is_refused() -> None:
    with pytest.raises(NormanError) as refused:
        await load(Server("a", "b", "c").listing(), (), now, most=2)
    assert (refused.value.status, refused.value.code) == (422, "MaxLimitExceeded")


async def test_what_cannot_be_watched_as_a_whole_is_read_each_time(lists: Lists) -> None:
    server = Server("a")
    listing = server.listing(JANE, Scope("n"), Scope("m"))
    for _ in range(2):
        await lists.view("", listing, ())
    assert (server.lists, len(lists)) == (4, 0)
