"""One kept-alive HTTP/1.1 client connection, one exchange at a time."""

import asyncio
from collections import deque
from typing import cast

import httptools

_HIGH_WATER = 1 << 20
_MAX_HEAD = 256 << 10


class ConnectionBroken(Exception):
    """The connection ended before the answer did; ``answered`` says whether any of it had arrived."""

    def __init__(self, message: str, *, answered: bool) -> None:
        super().__init__(message)
        self.answered = answered


class Connection(asyncio.Protocol):
    """A protocol that writes one request and hands out its response: the head, then chunks of the body.

    Reading pauses while more than 1 MiB waits for the reader, so that a slow reader stops the server instead
    of filling memory.
    """

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._head_size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._error: ConnectionBroken | None = None
        self._paused = False
        self._is_head_request = False
        self._head_done = False
        self._complete = True
        self._reusable = True
        self._stray = False
        self.used = 0
        self.headers: dict[str, str] = {}
        self.status = 0

    # Towards the pool.

    @property
    def is_idle(self) -> bool:
        """Whether another request may be written to it; not while part of an answer was left unread."""
        whole = self._complete and not self._chunks
        return whole and self._reusable and self._error is None and not self._closing

    @property
    def _closing(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()

    def begin(self, data: bytes, *, is_head_request: bool) -> None:
        """Write a request; raises ConnectionBroken when the connection is gone already."""
        if self._error is not None or self._closing:
            raise self._error or ConnectionBroken("the connection is closed", answered=False)
        self.used += 1
        self._is_head_request = is_head_request
        self._head_done = self._complete = False
        self._head_size = 0
        self.headers = {}
        self.status = 0
        cast(asyncio.Transport, self._transport).write(data)

    async def read_head(self) -> None:
        """Wait for ``status`` and ``headers``; raises ConnectionBroken."""
        while not self._head_done:
            await self._wait()

    async def read_chunk(self) -> bytes:
        """Return the next part of the body, ``b""`` at its end; raises ConnectionBroken."""
        while not self._chunks:
            if self._complete:
                return b""
            await self._wait()
        chunk = self._chunks.popleft()
        self._buffered -= len(chunk)
        if self._paused and self._buffered < _HIGH_WATER // 2 and not self._closing:
            self._paused = False
            cast(asyncio.Transport, self._transport).resume_reading()
        return chunk

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, message: str) -> None:
        if self._error is None:
            self._error = ConnectionBroken(message, answered=self._head_size > 0)
        self._wake()
        self.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        if self._complete:
            # Bytes that nobody asked for: the server is out of step, or is saying goodbye.
            self._fail("the server sent data without a request")
            return
        if not self._head_done:
            self._head_size += len(data)
            if self._head_size > _MAX_HEAD + len(data):
                self._fail("the response head is larger than 256 KiB")
                return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail("the server switched protocols without being asked")
        except httptools.HttpParserError as error:
            self._fail(f"the answer is not HTTP/1.1: {error}")
        if self._stray:
            # The answer before is whole and stays valid; nothing that follows can be trusted.
            self._reusable = False
            self.abort()
        if self._buffered > _HIGH_WATER and not self._paused and not self._closing:
            self._paused = True
            cast(asyncio.Transport, self._transport).pause_reading()

    def eof_received(self) -> bool:
        """The server will send no more; closing follows."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """End the exchange under way."""
        if self._error is None:
            # A body without a length ends with the connection (RFC 9112 §6.3).
            if self._head_done and not self._complete and error is None and self._reads_to_end():
                self._reusable = False
                self._complete = True
            else:
                reason = f"the connection was lost: {error}" if error else "the server closed the connection"
                self._error = ConnectionBroken(reason, answered=self._head_size > 0)
        self._wake()

    def _reads_to_end(self) -> bool:
        return "content-length" not in self.headers and "transfer-encoding" not in self.headers

    # httptools' callbacks

    def on_message_begin(self) -> None:
        """The start of an answer; one that comes after the end of ours belongs to no request."""
        self._stray = self._stray or self._complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header line; repeated ones are joined as RFC 9110 §5.3 says."""
        if self._stray:
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        """The head is there, unless it is an interim one."""
        if self._stray:
            return
        self.status = self._parser.get_status_code()
        if self.status < 200:
            return
        self._head_done = True
        self._reusable = self._parser.should_keep_alive()
        if self._is_head_request:
            # The parser cannot know that no body follows; the connection is not used again.
            self._reusable = False
            self._complete = True
        self._wake()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if not self._complete and not self._stray:
            self._chunks.append(body)
            self._buffered += len(body)
            self._wake()

    def on_message_complete(self) -> None:
        """The end of the answer, or of an interim head, which is dropped."""
        if self._stray:
            return
        if self.status < 200:
            self.headers = {}
            return
        self._complete = True
        self._wake()
