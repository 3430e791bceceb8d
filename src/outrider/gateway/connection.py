"""A client's connection: HTTP/1.1 in, exchanges out, one after the other (RFC 9112).

llhttp parses, in its strict mode; `heads` judges. Ambiguous framing never reaches a backend, since a backend only gets
decoded parts.
"""

import asyncio
import contextlib
import logging
import socket
import struct
from collections import deque
from typing import Protocol

import httptools

from outrider.gateway import answers
from outrider.gateway.exchange import WAITING, Exchange
from outrider.gateway.heads import (
    FIRST_LINE,
    MAX_LINES,
    OWN,
    SPECIAL,
    Familiar,
    Refused,
    exchange_of,
    familiar_of,
    gather,
)
from outrider.kit import http1
from outrider.kit.transports import resume_reading

MAX_PIPELINED = 16
"""Requests that wait behind the one that runs; what else has come stays unparsed."""
MAX_SILENCE = http1.MAX_HEAD + 256 * 1024
"""Bytes that may come in a row without being body: a head and what one read may hold beside it."""
MAX_DISCARDED = 4 << 20
"""Bytes of an unwanted body that are read so that its sender gets to read the early answer."""
LINGER = 5.0
"""Seconds that the sender of an unwanted body has to finish it."""
REFUSED_LINGER = 1.0
"""Seconds for which the sender of something that is no request may read why it was refused."""

_log = logging.getLogger("outrider.gateway")
_HEAD_END = b"\r\n\r\n"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Dispatcher(Protocol):
    """Where exchanges are sent, and told of."""

    def start(self, exchange: Exchange) -> None:
        """Answers an exchange, now or later."""

    def switched(self, exchange: Exchange) -> None:
        """An exchange has switched protocols."""

    def finished(self, exchange: Exchange) -> None:
        """An exchange is over."""

    def connected(self, connection: "ClientConnection") -> None:
        """A connection has been made."""

    def disconnected(self, connection: "ClientConnection") -> None:
        """A connection is gone."""


