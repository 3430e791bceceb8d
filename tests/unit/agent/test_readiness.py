"""The readiness probe: what a kubelet sees, and what strangers cannot do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from outrider.agent.readiness import Readiness
from outrider.kit.tasks import cancel_and_wait

PROBE = b"GET /readyz HTTP/1.1\r\nHost: 10.42.0.7:8081\r\nUser-Agent: kube-probe/1.34\r\nConnection: close\r\n\r\n"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


class Probed:
    def __init__(self, readiness: Readiness, port: int) -> None:
        self.readiness = readiness
        self._port = port

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with asyncio.timeout(5):
            while True:
                with contextlib.suppress(ConnectionRefusedError):
                    return await asyncio.open_connection("127.0.0.1", self._port)
                await asyncio.sleep(0.01)

    async def send(self, data: bytes) -> bytes:
        reader, writer = await self.connect()
        writer.write(data)
        async with asyncio.timeout(5):
            answer = await reader.read()
        writer.close()
        return answer


@pytest.fixture
async def probed() -> AsyncIterator[Probed]:
    port = free_port()
    readiness = Readiness(port)
    task = asyncio.create_task(readiness.run())
    yield Probed(readiness, port)
    await cancel_and_wait(task)


async def test_ready_means_that_there_is_a_tunnel(probed: Probed) -> None:
    assert (await probed.send(PROBE)).startswith(b"HTTP/1.1 503 ")
    probed.readiness.tunnels = 2
    answer = await probed.send(PROBE)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")
    probed.readiness.tunnels = 0
    assert (await probed.send(PROBE)).startswith(b"HTTP/1.1 503 ")


async def test_whatever_is_sent_gets_one_answer_and_nothing_is_kept(probed: Probed) -> None:
    for nonsense in (b"\x16\x03\x01\x00", b"GET " + b"a" * 100_000, b"\r\n" * 1000):
        with contextlib.suppress(ConnectionResetError):
            assert (await probed.send(nonsense)).count(b"HTTP/1.1 503 ") == 1


async def test_silence_is_not_waited_for_and_crowds_are_not_let_in(probed: Probed) -> None:
    silent = [await probed.connect() for _ in range(16)]
    reader, writer = await probed.connect()
    async with asyncio.timeout(1):
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b"", "the seventeenth is turned away at once"
    writer.close()
    async with asyncio.timeout(4):
        for reader, writer in silent:
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()
    assert (await probed.send(PROBE)).startswith(b"HTTP/1.1 503 ")
