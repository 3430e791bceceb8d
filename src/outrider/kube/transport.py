"""How requests reach an API server: the Transport protocol, and pooled HTTP/1.1 over TLS or a Unix socket."""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from outrider.kube.connection import Connection, ConnectionBroken
from outrider.kube.errors import TransportError
from outrider.kube.kubeconfig import ClusterAccess
from outrider.kube.tls import client_context

_IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE"))
_FORBIDDEN = frozenset("\r\n\0")
_RESERVED = frozenset(("host", "content-length", "transfer-encoding", "connection"))


class Request(msgspec.Struct, kw_only=True):
    """One request; ``path`` includes the query."""

    method: str
    path: str
    headers: list[tuple[str, str]] = []
    body: bytes = b""


class Response(msgspec.Struct, kw_only=True):
    """One whole answer; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


class StreamedResponse(Protocol):
    """An answer whose body is read as it comes, by ``async for chunk in response``."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Header lines by lower-case name."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]: ...


class Transport(Protocol):
    """Carries requests to one API server. All failures without an answer are TransportError."""

    async def request(self, request: Request, *, timeout: float) -> Response:
        """Send and wait for the whole answer, ``timeout`` seconds at most."""
        ...

    def stream(self, request: Request, *, timeout: float) -> AbstractAsyncContextManager[StreamedResponse]:
        """Send and read the answer as it comes; ``timeout`` bounds the wait for its head and each chunk."""
        ...

    async def close(self) -> None:
        """Release every connection."""
        ...


class HttpTransport:
    """Pooled HTTP/1.1 connections to one API server.

    Requests use at most ``max_connections`` connections and streams at most ``max_streams`` more, so that
    watches never starve requests. Each connection has a quarter of a megabyte of TLS buffers, so those that a
    burst opened are given back soon. A kept-alive connection that turns out to be dead is replaced once, for
    idempotent methods. Times are seconds, sizes bytes.
    """

    def __init__(
        self,
        cluster: ClusterAccess,
        *,
        max_connections: int = 32,
        max_streams: int = 512,
        idle_timeout: float = 15.0,
        connect_timeout: float = 10.0,
        max_response: int = 256 << 20,
    ) -> None:
        self._endpoint = Endpoint(cluster)
        self._token = TokenSource(cluster)
        self._idle_timeout = idle_timeout
        self._connect_timeout = connect_timeout
        self._max_response = max_response
        self._request_slots = asyncio.Semaphore(max_connections)
        self._stream_slots = asyncio.Semaphore(max_streams)
        self._idle: list[tuple[Connection, asyncio.TimerHandle]] = []
        self._busy: set[Connection] = set()
        self._closed = False

    async def request(self, request: Request, *, timeout: float) -> Response:
        """Send and wait for the whole answer; raises TransportError."""
        head = self._render(request)
        async with self._failures(request, timeout), asyncio.timeout(timeout), self._request_slots:
            connection = await self._exchange(request, head)
            try:
                body = await self._read_body(connection)
                return Response(status=connection.status, headers=connection.headers, body=body)
            finally:
                self._release(connection)

    @contextlib.asynccontextmanager
    async def stream(self, request: Request, *, timeout: float) -> AsyncIterator[StreamedResponse]:
        """Send and read the answer as it comes; leaving the block early closes the connection."""
        head = self._render(request)
        async with contextlib.AsyncExitStack() as stack:
            async with self._failures(request, timeout), asyncio.timeout(timeout):
                await stack.enter_async_context(self._stream_slots)
                connection = await self._exchange(request, head)
            stack.callback(self._release, connection)
            yield _Stream(connection, request, timeout)

    async def close(self) -> None:
        """Close every connection; requests under way fail."""
        self._closed = True
        for connection, timer in self._idle:
            timer.cancel()
            connection.abort()
        self._idle.clear()
        for connection in tuple(self._busy):
            connection.abort()
        # Transports finish closing in callbacks of the next turns of the loop.
        for _ in range(2):
            await asyncio.sleep(0)

    async def _exchange(self, request: Request, head: bytes) -> Connection:
        """Write the request to a connection and wait for the response's head."""
        connection = self._take_idle() or await self._connect()
        while True:
            reused = connection.used > 0
            self._busy.add(connection)
            try:
                connection.begin(head, is_head_request=request.method == "HEAD")
                await connection.read_head()
            except ConnectionBroken as error:
                self._release(connection)
                if not reused or error.answered or request.method not in _IDEMPOTENT:
                    raise
            except BaseException:
                self._release(connection)
                raise
            else:
                return connection
            connection = await self._connect()

    async def _read_body(self, connection: Connection) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while chunk := await connection.read_chunk():
            size += len(chunk)
            if size > self._max_response:
                raise TransportError(
                    f"the answer is larger than {self._max_response} bytes; ask for fewer objects"
                )
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _take_idle(self) -> Connection | None:
        while self._idle:
            connection, timer = self._idle.pop()
            timer.cancel()
            if connection.is_idle:
                return connection
            connection.abort()
        return None

    async def _connect(self) -> Connection:
        if self._closed:
            raise TransportError("the transport is closed")
        try:
            async with asyncio.timeout(self._connect_timeout):
                connection = await self._endpoint.connect()
        except TimeoutError:
            raise TransportError(
                f"no connection to {self._endpoint.name} within {self._connect_timeout:g} s"
            ) from None
        except ssl.SSLCertVerificationError as error:
            raise TransportError(
                f"the certificate of {self._endpoint.name} is not trusted: {error.verify_message}"
            ) from None
        except (OSError, ssl.SSLError) as error:
            raise TransportError(f"cannot connect to {self._endpoint.name}: {error}") from None
        return connection

    def _release(self, connection: Connection) -> None:
        self._busy.discard(connection)
        if self._closed or not connection.is_idle:
            connection.abort()
            return
        loop = asyncio.get_running_loop()
        self._idle.append((connection, loop.call_later(self._idle_timeout, self._expire, connection)))

    def _expire(self, connection: Connection) -> None:
        self._idle = [entry for entry in self._idle if entry[0] is not connection]
        connection.abort()

    @contextlib.asynccontextmanager
    async def _failures(self, request: Request, timeout: float) -> AsyncIterator[None]:
        what = f"{request.method} {request.path.partition('?')[0]}"
        try:
            yield
        except TimeoutError:
            raise TransportError(
                f"{what}: no answer from {self._endpoint.name} within {timeout:g} s"
            ) from None
        except ConnectionBroken as error:
            raise TransportError(f"{what}: {error} ({self._endpoint.name})") from None

    def _render(self, request: Request) -> bytes:
        lines = [
            f"{request.method} {self._endpoint.prefix}{request.path} HTTP/1.1",
            f"Host: {self._endpoint.host}",
        ]
        token = self._token.read()
        if token:
            lines.append(f"Authorization: Bearer {token}")
        for name, value in request.headers:
            if name.lower() in _RESERVED:
                raise ValueError(f"header {name!r} is set by the transport")
            lines.append(f"{name}: {value}")
        if request.body or request.method not in ("GET", "HEAD"):
            lines.append(f"Content-Length: {len(request.body)}")
        if " " in request.path or any(not _FORBIDDEN.isdisjoint(line) for line in lines):
            raise ValueError(f"the head of {request.method} holds characters that would split it")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + request.body


