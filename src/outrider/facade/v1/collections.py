"""Collections of `/v1`: lists as they are asked for."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from outrider.apis.views.call import Call
from outrider.facade.v1 import query as queries
from outrider.facade.v1 import rendering, values
from outrider.facade.v1.asked import Asked
from outrider.facade.v1.kinds import OPEN_LISTS, Kinds, stored_entry
from outrider.facade.v1.lists import Lists
from outrider.facade.v1.permissions import permissions
from outrider.facade.v1.query import OFFSET, Query, Selection
from outrider.facade.v1.reading import Listing, ahead, scopes
from outrider.facade.v1.rendering import Renderer
from outrider.facade.v1.rows import Rows
from outrider.facade.v1.schemas import Permissions
from outrider.facade.v1.select import Where, summarize
from outrider.facade.v1.shape import Shape
from outrider.facade.v1.turns import Turn
from outrider.facade.v1.values import Entry
from outrider.facade.v3.inside import PROJECT, namespaces_of
from outrider.kube.errors import Forbidden
from outrider.kube.meta import List
from outrider.kube.table import Row, Table

Json = dict[str, Any]


class Collections:
    """Answers GET of collections."""

    def __init__(
        self, lists: Lists, renderer: Renderer, kinds: Kinds, learn: Callable[[Asked, Sequence[Any]], None]
    ) -> None:
        """`learn` is told the columns of a kind's table when a list shows them."""
        self._lists = lists
        self._renderer = renderer
        self._kinds = kinds
        self._learn = learn

    async def list(self, request: Request, asked: Asked, namespace: str) -> Response:
        """The resources that a request asks for."""
        query = queries.parse(request.query_params.multi_items())
        listing = self.listing(asked, namespace, query)
        try:
            if query.is_plain:
                return await self._plain(asked, listing, query)
            return await self._selected(asked, listing, query)
        except Forbidden:
            stored = await self._stored(asked)
            if stored is None:
                raise
            shape = self._renderer.shape(asked, query)
            head = envelope(asked, "") | {"count": len(stored)}
            return await rendering.answer(head, map(stored_entry, stored), shape, len(stored))

    async def _stored(self, asked: Asked) -> Sequence[Json] | None:
        """What those see who may not list: what the store of the kind's view shows them; None where there is none."""
        kind, call = asked.resource.kind, asked.call
        view = self._kinds.view(kind) if not asked.cluster else None
        if view is not None and view.store is not None and view.store.allows(call, "list", None):
            return await view.store.list(call)
        return () if not asked.cluster and (kind.group, kind.plural) in OPEN_LISTS else None

    def listing(self, asked: Asked, namespace: str, query: Query) -> Listing:
        """What is read for a request."""
        parts = scopes(asked.call, asked.resource, namespace, asked.namespaces)
        return Listing(
            asked.call.client, asked.call.identity, asked.resource, parts, query.labels, query.fields
        )

    async def _plain(self, asked: Asked, listing: Listing, query: Query) -> Response:
        """The API server's own list: passed on page by page, as it comes."""
        shape = self._renderer.shape(asked, query)
        pages = listing.tables(limit=query.limit or 500, token=query.token)
        try:
            first = await anext(pages, List(items=[Table(rows=[])]))
        except BaseException:
            await pages.aclose()
            raise
        self._learn(asked, first.items[0].columns)
        head = envelope(asked, first.resource_version)
        if query.limit:
            await pages.aclose()
            rows = first.items[0].rows
            rest = {"continue": first.continue_token} if first.continue_token else {}
            return await rendering.answer(
                head | {"count": len(rows)} | rest, map(values.entry_of, rows), shape, len(rows)
            )
        counted = [0]
        resources = _shown(first, pages, shape, counted)
        return rendering.streamed(head, resources, lambda: {"count": counted[0]})

    async def _selected(self, asked: Asked, listing: Listing, query: Query) -> Response:
        """Part of a list, in an order and through filters of its own."""
        where = await self._where(asked.call, query.selection)
        paths = [*query.selection.paths, *query.summary]
        view = await self._lists.view(asked.cluster, listing, paths)
        self._learn(asked, view.rows.columns)
        selection = Selection(query.selection.filters, query.selection.order)
        numbers = await view.select(selection, where)
        head = envelope(asked, view.revision) | {"count": len(numbers)}
        if query.summary:
            head["summary"] = await summarize(view.rows, numbers, query.summary)
        if query.summary_only:
            return rendering.json_answer(head | {"data": []})
        start, size = query.window
        chosen = numbers[start : start + size] if size else numbers[start:]
        if query.pagesize:
            head["pages"] = math.ceil(len(numbers) / query.pagesize)
        if size and not query.pagesize and start + size < len(numbers):
            head["continue"] = f"{OFFSET}{start + size}"
        shape = replace(
            self._renderer.shape(asked, query),
            columns=view.rows.columns,
            permissions=await permissions(asked, _entries(view.rows, chosen), query.permissions),
        )
        return await rendering.answer(head, _entries(view.rows, chosen), shape, len(chosen))

    async def _where(self, call: Call, selection: Selection) -> Where:
        if not (selection.among or selection.apart):
            return Where()
        namespaces = await namespaces_of(call)
        among = _spaces(namespaces, selection.among) if selection.among else None
        return Where(among, _spaces(namespaces, selection.apart))


def envelope(asked: Asked, revision: str) -> Json:
    """What a collection says beside its resources."""
    link = asked.place.collection(asked.resource)
    creates = Permissions(asked.call.rights).some("create", asked.resource)
    return {
        "type": "collection",
        "resourceType": asked.resource.id,
        "links": {"self": link},
        "createTypes": {asked.resource.id: link} if creates else {},
        "actions": {},
        "revision": revision,
    }


def _spaces(namespaces: Sequence[Mapping[str, Any]], wanted: Sequence[str]) -> frozenset[str]:
    """The names of the namespaces that are named, or in a project that is, by its name or its id."""
    names = {one.replace("/", ":").rpartition(":")[2] for one in wanted}
    return frozenset(
        one["metadata"]["name"]
        for one in namespaces
        if one["metadata"]["name"] in names or (one["metadata"].get("labels") or {}).get(PROJECT) in names
    )


def _entries(rows: Rows, numbers: Sequence[int]) -> Iterator[Entry]:
    for number in numbers:
        entry = rows.entry(number)
        if entry is not None:
            yield entry
    rows.close()


async def _shown(
    first: List[Table], pages: AsyncGenerator[List[Table], None], shape: Shape, counted: list[int]
) -> AsyncIterator[bytes]:
    turn = Turn()
    rows: Sequence[Row] = first.items[0].rows
    async with aclosing(ahead(pages)) as coming:
        while True:
            for row in rows:
                yield msgspec.json.encode(shape.show(values.entry_of(row)))
                if turn.over:
                    await turn.next()
            counted[0] += len(rows)
            page = await anext(coming, None)
            if page is None:
                return
            rows = page.items[0].rows
