"""WebSockets over the control process' Unix socket, as the gateway opens them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from outrider.facade.websocket import WebSocketProtocol

HANDSHAKE = (
    b"GET /%b HTTP/1.1\r\nhost: control\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("hi")
    async for text in websocket.iter_text():
        await websocket.send_text(text.upper())


async def refuse(websocket: WebSocket) -> None:
    await websocket.send_denial_response(PlainTextResponse("not you", 403))


async def shut(websocket: WebSocket) -> None:
    await websocket.close()


async def fail(websocket: WebSocket) -> None:
    raise RuntimeError("a bug")


@pytest.fixture
async def address(tmp_path: Path) -> AsyncIterator[Path]:
    routes = [WebSocketRoute(f"/{run.__name__}", run) for run in (echo, refuse, shut, fail)]
    path = tmp_path / "s"
    options = uvicorn.Config(
        Starlette(routes=routes), uds=str(path), lifespan="off", log_config=None, ws=WebSocketProtocol
    )
    server = uvicorn.Server(options)
    task = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield path
    server.should_exit = True
    await asyncio.wait_for(task, 10)


async def opened(path: Path, name: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(HANDSHAKE % name)
    head = b""
    async with asyncio.timeout(5):
        while not head.endswith(b"\r\n\r\n") and (more := await reader.read(1)):
            head += more
    return reader, writer, head


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await writer.wait_closed()


def masked(text: bytes) -> bytes:
    return bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text


async def test_messages_go_both_ways(address: Path) -> None:
    reader, writer, head = await opened(address, b"echo")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
    async with asyncio.timeout(5):
        assert await reader.readexactly(4) == b"\x81\x02hi"
        writer.write(masked(b"ab") + masked(b"cd"))
        assert await reader.readexactly(8) == b"\x81\x02AB\x81\x02CD"
    await closed(writer)


async def test_a_message_in_parts(address: Path) -> None:
    reader, writer, _ = await opened(address, b"echo")
    async with asyncio.timeout(5):
        await reader.readexactly(4)
        writer.write(bytes([0x01, 0x81, 0, 0, 0, 0]) + b"a" + bytes([0x80, 0x81, 0, 0, 0, 0]) + b"b")
        assert await reader.readexactly(4) == b"\x81\x02AB"
    await closed(writer)


@pytest.mark.parametrize(("name", "status"), [(b"refuse", b"403"), (b"shut", b"403"), (b"nowhere", b"403")])
async def test_the_application_is_asked_first(address: Path, name: bytes, status: bytes) -> None:
    reader, writer, head = await opened(address, name)
    assert head.split(b" ")[1] == status
    async with asyncio.timeout(5):
        body = await reader.read()
    assert body == (b"not you" if name == b"refuse" else b"")
    await closed(writer)


async def test_an_application_that_fails_ends_the_connection(address: Path) -> None:
    reader, writer, head = await opened(address, b"fail")
    assert not head.startswith(b"HTTP/1.1 101")
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    await closed(writer)
