"""A watch: one JSON line an event, in the form that was asked for."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable

import msgspec

from outrider.apis.ext.served import Change, Json
from outrider.facade.extension.answers import failure
from outrider.kube.errors import KubeError

Shown = Callable[[Json, bool], Json]
"""Renders an object; the flag says whether it is the first of the stream."""


async def lines(
    changes: AsyncGenerator[Change, None], show: Shown, blank: Json, *, bookmarks: bool
) -> AsyncIterator[bytes]:
    """The lines of a watch. `blank` is what a bookmark's object has beside its version."""
    first = True
    async with contextlib.aclosing(changes):
        try:
            async for change in changes:
                line = _line(change, show, blank, first, bookmarks=bookmarks)
                if line:
                    first = False
                    yield line
        except KubeError as error:
            yield _event("ERROR", failure(error).to_status())


def _line(change: Change, show: Shown, blank: Json, first: bool, *, bookmarks: bool) -> bytes:
    if change.object is not None:
        return _event(change.type, show(change.object, first))
    if change.type != "BOOKMARK" or not bookmarks:
        return b""
    return _event("BOOKMARK", blank | {"metadata": {"resourceVersion": change.version}})


def _event(kind: str, value: Json) -> bytes:
    return msgspec.json.encode({"type": kind, "object": value}) + b"\n"
