"""A client's connection: HTTP/1.1 in, exchanges out, one after the other (RFC 9112).

llhttp parses, in its strict mode; what it lets pass and a proxy must not is refused here: more than one Host, other
versions than 1.0 and 1.1, transfer codings other than chunked, absolute or fragmentary targets, heads that are
too large. Ambiguous framing never reaches a backend, since a backend only gets decoded parts.
"""

import asyncio
from collections import deque
from typing import Protocol

import httptools

from outrider.gateway import answers
from outrider.gateway.exchange import Exchange, ProtocolError
from outrider.kit import http1

MAX_PIPELINED = 16
"""Requests that may wait behind one that runs, on one connection."""
MAX_DISCARDED = 4 << 20
"""Bytes of an unwanted body that are read so that its sender gets to read the early answer."""
LINGER = 5.0
"""Seconds that the sender of an unwanted body has to finish it."""
COOKIE_NAME = b"R_SESS="

_TUNNELLED = frozenset({b"websocket", b"spdy/3.1"})


class Dispatcher(Protocol):
    """Where exchanges are sent, and told of."""

    def start(self, exchange: Exchange) -> None:
        """Answers an exchange, now or later."""

    def finished(self, exchange: Exchange) -> None:
        """An exchange is over."""

    def connected(self, connection: "ClientConnection") -> None:
        """A connection has been made."""

    def disconnected(self, connection: "ClientConnection") -> None:
        """A connection is gone."""


