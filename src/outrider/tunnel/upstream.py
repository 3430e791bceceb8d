"""One kept-alive HTTP/1.1 connection to a server, as a protocol: one request at a time, callbacks only."""

import asyncio
from typing import TYPE_CHECKING

import httptools

from outrider.kit import http1
from outrider.kit.plain import PlainHead, plain_head
from outrider.kit.transports import resume_reading
from outrider.tunnel.exchange import Responder, Upstream
from outrider.tunnel.frames import Request

if TYPE_CHECKING:
    from outrider.tunnel.pool import UpstreamPool

MAX_SILENCE = http1.MAX_HEAD + 256 * 1024
"""Bytes of an answer that may come in a row without being body: a head and what one read may hold beside it."""
CLOSE_GRACE = 10.0
"""Seconds that a server has to take what was written before a closed connection is cut."""

UNAUTHORIZED = 401
_NOTHING = Request(b"")


class UpstreamConnection:
    """A connection of a pool, an asyncio.Protocol in shape; while a request runs on it, that request's Upstream.

    Responses are parsed strictly, plain ones at once and all others by llhttp, and handed on as decoded parts:
    status, length, end-to-end lines, body.
    When a kept connection turns out to be dead, or its credential stale, before anything of a repeatable request
    was answered, the request is run once more and this object passes its calls on.

    What is written for a request is exactly as long as its head announced: nobody can make the server take the end
    of one request for the beginning of the next.
    """

    __slots__ = (
        "_body",
        "_chunked",
        "_claim",
        "_done",
        "_ended",
        "_final",
        "_fresh",
        "_head",
        "_headed",
        "_is_head",
        "_keep",
        "_left",
        "_length",
        "_lines",
        "_paused",
        "_plain",
        "_pool",
        "_raw",
        "_request",
        "_retry",
        "_sent",
        "_silent",
        "_successor",
        "_trailers",
        "_transport",
        "_used",
        "idle_since",
        "parser",
        "responder",
    )

    def __init__(self, pool: "UpstreamPool") -> None:
        self.responder: Responder | None = None
        self.idle_since = 0.0
        self.parser = httptools.HttpResponseParser(self)
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._successor: Upstream | None = None
        self._request = _NOTHING
        self._claim = b""
        self._used = False
        self._final = False
        self._begin()
        self.on_message_begin()

    def _begin(self) -> None:
        request = self._request
        self._headed = False
        self._fresh = True
        self._plain = 0
        self._silent = 0
        self._left = request.length
        self._sent = request.length == 0 and not request.upgrade
        self._is_head = request.head.startswith(b"HEAD ")
        self._done = self._raw = self._keep = self._paused = self._retry = False

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is up."""
        self._transport = transport  # type: ignore[assignment]
        self._pool.opened(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of the response."""
        responder = self.responder
        if responder is None:
            return self.abort()  # nobody asked: the server and we disagree about where a response ends
        if self._raw:
            return responder.on_data(data)
        if self._fresh:
            self._fresh = False
            plain = None if self._is_head or self._request.upgrade else plain_head(data)
            if plain is not None and plain[0] != UNAUTHORIZED:
                return self._on_plain_head(responder, plain, data)
        elif self._plain:
            return self._on_plain_body(responder, data)
        return self._on_parsed(responder, data)

    def _on_parsed(self, responder: Responder, data: bytes) -> None:
        self._silent += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as switch:
            self._body.append(data[switch.args[0] :])
        except (httptools.HttpParserError, httptools.HttpParserCallbackError, ValueError):
            return self._fail("the server's answer is not valid HTTP")
        if self._silent > MAX_SILENCE:
            return self._fail("the head or the trailers of the server's answer are too large")
        return self._deliver(responder) if self.responder is responder else None

    def _on_plain_head(self, responder: Responder, plain: PlainHead, data: bytes) -> None:
        status, length, lines, start = plain
        body = data[start:]
        self._headed = self._keep = True
        self._plain = length - len(body)
        if self._plain < 0:
            return self._fail("the server's answer is longer than its head says")
        last = self._plain == 0
        if last:
            self._over()
        return responder.on_head(status, length, lines, body, last)

    def _on_plain_body(self, responder: Responder, data: bytes) -> None:
        self._plain -= len(data)
        if self._plain < 0:
            return self._fail("the server's answer is longer than its head says")
        if self._plain:
            return responder.on_data(data)
        self._over()
        responder.on_data(data)
        return responder.on_end(b"")

    def eof_received(self) -> bool:
        """The server closes; a body that ends with the connection is complete now."""
        responder = self.responder
        if responder is None:
            self._pool.lost(self)  # before anybody takes it for a live one
        elif self._ends_with_connection():
            self._done = True
            self._deliver(responder)
        return False

    def _ends_with_connection(self) -> bool:
        delimited = self._plain or self._raw or self._chunked or self._length >= 0
        return self._headed and not self._done and not delimited

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._transport = None
        self._pool.lost(self)
        responder, self.responder = self.responder, None
        if responder is None:
            return
        if self._raw:
            return responder.on_end(b"")
        if self._used and not self._headed and self._request.repeatable:
            return self._again(responder, fresh=True)
        return responder.on_reset("the connection to the server broke off")

    def pause_writing(self) -> None:
        """The server takes no more."""
        if self.responder is not None:
            self.responder.pause_sending()

    def resume_writing(self) -> None:
        """It does again."""
        if self.responder is not None:
            self.responder.resume_sending()

    # Upstream

    def start(
        self, request: Request, claim: bytes, block: bytes, responder: Responder, *, final: bool = False
    ) -> None:
        """Sends a request's head; `block` is its credential. A `final` attempt is not repeated whatever comes."""
        self.responder = responder
        self._request = request
        self._claim = claim
        self._final = final
        self._begin()
        if request.upgrade:
            framing = b"connection: Upgrade\r\nupgrade: " + request.upgrade + b"\r\n"
        else:
            framing = http1.request_framing(request.length)
        if self._transport is None:
            return self.connection_lost(None)
        return self._transport.write(b"".join((request.head, self._pool.host_line, block, framing, b"\r\n")))

    def send(self, data: bytes | memoryview) -> None:
        """Passes on bytes of the request's body."""
        if self._transport is None or self.responder is None or not data:
            return
        if self._raw:
            return self._transport.write(data)
        if self._request.length < 0:
            return self._transport.write(http1.chunk(data))
        self._left -= len(data)
        if self._left < 0:
            return self._fail("the request's body is longer than its head says")
        return self._transport.write(data)

    def finish(self) -> None:
        """The request's body is complete. In raw mode the client has closed."""
        if self._transport is None or self.responder is None:
            return
        if self._raw:
            self._close()
        elif self._left > 0:
            self._fail("the request's body is shorter than its head says")
        elif self._request.length < 0:
            self._transport.write(http1.LAST_CHUNK)
        self._sent = True

    def reset(self) -> None:
        """Nobody waits any more: the connection cannot be used again."""
        if self._successor is not None:
            return self._successor.reset()
        if self.responder is not None:
            self.responder = None
            self.abort()
        return None

    def pause(self) -> None:
        """Stops reading, while a request runs."""
        if self._successor is not None:
            return self._successor.pause()
        if self._transport is not None and self.responder is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        return None

    def resume(self) -> None:
        """Reads again."""
        if self._successor is not None:
            return self._successor.resume()
        if self._transport is not None and self._paused:
            self._paused = False
            resume_reading(self._transport)
        return None

    # for the pool

    @property
    def alive(self) -> bool:
        """Whether it is connected and not about to close."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def congested(self) -> bool:
        """Whether the responder was asked to hold back, and will be told when it may go on."""
        transport = self._transport
        return (
            transport is not None
            and transport.get_write_buffer_size() > transport.get_write_buffer_limits()[1]
        )

    def close(self) -> None:
        """Closes an idle connection."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Drops the connection."""
        if self._transport is not None:
            self._transport.abort()

    # llhttp's callbacks

    def on_message_begin(self) -> None:
        """Another message; after a complete response there must be none."""
        if self._done:
            raise ValueError("more than one answer")
        self._head: tuple[int, int, bytes] | None = None
        self._lines: list[bytes] = []
        self._trailers: list[bytes] = []
        self._body: list[bytes] = []
        self._ended: set[bytes] = set()
        self._length = -1
        self._chunked = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header line, or a trailer when the body has come."""
        lower = name.lower()
        if lower in http1.HOP_BY_HOP:
            self._on_hop(lower, value.lower())
        elif self._headed:
            if lower != b"content-length":
                self._trailers.append(b"%b: %b\r\n" % (name, value))
        elif lower == b"content-length":
            self._length = int(value)
        else:
            self._lines.append(b"%b: %b\r\n" % (name, value))

    def _on_hop(self, name: bytes, value: bytes) -> None:
        if name == b"transfer-encoding":
            if value != b"chunked":
                raise ValueError("no transfer coding but chunked is understood")
            self._chunked = True
        elif name == b"connection":
            self._ended |= http1.named_in_connection(value)

    def on_headers_complete(self) -> None:
        """The head is complete."""
        status = self.parser.get_status_code()
        gathered, self._lines = self._lines, []
        lines = b"".join(http1.without(gathered, self._ended) if self._ended else gathered)
        if len(lines) > http1.MAX_HEAD or status < 100:
            raise ValueError("head is too large, or has no valid status")
        if status < 200 and status != 101:
            return self._on_informational(status, lines)
        if status == 101 and not self._request.upgrade:
            raise ValueError("switches protocols though nobody asked")
        self._silent = 0
        self._headed = True
        self._raw = status == 101
        self._head = (status, self._length, lines)
        if status == 401 and self._pool.credentials.rejected(self._claim) and not self._final:
            self._retry = True
        if self._is_head:
            self._done = True
            self._keep = self.parser.should_keep_alive()
        return None

    def _on_informational(self, status: int, lines: bytes) -> None:
        if self.responder is not None:
            self.responder.on_head(status, -1, lines, b"", False)

    def on_body(self, data: bytes) -> None:
        """Bytes of the body, without their chunks' framing."""
        self._silent = 0
        self._body.append(data)

    def on_message_complete(self) -> None:
        """The response is complete (an informational one, too)."""
        if self._headed and not self._raw:
            self._done = True
            self._keep = self.parser.should_keep_alive()

    # inside

    def _deliver(self, responder: Responder) -> None:
        if self._retry:
            return self._retry_when_done(responder)
        body = self._body
        data = body[0] if len(body) == 1 else b"".join(body)
        if body:
            self._body = []
        done = self._done and not self._raw
        trailers = b"".join(self._trailers) if self._trailers else b""
        head, self._head = self._head, None
        if done:
            self._over()
        if head is not None:
            last = done and not trailers
            responder.on_head(*head, data, last)
            if last:
                return None
        elif data:
            responder.on_data(data)
        if done:
            responder.on_end(trailers)
        return None

    def _retry_when_done(self, responder: Responder) -> None:
        self._body = []
        if not self._done:
            return None
        self._keep = False  # this object will stand for the second attempt
        self._over()
        if self._request.repeatable:
            return self._again(responder, fresh=False)
        reason = "the credential for you was refused and is being renewed; try again"
        return responder.on_reset(reason, refused=True)

    def _over(self) -> None:
        self.responder = None
        if self._paused:
            self.resume()
        if self._is_head:
            self.parser = httptools.HttpResponseParser(self)
        if self._keep and self._sent:
            self._used = True
            self._pool.release(self)
        else:
            self._close()

    def _close(self) -> None:
        transport = self._transport
        if transport is not None and not transport.is_closing():
            self.resume()
            asyncio.get_running_loop().call_later(CLOSE_GRACE, transport.abort)
            transport.close()

    def _again(self, responder: Responder, *, fresh: bool) -> None:
        self._successor = self._pool.open_later(
            self._request, self._claim, responder, fresh=fresh, final=True
        )

    def _fail(self, reason: str) -> None:
        responder, self.responder = self.responder, None
        self.abort()
        if responder is not None:
            responder.on_reset(reason)
