from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from outrider.kit.backoff import Backoff
from outrider.kit.tasks import cancel_and_wait
from outrider.kube.builtin import CONFIGMAPS
from outrider.kube.client import Client
from outrider.kube.errors import Gone, KubeError, TransportError
from outrider.kube.meta import List, ObjectKey
from outrider.kube.watch import WatchEvent
from outrider.runtime.following import Follower

Obj = dict[str, Any]


def obj(name: str, version: str = "1") -> Obj:
    return {"metadata": {"name": name, "namespace": "a", "resourceVersion": version}}


def key(name: str) -> ObjectKey:
    return ObjectKey("a", name)


class Cluster:
    """Lists what `objects` holds; each watch gives the next of `watches`, the last one stays open."""

    def __init__(self, *watches: list[WatchEvent[Obj] | KubeError]) -> None:
        self.objects = [obj("x"), obj("y")]
        self.watches = list(watches)
        self.lists = 0
        self.versions: list[str] = []
        self.list_errors: list[KubeError] = []

    async def pages(self, kind: object, **_select: object) -> AsyncIterator[List[Obj]]:
        self.lists += 1
        if self.list_errors:
            raise self.list_errors.pop(0)
        for item in self.objects:
            yield List(items=[item], resource_version=f"list-{self.lists}")

    async def watch(
        self, kind: object, *, resource_version: str, **_more: object
    ) -> AsyncIterator[WatchEvent[Obj]]:
        self.versions.append(resource_version)
        if not self.watches:
            await asyncio.Event().wait()
        for event in self.watches.pop(0):
            if isinstance(event, KubeError):
                raise event
            yield event


class Model:
    """A sink that holds everything."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.retained = 0

    def put(self, key: ObjectKey, obj: Obj) -> None:
        self.held.add(key.name)

    def remove(self, key: ObjectKey) -> None:
        self.held.discard(key.name)

    def retain(self, keys: set[ObjectKey]) -> None:
        self.retained += 1
        self.held &= {key.name for key in keys}


def event(type_: str, name: str, version: str) -> WatchEvent[Obj]:
    return WatchEvent(
        type=cast(Any, type_), object=obj(name, version), key=key(name), resource_version=version
    )


async def follow(cluster: Cluster, sink: Model) -> None:
    """Runs until the cluster has no more to say."""
    follower = Follower(
        cast(Client, cluster), CONFIGMAPS, sink, sleep=lambda _s: asyncio.sleep(0), backoff=Backoff(0.01, 0.1)
    )
    task = asyncio.create_task(follower.run())
    async with asyncio.timeout(3):
        while cluster.watches or not cluster.versions:
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
    await cancel_and_wait(task)


async def test_changes_follow_the_list() -> None:
    sink = Model()
    cluster = Cluster([event("ADDED", "z", "5"), event("DELETED", "x", "6")], [])
    await follow(cluster, sink)
    assert sink.held == {"y", "z"}
    assert cluster.versions == ["list-1", "6", "6"]
    assert cluster.lists == 1


async def test_bookmarks_move_on_without_an_object() -> None:
    cluster = Cluster([WatchEvent(type="BOOKMARK", resource_version="99")], [])
    await follow(cluster, Model())
    assert cluster.versions[-1] == "99"


async def test_an_expired_version_starts_again_and_drops_what_is_gone() -> None:
    sink = Model()
    cluster = Cluster([event("ADDED", "ghost", "5"), Gone("too old")], [])
    await follow(cluster, sink)
    assert cluster.lists == 2
    assert sink.held == {"x", "y"}


async def test_a_broken_watch_goes_on_where_it_was(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster([event("ADDED", "z", "5"), TransportError("reset")], [TransportError("reset")], [])
    sink = Model()
    await follow(cluster, sink)
    assert cluster.versions[:3] == ["list-1", "5", "5"]
    assert cluster.lists == 1
    assert [record.getMessage() for record in caplog.records] == ["cannot follow configmaps: reset"]


async def test_a_list_that_fails_is_tried_again() -> None:
    cluster, sink = Cluster([]), Model()
    cluster.list_errors = [TransportError("refused"), TransportError("refused")]
    await follow(cluster, sink)
    assert cluster.lists == 3
    assert sink.held == {"x", "y"}


async def test_an_object_that_cannot_be_read_is_left_out_and_kept(caplog: pytest.LogCaptureFixture) -> None:
    rejected: WatchEvent[Obj] = WatchEvent(type="REJECTED", key=key("x"), resource_version="7", reason="odd")
    sink = Model()
    cluster = Cluster([rejected], [])
    await follow(cluster, sink)
    assert sink.held == {"x", "y"}
    assert cluster.versions[-1] == "7"
    assert "odd" in caplog.text
