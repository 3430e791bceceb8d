"""One request of a client's and its answer: the Responder between a client's connection and a backend."""

import time
from typing import TYPE_CHECKING

from outrider.gateway import answers
from outrider.kit import http1
from outrider.tunnel.exchange import Upstream

if TYPE_CHECKING:
    from outrider.gateway.audit_tap import Tap
    from outrider.gateway.connection import ClientConnection
    from outrider.gateway.verdicts import Grant

JOIN = 16 * 1024
"""Body bytes up to which a chunk is copied together with its framing into one write, one TLS record."""

WAITING_BODY = 512 * 1024
"""Body bytes that gather at most while a request waits for its verdict or its turn; then reading pauses."""

WAITING = object()
"""Holds the client's reading back while a body gathers; apart from the hold of a backend that takes no more."""

_REPEATABLE = frozenset({b"GET", b"HEAD", b"OPTIONS"})


class Exchange:
    """A parsed request, and the state of its answer.

    `uri` is the request target as sent, `target` what a backend sees of it; `lines` are the end-to-end header
    lines without any credential; `length` is the body's size, -1 for chunks; `credential` is the raw Authorization
    value or one made of the session cookie. Byte counts are of bodies, both ways.
    """

    # What most exchanges never change stands here once instead of being set on each of them.
    length = 0
    old = False
    close = False
    host = b""
    credential = b""
    cookie = b""
    origin = b""
    upgrade = b""
    from_cookie = False
    impersonates = False
    cluster = ""
    route = ""
    extra = b""
    grant: "Grant | None" = None
    upstream: Upstream | None = None
    tap: "Tap | None" = None
    received = False
    answered = False
    done = False
    switched = False
    status = 0
    bytes_in = 0
    bytes_out = 0
    _chunked = False
    _remaining = -1

    def __init__(
        self,
        connection: "ClientConnection",
        method: bytes,
        target: bytes,
        lines: list[bytes],
        special: dict[bytes, bytes] | None = None,
    ) -> None:
        self.connection = connection
        self.method = method
        self.uri = self.target = target
        self.lines = lines
        self.special = special if special is not None else {}
        self.started = time.monotonic()
        self._body: list[bytes] = []
        self._bodyless = method == b"HEAD"

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
        if self.tap is not None:
            self.tap.on_request(data)
        if self.upstream is not None and (self.switched or not self.upgrade):
            self.upstream.send(data)
        elif not self.done:
            self._body.append(data)
            if self.bytes_in > WAITING_BODY:
                self.connection.pause_reading(WAITING)

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
        if self.connection.slow:
            upstream.pause()
        if self.switched or (self.length and not self.upgrade):
            self._pass_on(upstream)
            if self.received:
                upstream.finish()

    def tap_with(self, tap: "Tap") -> None:
        """Lets a tap see the bodies, and what has gathered of the request's already."""
        self.tap = tap
        for data in self._body:
            tap.on_request(data)

    def take_body(self) -> bytes:
        """What has gathered, for whoever takes the connection over."""
        body, self._body = self._body, []
        return b"".join(body)

    def _pass_on(self, upstream: Upstream) -> None:
        body, self._body = self._body, []
        self.connection.resume_reading(WAITING)
        for data in body:
            upstream.send(data)

    # Responder

    def on_head(self, status: int, length: int, lines: bytes, body: bytes | memoryview, last: bool) -> None:
        """Writes the head, and the body bytes that came with it."""
        if self.done:
            return None
        if status < 200:
            return self._on_informational(status, lines, body, last)
        if self.cluster and b"R_SESS" in lines:
            lines = _without_sessions(lines)
        size = len(body)
        framing = self._framing(status, length)
        if self.answered or not self._fits(size) or (last and self._remaining > 0):
            return self._unsound()
        self.answered = True
        self.status = status
        if self.tap is not None:
            self.tap.on_head(lines, body)
        parts: list[bytes | memoryview] = [http1.status_line(status), lines, self.extra, framing]
        parts.append(self._persistence())
        if size:
            parts += [b"%x\r\n" % size, body, b"\r\n"] if self._chunked else [body]
        if last:
            self.upstream = None  # it is over, and not ours to slow down any more
            if self._chunked:
                parts.append(http1.LAST_CHUNK)
            self.connection.write(b"".join(parts))
            return self._finish()
        return self.connection.write(b"".join(parts))

    def on_data(self, data: bytes | memoryview) -> None:
        """Writes body bytes."""
        if self.done:
            return
        size = len(data)
        if not self.answered or not self._fits(size):
            return self._unsound()
        if self.tap is not None:
            self.tap.on_response(data)
        if not self._chunked:
            self.connection.write(data)
        elif size <= JOIN:
            self.connection.write(b"".join((b"%x\r\n" % size, data, b"\r\n")))
        else:
            self.connection.write_parts([b"%x\r\n" % size, data, b"\r\n"])

    def on_end(self, trailers: bytes) -> None:
        """Ends the answer."""
        if self.done:
            return None
        if not self.answered or self._remaining > 0:
            return self._unsound()
        self.upstream = None
        if self._chunked:
            self.connection.write(b"0\r\n" + trailers + b"\r\n")
        return self._finish()

    def on_reset(self, reason: str, *, refused: bool = False) -> None:
        """The backend gave up: an error answer while that is possible, else only closing is honest.

        Clients repeat whatever is answered with Retry-After; so a request that may have been carried out and must
        not be carried out twice is answered without.
        """
        if self.done:
            return None
        if self.answered:
            return self.cut(reason)
        if refused or self.method in _REPEATABLE:
            return self.answer(answers.unavailable(reason))
        return self.answer(
            answers.status(
                502, f"no answer: {reason}; check whether the request was carried out before repeating it"
            )
        )

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
            return self.cut("refused")
        body = b"" if self.method == b"HEAD" else answer.body
        self.answered = True
        self.status = answer.status
        self.bytes_out = len(body)
        if self.tap is not None:
            self.tap.on_head(answer.lines, body)
        self.close |= bool(self.upgrade)
        size = b"content-length: %d\r\n" % len(answer.body)
        self.connection.write(
            b"".join((http1.status_line(answer.status), answer.lines, size, self._persistence(), body))
        )
        return self._finish()

    def abandon(self) -> None:
        """The client is gone, or its right to this exchange."""
        if self.done:
            return
        self.done = True
        self._body.clear()
        if self.switched and self.received:
            self.upstream = (
                None  # it was told of the end, and what the client said before is still on its way
            )
        self._drop_upstream()
        self.connection.dispatcher.finished(self)

    def cut(self, reason: str) -> None:
        """Ends it, and the connection with it: half an answer must not look like a whole one."""
        if not self.done:
            self.close = True
            self.connection.abort(reason)
            self.abandon()

    def _on_informational(self, status: int, lines: bytes, body: bytes | memoryview, last: bool) -> None:
        if last or self.answered or (status == 101 and not self.upgrade):
            return self._unsound()
        if status == 101:
            return self._switch(lines, body)
        if not self.old:
            self.connection.write(b"".join((http1.status_line(status), lines, b"\r\n")))
        return None

    def _switch(self, lines: bytes, body: bytes | memoryview) -> None:
        self.answered = self.switched = self.close = True
        self._bodyless = False
        self.status = 101
        self.bytes_out += len(body)
        switch = b"connection: Upgrade\r\nupgrade: " + self.upgrade + b"\r\n"
        self.connection.write(b"".join((http1.status_line(101), switch, lines, b"\r\n", body)))
        self.connection.dispatcher.switched(self)
        if self.upstream is not None:
            self._pass_on(self.upstream)

    def _persistence(self) -> bytes:
        """The line that says whether the connection lives on, if it must be said, and the head's end."""
        if self.length and not self.received and self.header(b"expect"):
            self.close = True  # nobody can know whether the body will come yet (RFC 9110 §10.1.1)
        if self.close:
            return b"connection: close\r\n\r\n"
        return b"connection: keep-alive\r\n\r\n" if self.old else b"\r\n"

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

    def _fits(self, size: int) -> bool:
        """Counts body bytes; whether that many may come."""
        self.bytes_out += size
        if self._remaining >= 0:
            self._remaining -= size
            return self._remaining >= 0
        return not (self._bodyless and size)

    def _unsound(self) -> None:
        """The answer contradicts its own framing."""
        if self.answered:
            return self.cut("the answer contradicts its own framing")
        return self.answer(
            answers.status(502, "the answer contradicts its own framing and was not passed on")
        )

    def _finish(self) -> None:
        self.done = True
        self.upstream = None
        self._body.clear()
        self.connection.dispatcher.finished(self)
        self.connection.exchange_done(self)

    def _drop_upstream(self) -> None:
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.reset()


def _without_sessions(lines: bytes) -> bytes:
    """The header lines of a cluster's answer, without cookies that would sign a browser in here as somebody else."""
    return b"".join(
        line
        for line in lines.splitlines(keepends=True)
        if not (line[:11].lower() == b"set-cookie:" and b"R_SESS" in line)
    )
