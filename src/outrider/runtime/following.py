"""Follows one kind of object without keeping any: list, then watch, again from the start when that expires.

An informer would hold every object; the agent needs sums and names of thousands of pods in a small process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Generic, Protocol, TypeVar, cast

from outrider.kit.backoff import Backoff
from outrider.kube.client import Client
from outrider.kube.errors import Gone, KubeError
from outrider.kube.kind import Kind
from outrider.kube.meta import ObjectKey
from outrider.kube.watch import WatchEvent

log = logging.getLogger(__name__)

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Sink(Protocol[T_contra]):
    """Where the objects go. All calls are synchronous and idempotent."""

    def put(self, key: ObjectKey, obj: T_contra) -> None:
        """The object exists and is like this."""

    def remove(self, key: ObjectKey) -> None:
        """The object is gone."""

    def retain(self, keys: set[ObjectKey]) -> None:
        """A whole list was read: nothing but `keys` exists."""


class Follower(Generic[T]):
    """Keeps a `Sink` up to date with a kind.

    `watch_seconds` is how long one watch lasts; `page` how many objects one answer of a list holds. Failures
    are logged when they change and retried after `backoff`.
    """

    def __init__(
        self,
        client: Client,
        kind: Kind[T],
        sink: Sink[T],
        *,
        sleep: Callable[[float], Awaitable[None]],
        backoff: Backoff,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        watch_seconds: float = 300.0,
        page: int = 250,
    ) -> None:
        self._client = client
        self._kind = kind
        self._sink = sink
        self._sleep = sleep
        self._backoff = backoff
        self._select = {"namespace": namespace, "labels": labels, "fields": fields}
        self._watch_seconds = watch_seconds
        self._page = page
        self._version = ""
        self._trouble = ""
        self._events = 0

    async def run(self) -> None:
        """Follows forever."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                if not self._version:
                    await self._list()
                heard = self._events
                begun = loop.time()
                await self._watch()
                # A proxy that ends every watch at once must not make this a busy loop.
                if heard == self._events and loop.time() - begun < 1.0:
                    await self._sleep(self._backoff.next())
            except Gone:
                self._version = ""
                await self._sleep(self._backoff.next())
            except KubeError as error:
                self._complain(str(error))
                await self._sleep(self._backoff.next())

    async def _list(self) -> None:
        keys: set[ObjectKey] = set()
        version = ""
        pages = self._client.pages(self._kind, **self._select, limit=self._page)
        async with contextlib.aclosing(cast(Any, pages)):
            async for page in pages:
                version = page.resource_version
                keys.update(rejected.key for rejected in page.rejected)
                for obj in page.items:
                    key = self._kind.key(obj)
                    keys.add(key)
                    self._sink.put(key, obj)
        self._sink.retain(keys)
        self._version = version
        self._well()

    async def _watch(self) -> None:
        events = self._client.watch(
            self._kind, **self._select, resource_version=self._version, timeout=self._watch_seconds
        )
        async with contextlib.aclosing(cast(Any, events)):
            async for event in events:
                self._take(event)
                self._well()

    def _take(self, event: WatchEvent[T]) -> None:
        if event.type == "DELETED":
            self._sink.remove(event.key)
        elif event.object is not None:
            self._sink.put(event.key, event.object)
        elif event.type == "REJECTED":
            log.warning("%s %s cannot be read: %s", self._kind.kind, event.key, event.reason)
        self._version = event.resource_version or self._version
        self._events += 1

    def _complain(self, trouble: str) -> None:
        if trouble != self._trouble:
            log.warning("cannot follow %s: %s", self._kind.plural, trouble)
        self._trouble = trouble

    def _well(self) -> None:
        self._backoff.reset()
        if self._trouble:
            log.info("following %s again", self._kind.plural)
        self._trouble = ""
