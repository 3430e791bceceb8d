"""Lists of a kind, read as the user: in one request where they may list, else as their rules name it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

import msgspec

from outrider.apis.norman import NormanError
from outrider.apis.views.call import Call
from outrider.facade.v1.catalogue import Resource
from outrider.facade.v1.paths import Path, dig
from outrider.facade.v1.rows import Bundle, Rows
from outrider.facade.v3.edge import MOST_NAMES, gather
from outrider.kit.tasks import cancel_and_wait
from outrider.kube.client import Client
from outrider.kube.errors import Forbidden, Gone, NotFound
from outrider.kube.identity import Identity
from outrider.kube.meta import List
from outrider.kube.selectors import parse_fields, parse_labels
from outrider.kube.table import Row, Table, TableKind

PAGE: Final = 500
"""Rows in one answer of the API server."""

MOST_ROWS: Final = 250_000
"""Rows of a list that is put in an order here, or filtered."""

_INLINE: Final = 64
"""Rows that are packed at once: fewer are not worth a thread."""


@dataclass(frozen=True)
class Scope:
    """Part of what somebody may see of a kind: all in a namespace (or everywhere), or the objects with some names."""

    namespace: str = ""
    names: frozenset[str] | None = None


def scopes(call: Call, resource: Resource, namespace: str, namespaces: Sequence[str]) -> list[Scope]:
    """What somebody may see; `namespaces` are those in which they may have rights beside the ones that hold everywhere.

    Whose rules name nothing is let ask: the API server has its own words for it.
    """
    group, plural = resource.kind.group, resource.kind.plural
    rights = call.rights
    some = rights.allows_some("list", group, plural) or rights.allows_some("get", group, plural)
    if not some or rights.allows("list", group, plural, namespace=namespace):
        return [Scope(namespace)]
    if not resource.kind.namespaced:
        return [Scope("", rights.everywhere.names("get", group, plural) or frozenset())]
    found = []
    for one in [namespace] if namespace else namespaces:
        if rights.allows("list", group, plural, namespace=one):
            found.append(Scope(one))
        elif names := rights.names("get", group, plural, namespace=one):
            found.append(Scope(one, names))
    return found


@dataclass(frozen=True)
class Listing:
    """What is read: a kind, in which parts, narrowed by selectors of Kubernetes'. `client` acts as `identity`."""

    client: Client
    identity: Identity
    resource: Resource
    scopes: Sequence[Scope]
    labels: str = ""
    fields: str = ""

    def tables(self, *, limit: int = PAGE, token: str = "") -> AsyncGenerator[List[Table], None]:
        """The rows, page by page. Raises ApiError; Gone when the pages expire."""
        return self._tables(limit, token)

    async def _tables(self, limit: int, token: str) -> AsyncGenerator[List[Table], None]:
        kind = TableKind(self.resource.kind)
        alone = len(self.scopes) == 1
        for scope in self.scopes:
            if scope.names is not None:
                yield await self._named(kind, scope.namespace, scope.names)
                continue
            pages = self.client.pages(
                kind, scope.namespace, labels=self.labels, fields=self.fields, limit=limit, token=token
            )
            try:
                async with aclosing(pages):
                    async for page in pages:
                        yield page
            except (Forbidden, NotFound):
                if alone:
                    raise

    async def _named(self, kind: TableKind, namespace: str, names: frozenset[str]) -> List[Table]:
        async def one(name: str) -> Table | None:
            try:
                return await self.client.get(kind, name, namespace)
            except (Forbidden, NotFound, ValueError):
                return None

        found = [
            table
            for table in await gather(partial(one, name) for name in sorted(names)[:MOST_NAMES])
            if table
        ]
        columns = next((table.columns for table in found if table.columns), ())
        rows = [row for table in found for row in table.rows if self._selects(row)]
        return List(items=[Table(columns=columns, rows=rows)])

    def _selects(self, row: Row) -> bool:
        """What the API server does for a list is done here for objects that were read one by one."""
        if self.labels:
            labels = dig(row.object, ("metadata", "labels")) or {}
            if not parse_labels(self.labels).matches(labels):
                return False
        return not self.fields or parse_fields(self.fields).matches(_plain(row))


def _plain(row: Row) -> dict[str, Any]:
    return msgspec.json.decode(row.object, type=dict[str, Any])


@dataclass
class Loaded:
    """Rows, and the version of the collection that they are."""

    rows: Rows
    revision: str


async def load(
    listing: Listing, paths: Sequence[Path], now: Callable[[], datetime], *, most: int = MOST_ROWS
) -> Loaded:
    """All rows, with what they hold at some paths. When pages expire halfway, it starts again, in one piece.

    Raises NormanError (422) for more than `most`, which somebody has to narrow down.
    """
    try:
        return await _load(listing, paths, now, PAGE, most)
    except Gone:
        return await _load(listing, paths, now, 0, most)


async def _load(
    listing: Listing, paths: Sequence[Path], now: Callable[[], datetime], limit: int, most: int
) -> Loaded:
    loaded: Loaded | None = None
    async with aclosing(ahead(listing.tables(limit=limit))) as pages:
        async for page in pages:
            table = page.items[0]
            if loaded is None:
                loaded = Loaded(Rows(table.columns, now), page.resource_version)
            loaded.revision = page.resource_version or loaded.revision
            loaded.rows.add(await pack(table.rows, loaded.rows, paths), paths)
            if len(loaded.rows) > most:
                raise _too_many(listing.resource, most)
    return loaded or Loaded(Rows((), now), "")


def _too_many(resource: Resource, most: int) -> NormanError:
    text = f"there are more than {most} {resource.plural}: name a namespace or a labelSelector, or ask for a plain list"
    return NormanError(422, text, code="MaxLimitExceeded")


async def pack(rows: Sequence[Row], into: Rows, paths: Sequence[Path]) -> Bundle:
    """Rows, packed; many of them beside the event loop."""
    reads = into.reads(paths)
    if len(rows) <= _INLINE:
        return Bundle(rows, reads)
    return await asyncio.to_thread(Bundle, rows, reads)


async def ahead(pages: AsyncGenerator[List[Table], None]) -> AsyncGenerator[List[Table], None]:
    """The same pages; each is asked for while the one before is looked at."""
    async with aclosing(pages):
        coming = asyncio.create_task(_next(pages))
        try:
            while (page := await coming) is not None:
                coming = asyncio.create_task(_next(pages))
                yield page
        finally:
            await cancel_and_wait(coming)


async def _next(pages: AsyncGenerator[List[Table], None]) -> List[Table] | None:
    return await anext(pages, None)