class _Refused(Exception):
    """The request must not be served; the connection ends after the answer."""

    def __init__(self, answer: answers.Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class ClientConnection(asyncio.Protocol):
    """The server's side of one client connection.

    `since` is the loop's time at which it last fell idle or began to receive a head; the listener's sweeper closes
    connections that stay idle or that never complete a head.
    """

    __slots__ = (
        "_discarded",
        "_exchange",
        "_head_bytes",
        "_held",
        "_host_count",
        "_in_head",
        "_lines",
        "_loop",
        "_parser",
        "_parsing",
        "_queue",
        "_slow",
        "_special",
        "_target",
        "_transport",
        "dispatcher",
        "forwarded_line",
        "remote",
        "scheme",
        "since",
    )

    def __init__(self, dispatcher: Dispatcher, *, scheme: str) -> None:
        self.dispatcher = dispatcher
        self.scheme = scheme
        self.remote = ""
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[Exchange] = deque()
        self._exchange: Exchange | None = None
        self._parsing: Exchange | None = None
        self._held: set[object] = set()
        self._slow = False
        self._discarded = 0
        self._head_bytes = 0
        self._in_head = True
        self.forwarded_line = b""
        self.since = self._loop.time()
        self.on_message_begin()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected (and shaken hands)."""
        self._transport = transport  # type: ignore[assignment]
        peer = transport.get_extra_info("peername")
        self.remote = peer[0] if peer else ""
        self.forwarded_line = b"x-forwarded-for: " + self.remote.encode("ascii", "replace") + b"\r\n"
        transport.set_write_buffer_limits(high=256 * 1024)  # type: ignore[attr-defined]
        self.dispatcher.connected(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of requests, or raw bytes of an upgraded exchange."""
        exchange = self._exchange
        if exchange is not None and exchange.switched:
            return exchange.receive(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > http1.MAX_HEAD + 256 * 1024:
                return self.refuse(answers.status(431, "the request's head is too large"))
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgraded(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self.refuse(cause.answer if isinstance(cause, _Refused) else answers.status(400, "bad request"))
        except httptools.HttpParserError as error:
            self.refuse(answers.status(400, f"the request is not valid HTTP/1.1: {error}"))
        return None

    def eof_received(self) -> bool:
        """The client sends no more; kept open only for an upgraded exchange's other half."""
        if self._exchange is not None and self._exchange.switched:
            self._exchange.receive_end()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: so is whoever works for it."""
        self._transport = None
        for exchange in (self._exchange, *self._queue):
            if exchange is not None:
                exchange.abandon()
        self._exchange = self._parsing = None
        self._queue.clear()
        self.dispatcher.disconnected(self)

    def pause_writing(self) -> None:
        """The client reads slowly."""
        self._slow = True
        if self._exchange is not None and self._exchange.upstream is not None:
            self._exchange.upstream.pause()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._slow = False
        if self._exchange is not None and self._exchange.upstream is not None:
            self._exchange.upstream.resume()

    # llhttp's callbacks

    def on_message_begin(self) -> None:
        """A request begins."""
        self._target = b""
        self._lines: list[bytes] = []
        self._special: dict[bytes, bytes] = {}
        self._host_count = 0

    def on_url(self, url: bytes) -> None:
        """Part of the request target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header line; trailers of a body are dropped, as RFC 9110 §6.5.1 allows."""
        if not self._in_head:
            return
        lower = name.lower()
        if lower in _SPECIAL or lower.startswith(_OWN):
            self._on_special(lower, value)
        else:
            self._lines.append(b"%b: %b\r\n" % (name, value))

    def _on_special(self, name: bytes, value: bytes) -> None:
        special = self._special
        if name in special:
            if name in _SINGLE:
                raise _Refused(answers.status(400, f"more than one {name.decode()} header"))
            value = special[name] + (b"; " if name == b"cookie" else b", ") + value
        special[name] = value

    def on_headers_complete(self) -> None:
        """A head is complete: an exchange begins, at once or after the one that runs."""
        exchange = self._build()
        self._in_head = False
        self._head_bytes = 0
        self._parsing = exchange
        if self._exchange is None:
            self._begin(exchange)
        elif len(self._queue) < MAX_PIPELINED:
            self._queue.append(exchange)
            self.pause_reading(self)
        else:
            raise _Refused(answers.status(429, "too many requests at once on one connection"))

    def on_body(self, data: bytes) -> None:
        """Bytes of a body."""
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
        self._in_head = True
        self.since = self._loop.time()
        if exchange is None or (exchange.upgrade and not exchange.switched):
            return
        self._parsing = None
        if exchange.length == 0:
            exchange.received = True
        elif exchange.done:
            self._after(exchange)
        else:
            exchange.receive_end()

    # requests

    def _build(self) -> Exchange:
        special = self._special
        lines = self._lines
        exchange = Exchange(self, self._parser.get_method(), self._target, lines)
        version = self._parser.get_http_version()
        if special:
            self._take_special(exchange, special, version)
        if version != "1.1":
            if version != "1.0":
                raise _Refused(answers.status(400, "only HTTP/1.0 and HTTP/1.1 are spoken here"))
            exchange.old = True
            exchange.close = b"keep-alive" not in special.get(b"connection", b"").lower()
        elif not exchange.host:
            raise _Refused(answers.BAD_HOST)
        target = self._target
        if target[:1] != b"/" or b"#" in target:
            raise _Refused(answers.BAD_TARGET)
        return exchange

    def _take_special(self, exchange: Exchange, special: dict[bytes, bytes], version: str) -> None:
        get = special.get
        exchange.host = get(b"host", b"")
        exchange.special = special
        exchange.credential = get(b"authorization", b"")
        cookie = get(b"cookie")
        if cookie:
            self._take_cookie(exchange, cookie)
        if len(special) <= 2 and b"host" in special and (exchange.credential or cookie):
            return  # nothing else but Host and a credential: the common case
        exchange.origin = get(b"origin", b"")
        if b"content-length" in special:
            exchange.length = int(special[b"content-length"])
        coding = get(b"transfer-encoding")
        if coding is not None:
            if coding.lower() != b"chunked" or version != "1.1":
                raise _Refused(answers.status(400, "no transfer coding but chunked is understood"))
            exchange.length = -1
        connection = get(b"connection")
        if connection is not None:
            self._take_connection(exchange, connection.lower(), get(b"upgrade", b""), version)
        exchange.impersonates = any(name.startswith(b"impersonate-") for name in special)
        if exchange.origin:
            exchange.lines.append(b"origin: %b\r\n" % exchange.origin)

    def _take_connection(self, exchange: Exchange, value: bytes, upgrade: bytes, version: str) -> None:
        tokens = {token.strip() for token in value.split(b",")}
        exchange.close = b"close" in tokens
        ended = http1.named_in_connection(value)
        if ended:
            exchange.lines[:] = http1.without(exchange.lines, ended)
        if b"upgrade" in tokens and upgrade.lower() in _TUNNELLED and version == "1.1":
            if exchange.length:
                raise _Refused(answers.status(400, "a request that switches protocols must not have a body"))
            exchange.upgrade = upgrade

    def _take_cookie(self, exchange: Exchange, cookie: bytes) -> None:
        exchange.cookie = cookie
        if exchange.credential:
            return
        for part in cookie.split(b";"):
            name = part.strip()
            if name.startswith(COOKIE_NAME):
                exchange.credential = b"Bearer " + name[len(COOKIE_NAME) :].strip(b'"')
                exchange.from_cookie = True
                return

    def _begin(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.dispatcher.start(exchange)
        if self._slow and exchange.upstream is not None:
            exchange.upstream.pause()

    def _upgraded(self, rest: bytes) -> None:
        exchange = self._parsing
        self._parsing = None
        self._parser = httptools.HttpRequestParser(self)
        if exchange is not None and exchange.upgrade:
            if rest:
                exchange.receive(rest)
        elif exchange is not None:
            exchange.received = True
            if rest:
                self.data_received(rest)

    def refuse(self, answer: answers.Answer) -> None:
        """Answers a request that cannot be served, after those before it, and ends the connection."""
        self._parser = httptools.HttpRequestParser(self)
        self._in_head = True
        if self._exchange is not None:
            return self.abort("invalid request while another one runs")
        exchange = Exchange(self, b"GET", self._target or b"/", [])
        exchange.close = True
        self._exchange = exchange
        return exchange.answer(answer)

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
                self._transport.resume_reading()

    def exchange_done(self, exchange: Exchange) -> None:
        """An answer is complete: what comes next?"""
        self.resume_reading(exchange)
        if exchange.received or exchange.length == 0:
            self._after(exchange)
        else:
            self._loop.call_later(LINGER, self._give_up, exchange)

    def abort(self, reason: str) -> None:
        """Cuts the connection: the client must not take half an answer for a whole one."""
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Ends the connection after what was written."""
        if self._transport is not None:
            self._transport.close()

    @property
    def idle(self) -> bool:
        """Whether no exchange runs."""
        return self._exchange is None

    @property
    def receiving_head(self) -> bool:
        """Whether part of a head has come."""
        return self._head_bytes > 0

    def release(self) -> asyncio.Transport | None:
        """Gives the transport away (to a tunnel); this object hears no more of it."""
        transport, self._transport = self._transport, None
        self._exchange = self._parsing = None
        self.dispatcher.disconnected(self)
        return transport

    def _after(self, exchange: Exchange) -> None:
        if exchange is not self._exchange:
            return
        self._exchange = None
        self.since = self._loop.time()
        if exchange.close:
            return self.close()
        if self._queue:
            following = self._queue.popleft()
            if not self._queue:
                self.resume_reading(self)
            self._begin(following)
        return None

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > MAX_DISCARDED:
            self.close()

    def _give_up(self, exchange: Exchange) -> None:
        if exchange is self._exchange:
            self.close()


_SPECIAL = http1.HOP_BY_HOP | {b"host", b"authorization", b"cookie", b"content-length", b"origin"}
_SINGLE = frozenset(
    {b"host", b"authorization", b"content-length", b"transfer-encoding", b"upgrade", b"origin"}
)
_OWN = (
    b"impersonate-",
    b"x-forwarded-",
    b"x-remote-",
    b"x-outrider-",
    b"x-api-tunnel-",
    b"proxy-",
    b"forwarded",
)

__all__ = ["ClientConnection", "Dispatcher", "ProtocolError"]
