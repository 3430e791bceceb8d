"""One list that somebody looks at: its rows, kept current by a watch, and the orders in which they were looked at."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Final

from outrider.facade.v1.query import Selection
from outrider.facade.v1.reading import Listing, Loaded
from outrider.facade.v1.rows import Bundle, Rows
from outrider.facade.v1.select import Where, select
from outrider.kube.meta import ObjectKey
from outrider.kube.table import Table, TableKind
from outrider.kube.watch import WatchEvent

_WATCH_SECONDS: Final = 300.0
_ORDERS: Final = 8
_OWN_WRITE: Final = 0.3
"""Seconds that a page waits for a write that was made through this server to come by the watch."""


class LiveList:
    """One list, its rows and the orders in which they were looked at."""

    def __init__(self, loaded: Loaded, listing: Listing) -> None:
        self.rows: Rows = loaded.rows
        self.revision = loaded.revision
        self.alive = True
        self._listing = listing
        self._orders: dict[tuple[Selection, Where], tuple[int, list[int]]] = {}
        self._awaited: dict[ObjectKey, float] = {}
        self._changed = asyncio.Event()

    async def select(self, selection: Selection, where: Where) -> list[int]:
        """The numbers of the rows that are asked for."""
        key = (selection, where)
        known = self._orders.get(key)
        if known is not None and known[0] == self.rows.version:
            return known[1]
        version = self.rows.version
        numbers = await select(self.rows, selection, where)
        self._orders.pop(key, None)
        self._orders[key] = (version, numbers)
        if len(self._orders) > _ORDERS:
            self._orders.pop(next(iter(self._orders)))
        return numbers

    def wrote(self, key: ObjectKey) -> None:
        """An object was written through this server: the next page waits until the watch tells of it."""
        self._awaited[key] = asyncio.get_running_loop().time() + _OWN_WRITE

    async def settled(self) -> None:
        """Until what was written through this server is in the rows, or ought to be."""
        loop = asyncio.get_running_loop()
        while self._awaited and self.alive:
            deadline = max(self._awaited.values())
            self._changed.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._awaited = {key: until for key, until in self._awaited.items() if until > loop.time()}

    async def follow(self) -> None:
        """Takes changes in, until the watch can go no further. Raises KubeError."""
        (scope,) = self._listing.scopes
        kind = TableKind(self._listing.resource.kind)
        while self.rows.span < 2 * len(self.rows) + 1000:
            events = self._listing.client.watch(
                kind,
                scope.namespace,
                resource_version=self.revision,
                labels=self._listing.labels,
                fields=self._listing.fields,
                timeout=_WATCH_SECONDS,
            )
            async with aclosing(events):
                async for event in events:
                    self._take(event)

    def _take(self, event: WatchEvent[Table]) -> None:
        if event.type == "DELETED":
            self.rows.remove(event.key)
        elif event.type in ("ADDED", "MODIFIED") and event.object is not None:
            self.rows.add(Bundle(event.object.rows, ()))
        self.revision = event.resource_version or self.revision
        if self._awaited.pop(event.key, None) is not None:
            self._changed.set()