class ClientConnection:
    """The server's side of one client connection: an asyncio.Protocol, though not by inheritance.

    `since` is the loop's time at which it last fell idle, began to receive a head or received some of a body; the
    listener's sweeper ends connections on which nothing goes on for too long. `linger` is in seconds.
    """

    __slots__ = (
        "_candidate",
        "_deaf",
        "_discarded",
        "_exchange",
        "_familiar",
        "_held",
        "_in_head",
        "_lines",
        "_linger",
        "_loop",
        "_parser",
        "_parsing",
        "_queue",
        "_raw",
        "_refused",
        "_silent",
        "_special",
        "_stash",
        "_target",
        "_transport",
        "dispatcher",
        "forwarded_line",
        "known_host",
        "receiving_head",
        "remote",
        "scheme",
        "since",
        "slow",
    )

    def __init__(self, dispatcher: Dispatcher, *, scheme: str, linger: float = LINGER) -> None:
        self.dispatcher = dispatcher
        self.scheme = scheme
        self.remote = ""
        self.slow = False
        self.forwarded_line = b""
        self._linger = linger
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[Exchange] = deque()
        self._stash = b""
        self._exchange: Exchange | None = None  # runs
        self._parsing: Exchange | None = None  # is being received
        self._raw: Exchange | None = None  # has asked for the connection
        self._refused: tuple[Exchange, answers.Answer] | None = None
        self._deaf = False  # no more requests are taken
        self._familiar: Familiar | None = None
        self._candidate: Familiar | None = None
        self._held: set[object] = set()
        self.known_host = b""
        self._discarded = 0
        self._silent = 0
        self._in_head = True
        self.on_message_begin()
        self.receiving_head = False

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected (and shaken hands)."""
        self._transport = transport  # type: ignore[assignment]
        peer = transport.get_extra_info("peername")
        self.remote = peer[0] if peer else ""
        self.forwarded_line = b"x-forwarded-for: " + self.remote.encode("ascii", "replace") + b"\r\n"
        transport.set_write_buffer_limits(high=256 * 1024)  # type: ignore[attr-defined]
        _watch_over(transport)
        self.dispatcher.connected(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of requests, or raw bytes of an exchange that switches protocols."""
        raw = self._raw
        if raw is not None:
            return raw.receive(data)
        if self._exchange is None and not self._deaf and data.find(_HEAD_END) == len(data) - 4:
            return self._feed_head(data)  # one whole head and nothing else: the common case
        return self._feed_parts(data)

    def eof_received(self) -> bool:
        """The client sends no more."""
        if self._exchange is not None and self._exchange.switched:
            self._exchange.receive_end()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: so is whoever works for it."""
        self._transport = None
        self._deaf = True
        exchange, self._exchange = self._exchange, None
        self._parsing = self._raw = self._refused = None
        self._stash = b""
        for waiting in self._queue:
            waiting.done = True
        self._queue.clear()
        if exchange is not None:
            exchange.abandon()
        self.dispatcher.disconnected(self)

    def pause_writing(self) -> None:
        """The client reads slowly."""
        self.slow = True
        if self._exchange is not None and self._exchange.upstream is not None:
            self._exchange.upstream.pause()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.slow = False
        if self._exchange is not None and self._exchange.upstream is not None:
            self._exchange.upstream.resume()

    # parsing

    def _feed_head(self, data: bytes) -> None:
        """Parses a whole head; of one with the header lines of the request before, only the first line."""
        if self.receiving_head or self._parsing is not None or not self._in_head:
            return self._feed(data)
        start = data.find(b"\r\n") + 2
        familiar = self._familiar
        if familiar is not None and data[start:] == familiar.block:
            line = FIRST_LINE.match(data)
            if line is not None and line.end() == start and len(data) < MAX_LINES:
                return self._begin_familiar(line[1], line[2], familiar)
        before = self._candidate
        self._feed(data)
        candidate = self._candidate
        # A head may begin with empty lines; then `start` is not where its header lines begin.
        if candidate is not None and candidate is not before and FIRST_LINE.match(data) is not None:
            candidate.block = data[start:]
            self._familiar = candidate
        return None

    def _begin_familiar(self, method: bytes, target: bytes, familiar: Familiar) -> None:
        self.since = self._loop.time()
        exchange = Exchange(self, method, target, list(familiar.lines), familiar.special)
        exchange.host = familiar.host
        exchange.credential = familiar.credential
        if familiar.cookie:
            exchange.cookie = familiar.cookie
            exchange.from_cookie = familiar.from_cookie
        exchange.received = True
        self._begin(exchange)

    def _feed_parts(self, data: bytes) -> None:
        """Parses head by head, so that what need not be parsed yet is not."""
        if self._stash:
            self._stash += data
            return
        at, size = 0, len(data)
        while at < size:
            if self._raw is not None:
                return self._raw.receive(data[at:])
            if self._deaf:
                return self._discard(size - at)
            if len(self._queue) >= MAX_PIPELINED:
                self._stash = data[at:]
                return None
            end = data.find(_HEAD_END, at)
            stop = size if end < 0 else end + 4
            self._feed(data[at:stop] if stop - at < size else data)
            at = stop
        return None

    def _feed(self, data: bytes) -> None:
        self._silent += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._parser = httptools.HttpRequestParser(self)
            rest = data[upgrade.args[0] :]
            if rest:
                self._feed_parts(rest)
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            if not isinstance(cause, Refused):
                _log.error("a request failed", exc_info=cause)
            self.refuse(cause.answer if isinstance(cause, Refused) else answers.status(400, "bad request"))
        except httptools.HttpParserError as error:
            self.refuse(answers.status(400, f"the request is not valid HTTP/1.1: {error}"))
        if self._silent > MAX_SILENCE and not self._deaf:
            self.refuse(answers.status(431, "the request's head is too large"))

    def _unstash(self) -> None:
        stash, self._stash = self._stash, b""
        self._feed_parts(stash)
        self._let_in()

    def _let_in(self) -> None:
        if not self._queue and not self._stash:
            self.resume_reading(self)

    # llhttp's callbacks

    def on_message_begin(self) -> None:
        """A request begins."""
        self._target = b""
        self._lines: list[bytes] = []
        self._special: dict[bytes, bytes] = {}
        self.receiving_head = True
        self.since = self._loop.time()

    def on_url(self, url: bytes) -> None:
        """Part of the request target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header line; trailers of a body are dropped, as RFC 9110 §6.5.1 allows."""
        if not self._in_head:
            return
        lower = name.lower()
        if lower in SPECIAL or lower.startswith(OWN):
            gather(self._special, lower, value)
        else:
            self._lines.append(b"%b: %b\r\n" % (name, value))

    def on_headers_complete(self) -> None:
        """A head is complete: an exchange begins, at once or after the one that runs."""
        self._silent = 0
        self._in_head = self.receiving_head = False
        if self._deaf:
            return
        exchange = exchange_of(self, self._parser, self._target, self._lines, self._special)
        self._parsing = exchange
        self._candidate = familiar_of(exchange)
        if exchange.upgrade:
            self._raw = exchange
        if self._exchange is None:
            self._begin(exchange)
        else:
            self._queue.append(exchange)
            self.pause_reading(self)

    def on_body(self, data: bytes) -> None:
        """Bytes of a body."""
        self._silent = 0
        self.since = self._loop.time()
        exchange = self._parsing
        if exchange is None:
            return
        if exchange.done:
            self._discard(len(data))
        else:
            exchange.receive(data)

    def on_message_complete(self) -> None:
        """A request is complete."""
        exchange = self._parsing
        self._silent = 0
        self._in_head = True
        self._parsing = None
        if exchange is None or exchange.upgrade:
            return
        if exchange.close:
            self._deaf = True
        if exchange.length == 0:
            exchange.received = True
        elif exchange.done:
            exchange.received = True
            self._after(exchange)
        else:
            exchange.receive_end()

    def _begin(self, exchange: Exchange) -> None:
        self._exchange = exchange
        if self._refused is not None and self._refused[0] is exchange:
            return exchange.answer(self._refused[1])
        return self.dispatcher.start(exchange)

    def refuse(self, answer: answers.Answer) -> None:
        """Answers a request that cannot be served, after those before it, and ends the connection."""
        if self._deaf:
            return
        self._deaf = True
        self._parser = httptools.HttpRequestParser(self)
        exchange, self._parsing = self._parsing, None
        if exchange is None:
            exchange = Exchange(self, b"GET", self._target or b"/", [])
            exchange.length = -1  # nobody knows what is still to come
        exchange.close = True
        if exchange.answered:
            if not exchange.done:
                self.abort("the request's body is not valid HTTP")
                exchange.abandon()
            elif exchange is self._exchange:
                self.close()
        elif exchange is self._exchange or self._exchange is None:
            self._exchange = exchange
            exchange.answer(answer)
        else:
            self._refused = exchange, answer
            if exchange not in self._queue:
                self._queue.append(exchange)

    # for exchanges

    def write(self, data: bytes | memoryview) -> None:
        """Writes to the client."""
        if self._transport is not None:
            self._transport.write(data)

    def write_parts(self, parts: list[bytes | memoryview]) -> None:
        """Writes several parts without joining them."""
        if self._transport is not None:
            self._transport.writelines(parts)

    def pause_reading(self, holder: object) -> None:
        """Stops reading from the client until every holder has let go."""
        if self._transport is not None:
            if not self._held:
                self._transport.pause_reading()
            self._held.add(holder)

    def resume_reading(self, holder: object) -> None:
        """Lets go of a hold."""
        if holder in self._held:
            self._held.discard(holder)
            if not self._held and self._transport is not None:
                self.since = self._loop.time()
                resume_reading(self._transport)

    def exchange_done(self, exchange: Exchange) -> None:
        """An answer is complete: what comes next?"""
        if self._held:
            self.resume_reading(exchange)
            self.resume_reading(WAITING)
        if exchange.received or exchange.length == 0:
            self._after(exchange)
        else:
            linger = self._linger if exchange is self._parsing else min(self._linger, REFUSED_LINGER)
            self._loop.call_later(linger, self._give_up, exchange)

    def abort(self, reason: str) -> None:
        """Cuts the connection by a TCP reset: the client must not take half an answer for a whole one."""
        if self._transport is not None:
            end = self._transport.get_extra_info("socket")
            if end is not None:
                with contextlib.suppress(OSError):  # it may be closed already
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._transport.abort()

    def close(self) -> None:
        """Ends the connection after what was written."""
        self._deaf = True
        if self._transport is not None:
            if self._held:
                self._held.clear()
                resume_reading(self._transport)  # else the client's farewell would go unheard
            self._transport.close()

    @property
    def idle(self) -> bool:
        """Whether no exchange runs."""
        return self._exchange is None

    @property
    def closing(self) -> bool:
        """Whether it only waits for the client to take the rest."""
        return self._transport is not None and self._transport.is_closing()

    @property
    def receiving_body(self) -> bool:
        """Whether it is the client's turn to send more of a body."""
        return self._parsing is not None and not self._held

    def release(self) -> tuple[asyncio.Transport | None, bytes]:
        """Gives the transport away (to a tunnel), with the bytes after the head; this object hears no more of it."""
        transport, self._transport = self._transport, None
        exchange, self._exchange = self._exchange, None
        self._parsing = self._raw = None
        self._deaf = True
        self._queue.clear()
        if transport is not None and self._held:
            self._held.clear()
            resume_reading(transport)
        self.dispatcher.disconnected(self)
        return transport, exchange.take_body() if exchange is not None else b""

    def _after(self, exchange: Exchange) -> None:
        if exchange is not self._exchange:
            return
        self._exchange = None
        self._discarded = 0
        self.since = self._loop.time()
        if exchange.close:
            return self.close()
        if self._stash:
            self._loop.call_soon(self._unstash)
        if self._queue:
            following = self._queue.popleft()
            self._let_in()
            self._begin(following)
        return None

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > MAX_DISCARDED:
            if self._exchange is not None and not self._exchange.done:
                return self.abort("the client sends what it must not")
            return self.close()
        return None

    def _give_up(self, exchange: Exchange) -> None:
        if exchange is self._exchange:
            self.close()


def _watch_over(transport: asyncio.BaseTransport) -> None:
    """Lets the kernel notice clients that vanish without a word, within two minutes."""
    end = transport.get_extra_info("socket")
    if end is None or end.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    with contextlib.suppress(OSError):  # it may be gone again already
        end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)


__all__ = ["ClientConnection", "Dispatcher"]
