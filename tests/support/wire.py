"""A transport without a socket, and a backend that does what a test says."""

import asyncio
from collections.abc import Callable
from typing import Any

from outrider.tunnel.exchange import Backend, Responder, Upstream
from outrider.tunnel.frames import Request


class Wire(asyncio.Transport):
    """What a protocol sees of its peer. `sent` is everything written; the peer reads when the test says so."""

    def __init__(self, protocol: Any, *, peername: tuple[str, int] = ("192.0.2.7", 4711)) -> None:
        super().__init__({"peername": peername})
        self.protocol = protocol
        self.sent = bytearray()
        self.unread = 0
        self.high = 64 * 1024
        self.reading = True
        self.reads_changed: list[bool] = []
        self.eager = True
        self.closed = False
        self.aborted = False
        self.lost = False
        self._blocked = False

    # asyncio.Transport

    def write(self, data: Any) -> None:
        if self.closed:
            return
        self.sent += data
        if not self.eager:
            self.unread += len(data)
            if self.unread > self.high and not self._blocked:
                self._blocked = True
                self.protocol.pause_writing()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(bytes(part) for part in list_of_data))

    def pause_reading(self) -> None:
        assert self.reading, "paused twice"
        self.reading = False
        self.reads_changed.append(False)

    def resume_reading(self) -> None:
        assert not self.reading, "resumed though it reads"
        self.reading = True
        self.reads_changed.append(True)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high or self.high

    def get_write_buffer_size(self) -> int:
        return self.unread

    def is_closing(self) -> bool:
        return self.closed

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self._lose)

    def abort(self) -> None:
        self.aborted = True
        self.close()

    def _lose(self) -> None:
        if not self.lost:
            self.lost = True
            self.protocol.connection_lost(None)

    # for tests

    def connect(self) -> "Wire":
        self.protocol.connection_made(self)
        return self

    def feed(self, data: bytes, size: int = 0) -> None:
        """The peer says something, in pieces of `size` bytes; whatever comes while reading is paused must wait."""
        for start in range(0, len(data), size or len(data) or 1):
            if self.closed:
                return
            self.protocol.data_received(data[start : start + (size or len(data))])

    def take(self) -> bytes:
        """What was written since the last time."""
        taken, self.sent = bytes(self.sent), bytearray()
        return taken

    def drain(self) -> None:
        """The peer reads everything."""
        self.unread = 0
        if self._blocked:
            self._blocked = False
            self.protocol.resume_writing()

    def vanish(self, *, politely: bool = False) -> None:
        """The peer goes away."""
        if politely and not self.closed:
            self.protocol.eof_received()
        self.closed = True
        self._lose()


class Call(Upstream):
    """One request at a `Script`, and everything that was asked of it."""

    def __init__(self, request: Request, claim: bytes, responder: Responder) -> None:
        self.request = request
        self.claim = claim
        self.responder = responder
        self.body = bytearray()
        self.finished = 0
        self.resets = 0
        self.paused = False
        self.pauses = 0

    def send(self, data: bytes | memoryview) -> None:
        self.body += data

    def finish(self) -> None:
        self.finished += 1

    def reset(self) -> None:
        self.resets += 1

    def pause(self) -> None:
        self.paused = True
        self.pauses += 1

    def resume(self) -> None:
        self.paused = False

    def answer(self, body: bytes = b"", status: int = 200, lines: bytes = b"") -> None:
        self.responder.on_head(status, len(body), lines, body, True)

    @property
    def lines(self) -> list[bytes]:
        """The header lines, without their ends."""
        return self.request.head.split(b"\r\n")[1:-1]

    @property
    def names(self) -> set[bytes]:
        return {line.partition(b":")[0].lower() for line in self.lines}

    @property
    def target(self) -> bytes:
        return self.request.head.split(b" ")[1]


class Script(Backend):
    """A backend that keeps its calls; `answers` runs for each."""

    def __init__(self, answers: Callable[[Call], None] | None = None) -> None:
        self.calls: list[Call] = []
        self.answers = answers

    def open(self, request: Request, claim: bytes, responder: Responder) -> Call:
        call = Call(request, claim, responder)
        self.calls.append(call)
        if self.answers is not None:
            self.answers(call)
        return call

    @property
    def last(self) -> Call:
        return self.calls[-1]
