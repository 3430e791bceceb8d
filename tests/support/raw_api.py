"""An HTTPS server that answers byte for byte what a test says."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import NamedTuple

Handler = Callable[["Asked", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Asked(NamedTuple):
    """A request's head: method, target, header lines (lower-case names), and which connection it came on."""

    method: str
    target: str
    headers: dict[str, str]
    connection: int


class RawApi:
    """Runs `handler` for each request, one after the other on a connection, until it closes the connection."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.requests: list[Asked] = []
        self.handler: Handler = plain
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        number = self.connections
        try:
            while not writer.is_closing():
                asked = parse(await reader.readuntil(b"\r\n\r\n"), number)
                self.requests.append(asked)
                await self.handler(asked, reader, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()


def parse(head: bytes, connection: int) -> Asked:
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, target, _ = first.split(" ")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        assert name.lower() not in headers or name.lower() == "impersonate-group", f"{name} twice"
        headers[name.lower()] = value
    return Asked(method, target, headers, connection)


async def read_body(asked: Asked, reader: asyncio.StreamReader) -> int:
    """Reads a body and drops it; returns its size."""
    size = int(asked.headers.get("content-length", "0"))
    left = size
    while left:
        left -= len(await reader.readexactly(min(left, 65536)))
    if asked.headers.get("transfer-encoding") != "chunked":
        return size
    while True:
        chunk = int(await reader.readline(), 16)
        await reader.readexactly(chunk)
        assert await reader.readexactly(2) == b"\r\n"
        size += chunk
        if not chunk:
            return size


def answer(body: bytes, status: str = "200 OK", *lines: str) -> bytes:
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *lines, f"Content-Length: {len(body)}"))
    return head.encode() + b"\r\n" + body


async def plain(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers with what was asked for."""
    await read_body(asked, reader)
    writer.write(answer(asked.target.encode()))
