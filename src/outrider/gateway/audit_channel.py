"""The gateway's end of the audit FIFO: lines gather and go out in batches, and nobody ever waits for the writer.

When the writer cannot keep up, lines are dropped and counted; the owner says so in the next line that gets
through. A FIFO that somebody has replaced is opened anew.
"""

import asyncio
import os
import select
from collections import deque
from pathlib import Path

from outrider.gateway.audit_fifo import is_same, open_fifo

MAX_WAITING = 8 << 20
"""Bytes of lines that wait for the writer at most."""
BATCH = 32 * 1024
"""Bytes that are written at once rather than after `FLUSH_SECONDS`."""
FLUSH_SECONDS = 0.2
CLOSE_SECONDS = 1.0
"""Seconds that closing may wait for the writer to take what is left."""


class Channel:
    """Hands lines to whoever reads the FIFO `path`. Never blocks, but for a bounded time in `close`."""

    def __init__(self, path: Path, *, limit: int = MAX_WAITING, flush_seconds: float = FLUSH_SECONDS) -> None:
        self.lost = 0
        self._path = path
        self.limit = limit
        self._flush_seconds = flush_seconds
        self._loop = asyncio.get_running_loop()
        self._descriptor = open_fifo(path)
        # A predecessor may have died within a line: an empty one ends it.
        self._lines: list[bytes] = [b"\n"]
        self._gathered = 1
        self._blocks: deque[memoryview] = deque()
        self._waiting = 0
        self._blocked = False
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def room(self) -> int:
        """Bytes that may still be put."""
        return 0 if self._closed else self.limit - self._waiting - self._gathered

    def put(self, line: bytes) -> None:
        """Hands over a line, with its newline; the caller has looked for `room`."""
        self._lines.append(line)
        self._gathered += len(line)
        if self._gathered >= BATCH and not self._blocked:
            self._write()
        elif self._timer is None:
            self._timer = self._loop.call_later(self._flush_seconds, self._on_timer)

    def close(self, *, patience: float = CLOSE_SECONDS) -> int:
        """Hands over what is left, as long as somebody takes it; returns the number of bytes that nobody took."""
        self._closed = True
        self._gather()
        self._unblock()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._loop.time() + patience
        while self._blocks and (left := deadline - self._loop.time()) > 0:
            select.select([], [self._descriptor], [], left)
            self._drain()
        os.close(self._descriptor)
        return self._waiting

    def _on_timer(self) -> None:
        self._timer = None
        if not is_same(self._descriptor, self._path):
            self._reopen()
        self._write()
        if self._blocks:
            self._timer = self._loop.call_later(self._flush_seconds, self._on_timer)

    def _write(self) -> None:
        self._gather()
        self._drain()
        if self._blocks and not self._blocked:
            self._blocked = True
            self._loop.add_writer(self._descriptor, self._write)
        elif not self._blocks:
            self._unblock()

    def _gather(self) -> None:
        if self._lines:
            self._blocks.append(memoryview(b"".join(self._lines)))
            self._waiting += self._gathered
            self._lines.clear()
            self._gathered = 0

    def _drain(self) -> None:
        blocks = self._blocks
        while blocks:
            block = blocks[0]
            try:
                written = os.write(self._descriptor, block)
            except BlockingIOError:
                return
            self._waiting -= written
            if written < len(block):
                blocks[0] = block[written:]
                return
            blocks.popleft()

    def _unblock(self) -> None:
        if self._blocked:
            self._blocked = False
            self._loop.remove_writer(self._descriptor)

    def _reopen(self) -> None:
        try:
            fresh = open_fifo(self._path)
        except OSError:
            return  # the folder may come back; until then lines gather, and are counted when they no longer fit
        self._unblock()
        os.close(self._descriptor)
        self._descriptor = fresh
        self._gather()
        if self._blocks:
            self._resume_at_a_line()

    def _resume_at_a_line(self) -> None:
        # The former FIFO may have got half of a line: the new one begins with a whole line.
        block = self._blocks[0]
        rest = bytes(block).partition(b"\n")
        if len(block) < len(block.obj):  # type: ignore[arg-type]
            self._blocks[0] = memoryview(rest[2])
            self._waiting -= len(block) - len(rest[2])
            self.lost += 1
