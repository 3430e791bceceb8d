"""Many resources as one answer, in turns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime
from typing import Any, Final

import msgspec
from starlette.responses import Response, StreamingResponse

from outrider.facade.v1.asked import Asked
from outrider.facade.v1.kinds import Kinds
from outrider.facade.v1.query import Query
from outrider.facade.v1.shape import Shape
from outrider.facade.v1.turns import Turn
from outrider.facade.v1.values import Entry

Json = dict[str, Any]

_FEW: Final = 256
"""Resources that are answered in one piece."""

_CHUNK: Final = 1 << 17
"""Bytes that are sent at once of a longer answer."""


class Renderer:
    """Shows objects to the user who asks."""

    def __init__(self, kinds: Kinds, now: Callable[[], datetime]) -> None:
        self._kinds = kinds
        self._now = now

    def shape(self, asked: Asked, query: Query) -> Shape:
        """How the objects of a request are shown."""
        kind = asked.resource.kind
        return Shape(
            resource=asked.resource,
            place=asked.place,
            rights=asked.call.rights,
            scoped=asked.scoped,
            now=self._now(),
            hidden=self._kinds.hidden(kind) if not asked.cluster else frozenset(),
            include=query.include,
            exclude=query.exclude,
            emptied=query.emptied,
            actions=self._kinds.actions(kind, asked.call) if not asked.cluster else lambda _, __: {},
        )

    def one(self, asked: Asked, entry: Entry, query: Query) -> Json:
        """The resource of one object."""
        return self.shape(asked, query).show(entry)


async def answer(envelope: Json, entries: Iterable[Entry], shape: Shape, count: int) -> Response:
    """A collection whose resources are at hand."""
    if count > _FEW:
        return streamed(envelope, encoded(entries, shape), lambda: {})
    turn, shown = Turn(), []
    for entry in entries:
        shown.append(msgspec.Raw(msgspec.json.encode(shape.show(entry))))
        if turn.over:
            await turn.next()
    return json_answer(envelope | {"data": shown})


def json_answer(content: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(msgspec.json.encode(content), status, media_type="application/json")


async def encoded(entries: Iterable[Entry], shape: Shape) -> AsyncIterator[bytes]:
    """The resources as JSON, one after the other."""
    turn = Turn()
    for entry in entries:
        yield msgspec.json.encode(shape.show(entry))
        if turn.over:
            await turn.next()


def streamed(envelope: Json, resources: AsyncIterator[bytes], tail: Callable[[], Json]) -> Response:
    """A collection whose resources come one by one; `tail` says at the end what only then is known."""
    return StreamingResponse(_pieces(envelope, resources, tail), media_type="application/json")


async def _pieces(
    envelope: Json, resources: AsyncIterator[bytes], tail: Callable[[], Json]
) -> AsyncIterator[bytes]:
    gathered = bytearray(msgspec.json.encode(envelope)[:-1] + b',"data":[')
    first = True
    async for resource in resources:
        gathered += resource if first else b"," + resource
        first = False
        if len(gathered) >= _CHUNK:
            yield bytes(gathered)
            gathered.clear()
    gathered += b"]"
    last = msgspec.json.encode(tail())
    yield bytes(gathered + (b"," + last[1:] if len(last) > 2 else b"}"))
