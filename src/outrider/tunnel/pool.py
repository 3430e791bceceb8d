"""A backend over pooled, kept-alive HTTP/1.1 connections to one server.

The agent reaches its API server through one; the gateway reaches the management cluster's API server and the
control process through two more. They differ in how they connect and in where credentials come from.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from outrider.tunnel.exchange import CredentialError, CredentialSource, Responder, Upstream
from outrider.tunnel.frames import Request
from outrider.tunnel.upstream import UpstreamConnection

Connect = Callable[[Callable[[], UpstreamConnection]], Awaitable[UpstreamConnection]]
"""Opens a connection with the given protocol factory and returns the protocol."""

CLOSING = 5.0
"""Seconds that `UpstreamPool.close` waits for its connections to be gone."""

_log = logging.getLogger("outrider.tunnel")


class PoolError(Exception):
    """No connection could be had; the text may be shown to the user."""


class UpstreamPool:
    """Runs requests on connections that it keeps.

    `host` is the Host header that the server expects. At most `limit` connections are open at once, of which
    `spare` are kept when idle, for at most `idle_seconds`.
    """

    def __init__(
        self,
        connect: Connect,
        credentials: CredentialSource,
        *,
        host: str,
        limit: int = 4096,
        spare: int = 64,
        idle_seconds: float = 60.0,
        connect_timeout: float = 10.0,
    ) -> None:
        self.host_line = b"host: " + host.encode("ascii") + b"\r\n"
        self.credentials = credentials
        self._connect = connect
        self._limit = limit
        self._spare = spare
        self._idle_seconds = idle_seconds
        self._timeout = connect_timeout
        self._loop = asyncio.get_running_loop()
        self._idle: list[UpstreamConnection] = []
        self._open: set[UpstreamConnection] = set()
        self._connecting = 0
        self._calls: set[asyncio.Task[None]] = set()

    def open(self, request: Request, claim: bytes, responder: Responder) -> Upstream:
        """Runs a request at once on an idle connection, or as soon as there is one."""
        block = self.credentials.header_block(claim)
        if block is not None and self._idle:
            connection = self._idle.pop()
            connection.start(request, claim, block, responder)
            return connection
        return self.open_later(request, claim, responder, fresh=False)

    def open_later(
        self, request: Request, claim: bytes, responder: Responder, *, fresh: bool, final: bool = False
    ) -> Upstream:
        """Runs a request when its credential and a connection are there.

        `fresh` asks for a new connection; a `final` attempt is not repeated.
        """
        call = PendingCall(self, request, claim, responder, fresh=fresh, final=final)
        task = self._loop.create_task(call.run())
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return call

    async def acquire(self, fresh: bool) -> UpstreamConnection:
        """An idle connection or a new one; raises PoolError."""
        if self._idle and not fresh:
            return self._idle.pop()
        if len(self._open) + self._connecting >= self._limit:
            raise PoolError("too many requests at once")
        self._connecting += 1
        try:
            async with asyncio.timeout(self._timeout):
                return await self._connect(lambda: UpstreamConnection(self))
        except (OSError, TimeoutError) as error:
            raise PoolError(f"cannot connect to the API server: {str(error) or 'timed out'}") from error
        finally:
            self._connecting -= 1

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._open) + self._connecting

    # called by connections

    def opened(self, connection: UpstreamConnection) -> None:
        """A connection has been made."""
        self._open.add(connection)

    def release(self, connection: UpstreamConnection) -> None:
        """A connection is idle again."""
        if not connection.alive:
            return None
        if len(self._idle) >= self._spare:
            return connection.close()
        connection.idle_since = self._loop.time()
        return self._idle.append(connection)

    def lost(self, connection: UpstreamConnection) -> None:
        """A connection is gone."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def sweep(self) -> None:
        """Closes connections that nobody has used for long; the owner calls it now and then."""
        oldest = self._loop.time() - self._idle_seconds
        for connection in [c for c in self._idle if c.idle_since < oldest]:
            self._idle.remove(connection)
            connection.close()

    async def close(self) -> None:
        """Drops every connection and every request."""
        for task in list(self._calls):
            task.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        for connection in list(self._open):
            connection.abort()
        deadline = self._loop.time() + CLOSING
        while self._open and self._loop.time() < deadline:  # noqa: ASYNC110  they end in callbacks
            await asyncio.sleep(0.001)


BUFFER = 1 << 20
"""Body bytes that a request may gather while it waits for its connection; flow control keeps it below."""

ENOUGH = 256 << 10
"""Body bytes after which a request that waits for its connection asks for no more."""


class PendingCall:
    """A request that waits for its credential or its connection; later it only passes calls on."""

    def __init__(
        self,
        pool: UpstreamPool,
        request: Request,
        claim: bytes,
        responder: Responder,
        *,
        fresh: bool,
        final: bool,
    ) -> None:
        self._pool = pool
        self._request = request
        self._claim = claim
        self._responder = responder
        self._fresh = fresh
        self._final = final
        self._body: list[bytes] = []
        self._size = 0
        self._finished = False
        self._paused = False
        self._holding = False
        self._gone = False
        self._target: UpstreamConnection | None = None

    async def run(self) -> None:
        """Gets what the request needs and starts it, or tells the responder why not."""
        try:
            credentials = self._pool.credentials
            block = credentials.header_block(self._claim) or await credentials.prepare(self._claim)
            connection = await self._pool.acquire(self._fresh)
        except (CredentialError, PoolError) as error:
            return self._fail(str(error))
        except asyncio.CancelledError:
            self._fail("stopping")
            raise
        except Exception:
            _log.exception("a request could not be started")
            return self._fail("internal error")
        if self._gone:
            return self._pool.release(connection)
        return self._start(connection, block)

    def _start(self, connection: UpstreamConnection, block: bytes) -> None:
        self._target = connection
        connection.start(self._request, self._claim, block, self._responder, final=self._final)
        if self._paused:
            connection.pause()
        for data in self._body:
            connection.send(data)
        self._body.clear()
        if self._holding and not connection.congested:
            self._responder.resume_sending()
        if self._finished:
            connection.finish()

    def _fail(self, reason: str) -> None:
        if not self._gone:
            self._gone = True
            self._body.clear()
            self._responder.on_reset(reason, refused=True)

    def send(self, data: bytes | memoryview) -> None:
        """Keeps body bytes until the connection is there."""
        if self._target is not None:
            return self._target.send(data)
        if self._gone:
            return None
        self._size += len(data)
        if self._size > BUFFER:
            return self._fail("the request's body came faster than it was asked for")
        self._body.append(bytes(data))
        if self._size > ENOUGH and not self._holding:
            self._holding = True
            self._responder.pause_sending()
        return None

    def finish(self) -> None:
        """The body is complete."""
        self._finished = True
        if self._target is not None:
            self._target.finish()

    def reset(self) -> None:
        """The request is given up."""
        self._gone = True
        self._body.clear()
        if self._target is not None:
            self._target.reset()

    def pause(self) -> None:
        """The reader is slow."""
        self._paused = True
        if self._target is not None:
            self._target.pause()

    def resume(self) -> None:
        """The reader has caught up."""
        self._paused = False
        if self._target is not None:
            self._target.resume()
