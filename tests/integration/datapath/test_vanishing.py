"""Shells whose clients vanish, in every way in which that happens, leave nothing behind on either side.

Client, gateway, agent and API server share this process, so its open files are all that there are.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import struct
from collections.abc import Awaitable, Callable

import pytest

from outrider.tunnel import upstream
from tests.integration.datapath.conftest import DataPath
from tests.integration.datapath.test_datapath import head
from tests.support.proc import until
from tests.support.raw_api import Asked

SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n"
SHELLS = 12
Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
Serve = Callable[[Asked, Reader, Writer], Awaitable[None]]


async def echoing(asked: Asked, reader: Reader, writer: Writer) -> None:
    """A shell that says what it hears, until it hears the end."""
    writer.write(SWITCHED + b"ready")
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def deaf(asked: Asked, reader: Reader, writer: Writer) -> None:
    """A shell that notices no end: `sleep`, behind a server that does not pass it on."""
    writer.write(SWITCHED + b"ready")
    await asyncio.sleep(3600)


async def talking(asked: Asked, reader: Reader, writer: Writer) -> None:
    """A shell that says more than anybody reads."""
    writer.write(SWITCHED + b"ready")
    while True:
        writer.write(bytes(65536))
        await writer.drain()
        await asyncio.sleep(0)  # draining alone need not give way to those who read


async def undecided(asked: Asked, reader: Reader, writer: Writer) -> None:
    """A server that never says whether it switches."""
    await asyncio.sleep(3600)


def polite(writer: Writer) -> None:
    """What the kernel does for a killed process that has read everything: FIN."""
    writer.transport.abort()


def broken(writer: Writer) -> None:
    """What it does for one that has not: RST."""
    end = writer.transport.get_extra_info("socket")
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def closing(writer: Writer) -> None:
    """A client that takes its leave as TLS wants it."""
    writer.close()


def half(writer: Writer) -> None:
    """Only its sending side ends; it still listens."""
    end = writer.transport.get_extra_info("socket")
    with socket.socket(fileno=os.dup(end.fileno())) as twin:
        twin.shutdown(socket.SHUT_WR)


def files() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("leave", [polite, broken, closing, half])
@pytest.mark.parametrize("serve", [echoing, deaf, talking, undecided])
async def test_nothing_is_left_behind(
    path: DataPath, monkeypatch: pytest.MonkeyPatch, serve: Serve, leave: Callable[[Writer], None]
) -> None:
    monkeypatch.setattr(upstream, "CLOSE_GRACE", 0.2)
    agent = await path.agent("c-1")
    before = files()
    path.api.handler = serve
    clients = []
    for number in range(SHELLS):
        reader, writer = await path.connect()
        writer.write(head(f"/exec/{number}", "POST", "Connection: Upgrade", "Upgrade: SPDY/3.1"))
        if serve is not undecided:
            await reader.readuntil(b"ready")
        writer.write(b"echo $HOME\n")
        clients.append((reader, writer))
    await until(lambda: len(path.api.requests) == SHELLS)
    # each has a descriptor at the client, at the gateway, at the agent and at the API server
    assert files() == before + 4 * SHELLS
    for _, writer in clients:
        leave(writer)
    await until(lambda: not path.dispatcher.connections, 20)
    session = path.registry.find("c-1")
    assert session is not None
    await until(lambda: not session.streams and not agent.sessions[0].streams, 20)
    await until(lambda: not agent.pool._open, 20)
    for _, writer in clients:
        writer.transport.abort()
    clients.clear()
    for task in list(path.api._tasks):
        task.cancel()
    await until(lambda: files() <= before, 20)
    assert not path.dispatcher.verdicts.find(b"Bearer x", "c-1").exchanges  # type: ignore[union-attr]
