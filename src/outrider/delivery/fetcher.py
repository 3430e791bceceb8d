"""The agent's end of the hand-over: learns of heads through its tunnels and asks for the parts that it lacks."""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Protocol

from outrider.delivery.applier import StateApplier
from outrider.delivery.parts import PartError, expand, missing
from outrider.tunnel.reports import StateHead, StateHello, StateNeed, StatePart, StateReport, encode

log = logging.getLogger(__name__)

_WINDOW: Final = 4
"""Parts that are asked for at a time: bounds what waits in a tunnel that is slow."""


class Line(Protocol):
    """A tunnel."""

    def send_message(self, body: bytes) -> None:
        """Sends one message."""


class _Fetch:
    """One set on its way: `lacking` are the parts that are still to be asked for."""

    def __init__(self, head: StateHead, line: Line, lacking: list[str]) -> None:
        self.head = head
        self.line = line
        self.waiting = lacking
        self.asked: set[str] = set()
        self.heard = False


class Fetcher:
    """Follows the tunnels of one agent; `applier` decides what is wanted, and is given what arrived.

    A line on which nothing arrives for `patience` seconds although something was asked for is asked no more,
    as long as another one offers the same. What has arrived outlives its tunnel: on a line that breaks again and
    again a large set gets through all the same.
    """

    def __init__(self, applier: StateApplier, *, patience: float = 15.0) -> None:
        self._applier = applier
        self._patience = patience
        self._heads: dict[Line, StateHead | None] = {}
        self._fetch: _Fetch | None = None
        self._parts: dict[str, bytes] = {}

    # tunnels

    def attach(self, line: Line) -> None:
        """A tunnel opened."""
        self._heads[line] = None
        line.send_message(encode(self._hello()))
        if self._applier.last is not None:
            line.send_message(encode(self._applier.last))

    def detach(self, line: Line) -> None:
        """A tunnel closed."""
        self._heads.pop(line, None)
        if self._fetch is not None and self._fetch.line is line:
            self._fetch = None
            self.look()

    def report(self, report: StateReport) -> None:
        """Tell every server replica how far the state is."""
        body = encode(report)
        for line in self._heads:
            line.send_message(body)

    def on_head(self, line: Line, head: StateHead) -> None:
        """A server replica says what it wants."""
        if line not in self._heads:
            return
        self._heads[line] = head
        # Only the replica that applies judges, and fetches
        if self._applier.active and self._applier.wants(head):
            self.look()

    def on_part(self, line: Line, part: StatePart) -> None:
        """A part arrived."""
        fetch = self._fetch
        if fetch is None or line is not fetch.line or part.digest not in fetch.asked:
            return
        try:
            expand(part.data, part.digest)
        except PartError as error:
            # Another line may do better; to this one a question at once would get the same answer
            log.warning("the server sent a bad part: %s", error)
            self._turn_away(fetch)
            return
        fetch.heard = True
        fetch.asked.discard(part.digest)
        self._parts[part.digest] = part.data
        self._ask(fetch)

    # fetching

    def look(self) -> None:
        """Start to fetch the newest set on offer, unless that is under way or there is nothing new."""
        if not self._applier.active:
            self._fetch = None
            return
        known = [(head.version, line, head) for line, head in self._heads.items() if head is not None]
        for _, line, head in sorted(known, key=lambda one: one[0], reverse=True):
            if self._fetch is not None and self._fetch.head.version >= head.version:
                return
            if self._applier.wants(head):
                self._start(line, head)
                return

    async def run(self) -> None:
        """Give up on lines that answer nothing, until cancelled."""
        while True:
            before = self._fetch
            if before is not None:
                before.heard = False
            await asyncio.sleep(self._patience)
            if not self._applier.active:
                self._parts = {}  # kept as long as that, for a lease that is lost only for a moment
            if before is not None and self._fetch is before and not before.heard:
                log.warning("no part of desired state %d.%d arrived; asking again", *before.head.version)
                self._give_up(before)

    def _start(self, line: Line, head: StateHead) -> None:
        lacking = self._applier.lacks(head)
        self._parts = {digest: self._parts[digest] for digest in lacking if digest in self._parts}
        self._fetch = fetch = _Fetch(head, line, missing((tuple(lacking),), self._parts))
        self._ask(fetch)

    def _ask(self, fetch: _Fetch) -> None:
        if not fetch.waiting and not fetch.asked:
            self._fetch = None
            parts, self._parts = self._parts, {}
            self._applier.offer(fetch.head, parts)
            return
        room = _WINDOW - len(fetch.asked)
        # In halves of the window, so that one message asks for several parts and the line never runs dry
        if fetch.waiting and room * 2 >= _WINDOW:
            batch, fetch.waiting = fetch.waiting[:room], fetch.waiting[room:]
            fetch.asked.update(batch)
            fetch.line.send_message(encode(StateNeed(hash=fetch.head.hash, parts=tuple(batch))))

    def _give_up(self, fetch: _Fetch) -> None:
        """Try another line with the same set, or this one again from its first word."""
        if self._turn_away(fetch):
            return
        self._fetch = None
        if fetch.line in self._heads:
            self._heads[fetch.line] = None
            fetch.line.send_message(encode(StateHello()))

    def _turn_away(self, fetch: _Fetch) -> bool:
        """Ask another line with the same set for the rest, if there is one."""
        others = [line for line, head in self._heads.items() if head == fetch.head and line is not fetch.line]
        if others:
            self._start(others[0], fetch.head)
        return bool(others)

    def _hello(self) -> StateHello:
        kept = self._applier.kept
        if not self._applier.active or not self._applier.whole:
            return StateHello()
        return StateHello(epoch=kept.epoch, counter=kept.counter, hash=kept.hash)
