"""A raw HTTP/1.1 peer for client tests: each connection is handed to a script that may misbehave at will."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from outrider.kit.tasks import cancel_and_wait


class PeerConnection:
    """One accepted connection; ``number`` counts from 0."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self._reader = reader
        self._writer = writer

    async def read_request(self) -> tuple[str, dict[str, str], bytes]:
        """Return request line, headers (lower-case names) and body; raises EOFError when the client left."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        line, *rest = head.rstrip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (item.partition(": ") for item in rest)}
        body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        return line, headers, body

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self, body: bytes, status: str = "200 OK", head: str = "") -> None:
        await self.send(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body)

    async def closed_by_client(self) -> bool:
        return await self._reader.read(1) == b""

    def close(self) -> None:
        self._writer.close()

    def reset(self) -> None:
        self._writer.transport.abort()


class Peer:
    """The listening side."""

    def __init__(self, script: Callable[[PeerConnection], Awaitable[None]]) -> None:
        self._script = script
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections: list[PeerConnection] = []
        self.failures: list[BaseException] = []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        connection = PeerConnection(len(self.connections), reader, writer)
        self.connections.append(connection)
        try:
            await self._script(connection)
        except (EOFError, ConnectionError, asyncio.CancelledError):
            pass
        except AssertionError as failure:
            self.failures.append(failure)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def stop(self) -> None:
        await cancel_and_wait(*self._tasks)


@asynccontextmanager
async def http_peer(
    script: Callable[[PeerConnection], Awaitable[None]], path: Path
) -> AsyncIterator[tuple[str, Peer]]:
    """Listen on the Unix socket ``path``; yields its ``unix:`` URL and the peer."""
    peer = Peer(script)
    server = await asyncio.start_unix_server(peer._serve, path)
    try:
        yield f"unix:{path}", peer
    finally:
        server.close()
        await peer.stop()
        await asyncio.sleep(0)
        assert not peer.failures, peer.failures
