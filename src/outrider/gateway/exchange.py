"""One request of a client's and its answer: the Responder between a client's connection and a backend."""

import time
from typing import TYPE_CHECKING

from outrider.gateway import answers
from outrider.kit import http1
from outrider.tunnel.exchange import Upstream

if TYPE_CHECKING:
    from outrider.gateway.connection import ClientConnection
    from outrider.gateway.verdicts import Grant

JOIN = 16 * 1024
"""Body bytes up to which a chunk is copied together with its framing into one write, one TLS record."""

WAITING_BODY = 512 * 1024
"""Body bytes that gather at most while a request waits for its verdict or its turn; then reading pauses."""


class Exchange:
    """A parsed request, and the state of its answer.

    `target` is the request target as sent; `lines` are the end-to-end header lines without any credential;
    `length` is the body's size, -1 for chunks; `credential` is the raw Authorization value or one made of the
    session cookie. Byte counts are of bodies, both ways.
    """

    __slots__ = (
        "_body",
        "_bodyless",
        "_chunked",
        "_remaining",
        "answered",
        "bytes_in",
        "bytes_out",
        "close",
        "cluster",
        "connection",
        "cookie",
        "credential",
        "done",
        "extra",
        "from_cookie",
        "grant",
        "host",
        "impersonates",
        "length",
        "lines",
        "method",
        "old",
        "origin",
        "received",
        "route",
        "special",
        "started",
        "status",
        "switched",
        "target",
        "upgrade",
        "upstream",
    )

    def __init__(
        self, connection: "ClientConnection", method: bytes, target: bytes, lines: list[bytes]
    ) -> None:
        self.connection = connection
        self.method = method
        self.target = target
        self.lines = lines
        self.length = 0
        self.old = False
        self.close = False
        self.host = b""
        self.credential = b""
        self.cookie = b""
        self.origin = b""
        self.upgrade = b""
        self.from_cookie = False
        self.impersonates = False
        self.cluster = ""
        self.route = ""
        self.special: dict[bytes, bytes] = {}
        self.extra = b""
        self.grant: Grant | None = None
        self.upstream: Upstream | None = None
        self.received = False
        self.answered = False
        self.done = False
        self.switched = False
        self.status = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.started = time.monotonic()
        self._body: list[bytes] = []
        self._chunked = False
        self._bodyless = method == b"HEAD"
        self._remaining = -1

    def header(self, name: bytes) -> bytes:
        """A header's value, of any kind; empty when there is none. `name` is in lower case."""
        value = self.special.get(name)
        if value is not None:
            return value
        size = len(name) + 2
        start = name + b": "
        return next((line[size:-2] for line in self.lines if line[:size].lower() == start), b"")

    # the request's body, from the connection

    def receive(self, data: bytes) -> None:
        """Passes on bytes of the body, or raw bytes after 101; keeps them while nobody takes them yet."""
        self.bytes_in += len(data)
        if self.upstream is not None and (self.switched or not self.upgrade):
            self.upstream.send(data)
        elif not self.done:
            self._body.append(data)
            if self.bytes_in > WAITING_BODY:
                self.connection.pause_reading(self)

    def receive_end(self) -> None:
        """The body is complete; after 101, the client has closed."""
        self.received = True
        if self.upstream is not None:
            self.upstream.finish()

    def run_on(self, upstream: Upstream) -> None:
        """A backend has taken the request: it gets what has gathered of the body."""
        if self.done:
            return
        self.upstream = upstream
        if not self.upgrade:
            self._pass_on(upstream)
            if self.received and self.length:
                upstream.finish()

    def _pass_on(self, upstream: Upstream) -> None:
        body, self._body = self._body, []
        for data in body:
            upstream.send(data)
        self.connection.resume_reading(self)

    # Responder

    def on_head(self, status: int, length: int, lines: bytes, body: bytes | memoryview, last: bool) -> None:
        """Writes the head, and the body bytes that came with it."""
        if status < 200:
            return self._on_informational(status, lines)
        self.answered = True
        self.status = status
        parts: list[bytes | memoryview] = [
            http1.status_line(status),
            lines,
            self.extra,
            self._framing(status, length),
        ]
        if self.close:
            parts.append(b"connection: close\r\n")
        parts.append(b"\r\n")
        size = len(body)
        if size:
            self._count(size)
            parts += [b"%x\r\n" % size, body, b"\r\n"] if self._chunked else [body]
        if last:
            if self._chunked:
                parts.append(http1.LAST_CHUNK)
            elif self._remaining > 0:
                return self._broken("the answer ended before its body was complete")
            self.connection.write(b"".join(parts))
            return self._finish()
        return self.connection.write(b"".join(parts))

    def on_data(self, data: bytes | memoryview) -> None:
        """Writes body bytes."""
        size = len(data)
        self._count(size)
        if not self._chunked:
            self.connection.write(data)
        elif size <= JOIN:
            self.connection.write(b"".join((b"%x\r\n" % size, data, b"\r\n")))
        else:
            self.connection.write_parts([b"%x\r\n" % size, data, b"\r\n"])

    def on_end(self, trailers: bytes) -> None:
        """Ends the answer."""
        if self._chunked:
            self.connection.write(b"0\r\n" + trailers + b"\r\n")
        elif self._remaining > 0 and not self.switched:
            return self._broken("the answer ended before its body was complete")
        return self._finish()

    def on_reset(self, reason: str) -> None:
        """The backend gave up: an error answer while that is possible, else only closing is honest."""
        if self.answered:
            return self._broken(reason)
        return self.answer(answers.unavailable(reason))

    def pause_sending(self) -> None:
        """The backend takes no more of the body."""
        self.connection.pause_reading(self)

    def resume_sending(self) -> None:
        """It does again."""
        self.connection.resume_reading(self)

    # from the connection and the dispatcher

    def answer(self, answer: answers.Answer) -> None:
        """Answers without a backend."""
        if self.done:
            return
        self._drop_upstream()
        if self.answered:
            return self._broken("refused")
        body = b"" if self.method == b"HEAD" else answer.body
        self.answered = True
        self.status = answer.status
        self.bytes_out = len(body)
        self.close |= bool(self.upgrade)
        closing = b"connection: close\r\n" if self.close else b""
        size = b"content-length: %d\r\n" % len(answer.body)
        self.connection.write(
            b"".join((http1.status_line(answer.status), answer.lines, size, closing, b"\r\n", body))
        )
        return self._finish()

    def abandon(self) -> None:
        """The client is gone, or its right to this exchange."""
        if not self.done:
            self.done = True
            self._drop_upstream()
            self.connection.dispatcher.finished(self)

    def _on_informational(self, status: int, lines: bytes) -> None:
        if status == 101 and self.upgrade and self.upstream is not None:
            self.answered = self.switched = self.close = True
            self.status = 101
            switch = b"connection: Upgrade\r\nupgrade: " + self.upgrade + b"\r\n"
            self.connection.write(b"".join((http1.status_line(101), switch, lines, b"\r\n")))
            self._pass_on(self.upstream)
        elif status != 101 and not self.old:
            self.connection.write(b"".join((http1.status_line(status), lines, b"\r\n")))

    def _framing(self, status: int, length: int) -> bytes:
        if self.upgrade:
            self.close = True
        if self._bodyless or status in {204, 304}:
            self._bodyless = True
            return b"content-length: %d\r\n" % length if length >= 0 and status != 204 else b""
        if length >= 0:
            self._remaining = length
            return b"content-length: %d\r\n" % length
        if self.old:
            self.close = True
            return b""
        self._chunked = True
        return b"transfer-encoding: chunked\r\n"

    def _count(self, size: int) -> None:
        self.bytes_out += size
        if self._remaining >= 0:
            self._remaining -= size
            if self._remaining < 0:
                raise ProtocolError("the answer is longer than announced")
        elif self._bodyless:
            raise ProtocolError("the answer has a body where none may be")

    def _broken(self, reason: str) -> None:
        self.close = True
        self.connection.abort(reason)

    def _finish(self) -> None:
        self.done = True
        self.upstream = None
        self.connection.dispatcher.finished(self)
        self.connection.exchange_done(self)

    def _drop_upstream(self) -> None:
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.reset()


class ProtocolError(Exception):
    """A backend's answer contradicts its own framing."""
