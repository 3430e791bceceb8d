"""Ends the keeping of the desired state when the order to leave comes, and tells the server what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from outrider.kit.tasks import cancel_and_wait
from outrider.tunnel.reports import Removal, encode


class Line(Protocol):
    """A tunnel."""

    def send_message(self, body: bytes) -> None:
        """Sends one message."""


class Leaving:
    """What one agent process knows of its cluster's end; `done` is set when nothing is left for it to do."""

    def __init__(self, ordered: asyncio.Event) -> None:
        self._ordered = ordered
        self._lines: list[Line] = []
        self._last: Removal | None = None
        self.done = asyncio.Event()

    async def instead_of(
        self, keep: Callable[[], Awaitable[None]], depart: Callable[[], Awaitable[None]]
    ) -> None:
        """Runs `keep` until the order comes, and then `depart`: never both."""
        keeping = asyncio.ensure_future(keep())
        waiting = asyncio.ensure_future(self._ordered.wait())
        try:
            await asyncio.wait((keeping, waiting), return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                return keeping.result()
        finally:
            await cancel_and_wait(keeping, waiting)
        await depart()
        self.done.set()

    def attach(self, line: Line) -> None:
        """A tunnel opened."""
        self._lines.append(line)
        if self._last is not None:
            line.send_message(encode(self._last))

    def detach(self, line: Line) -> None:
        """A tunnel closed."""
        self._lines = [other for other in self._lines if other is not line]

    def tell(self, report: Removal) -> None:
        """Tell every server replica how far the removal is, unless they know."""
        if report == self._last:
            return
        self._last = report
        for line in self._lines:
            line.send_message(encode(report))