class _Stream:
    """A StreamedResponse over one connection."""

    def __init__(self, connection: Connection, request: Request, timeout: float) -> None:
        self._connection = connection
        self._what = f"{request.method} {request.path.partition('?')[0]}"
        self._timeout = timeout
        self.status = connection.status
        self.headers: Mapping[str, str] = connection.headers

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            try:
                async with asyncio.timeout(self._timeout):
                    chunk = await self._connection.read_chunk()
            except TimeoutError:
                raise TransportError(f"{self._what}: nothing more came within {self._timeout:g} s") from None
            except ConnectionBroken as error:
                raise TransportError(f"{self._what}: {error}") from None
            if not chunk:
                return
            yield chunk


class Endpoint:
    """Opens connections to the address of a ClusterAccess."""

    def __init__(self, cluster: ClusterAccess) -> None:
        parts = urlsplit(cluster.server)
        self.name = cluster.server
        self.prefix = ""
        self.host = "localhost"
        self._socket_path = ""
        self._tls: ssl.SSLContext | None = None
        if parts.scheme == "unix":
            self._socket_path = parts.path
            return
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise ValueError(f"server {cluster.server!r} is neither an https:// URL nor unix:/path")
        self.prefix = parts.path.rstrip("/")
        self.host = parts.netloc.rpartition("@")[2]
        self._address = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        if parts.scheme == "https":
            self._tls = client_context(cluster)
        self._server_name = cluster.tls_server_name or parts.hostname

    async def connect(self) -> Connection:
        """Open a connection; raises OSError and ssl.SSLError."""
        loop = asyncio.get_running_loop()
        connection = Connection()
        try:
            if self._socket_path:
                await loop.create_unix_connection(lambda: connection, self._socket_path)
                return connection
            transport, _ = await loop.create_connection(
                lambda: connection,
                self._address,
                self._port,
                ssl=self._tls,
                server_hostname=self._server_name if self._tls else None,
            )
        except BaseException:
            # Cancelled just when it was made, TLS would keep the socket for a farewell of 30 s
            connection.abort()
            raise
        _keep_alive(transport.get_extra_info("socket"))
        return connection


def _keep_alive(sock: socket.socket | None) -> None:
    """Make the kernel notice within about half a minute that the peer is gone."""
    if sock is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


class TokenSource:
    """The bearer token of a ClusterAccess; a token file is read again when it changes."""

    def __init__(self, cluster: ClusterAccess) -> None:
        self._token = cluster.token
        self._file: Path | None = cluster.token_file
        self._seen: tuple[int, int, int] | None = None

    def read(self) -> str:
        """Return the token, empty when there is none; raises TransportError when its file cannot be read."""
        if self._file is None:
            return self._token
        try:
            stat = os.stat(self._file)
            seen = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
            if seen != self._seen:
                self._token = self._file.read_text().strip()
                self._seen = seen
        except OSError as error:
            raise TransportError(f"cannot read the token file {self._file}: {error.strerror}") from None
        return self._token
