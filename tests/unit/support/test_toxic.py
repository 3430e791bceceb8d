from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.support.toxic import ToxicProxy, Weather, toxic


class Echo:
    """A server that sends back what it gets."""

    def __init__(self) -> None:
        self.port = 0
        self.ended: list[str] = []
        self.writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self.writers:
            writer.transport.abort()
        await asyncio.sleep(0.02)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            self.ended.append("FIN")
        except ConnectionResetError:
            self.ended.append("RST")
        finally:
            writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    server = Echo()
    await server.start()
    yield server
    await server.close()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[ToxicProxy]:
    between = ToxicProxy("127.0.0.1", echo.port)
    await between.start()
    yield between
    await between.close()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, data: bytes, seconds: float = 5.0) -> bytes:
        self.writer.write(data)
        async with asyncio.timeout(seconds):
            return await self.reader.readexactly(len(data))


@pytest.fixture
async def client(proxy: ToxicProxy) -> AsyncIterator[Client]:
    opened = await asyncio.open_connection("127.0.0.1", proxy.port)
    yield Client(*opened)
    opened[1].transport.abort()
    await asyncio.sleep(0)


async def is_reset(port: int) -> bool:
    """Whether a new connection is reset, be it at once or when it is read from."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionResetError:
        return True
    try:
        await asyncio.wait_for(reader.read(1), 5)
    except ConnectionResetError:
        return True
    else:
        return False
    finally:
        writer.close()


async def test_passes_everything_both_ways_and_half_closes(client: Client, echo: Echo) -> None:
    assert await client.ask(b"hello") == b"hello"
    body = bytes(range(256)) * 4096
    assert await client.ask(body) == body
    client.writer.write_eof()
    assert await client.reader.read() == b""
    assert echo.ended == ["FIN"]


async def test_latency_delays_each_direction_but_not_the_rate(client: Client, proxy: ToxicProxy) -> None:
    proxy.upward = Weather(latency=0.1)
    proxy.downward = Weather(latency=0.05, jitter=0.01)
    began = time.monotonic()
    assert await client.ask(b"x" * 300_000)
    assert 0.15 <= time.monotonic() - began < 1.0, "many segments travel at once"


async def test_a_lost_segment_holds_up_what_follows_and_nothing_is_lost(
    client: Client, proxy: ToxicProxy
) -> None:
    proxy.upward = Weather(loss=1.0, retransmission=0.1)
    began = time.monotonic()
    assert await client.ask(b"abc") == b"abc"
    assert time.monotonic() - began >= 0.1


async def test_the_rate_is_bounded(client: Client, proxy: ToxicProxy) -> None:
    proxy.downward = Weather(rate=200_000)
    began = time.monotonic()
    await client.ask(b"x" * 100_000)
    assert 0.3 < time.monotonic() - began < 3.0


async def test_what_passes_is_counted(client: Client, proxy: ToxicProxy) -> None:
    await client.ask(b"x" * 1000)
    assert (proxy.up, proxy.down, proxy.largest) == (1000, 1000, 1000)
    proxy.largest = 0
    await client.ask(b"x" * 10)
    assert (proxy.up, proxy.down, proxy.largest) == (1010, 1010, 10)


async def test_silence_ends_and_loses_nothing(client: Client, proxy: ToxicProxy) -> None:
    proxy.silence()
    with pytest.raises(TimeoutError):
        await client.ask(b"late", 0.1)
    proxy.calm()
    assert await asyncio.wait_for(client.reader.readexactly(4), 5) == b"late"


async def test_one_direction_alone_may_be_silent(client: Client, proxy: ToxicProxy, echo: Echo) -> None:
    assert await client.ask(b"a") == b"a"
    proxy.downward = Weather(silent=True)
    client.writer.write(b"b")
    await asyncio.sleep(0.05)
    echo.writers[0].write(b"c")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.reader.read(1), 0.05)
    proxy.calm()
    assert await asyncio.wait_for(client.reader.readexactly(2), 5) == b"bc"


async def test_reset_is_seen_as_a_reset_on_both_sides(client: Client, proxy: ToxicProxy, echo: Echo) -> None:
    await client.ask(b"a")
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(client.reader.read(1), 5)
    await asyncio.sleep(0.02)
    assert echo.ended == ["RST"]
    assert proxy.links == 0


async def test_finish_is_seen_as_an_end(client: Client, proxy: ToxicProxy, echo: Echo) -> None:
    await client.ask(b"a")
    proxy.finish()
    assert await asyncio.wait_for(client.reader.read(1), 5) == b""
    await asyncio.sleep(0.02)
    assert echo.ended == ["FIN"]


async def test_a_forgotten_connection_stays_open_and_dead(
    client: Client, proxy: ToxicProxy, echo: Echo
) -> None:
    await client.ask(b"a")
    proxy.forget()
    proxy.calm()
    with pytest.raises(TimeoutError):
        await client.ask(b"b", 0.1)
    assert echo.ended == []
    assert proxy.links == 0
    other = Client(*await asyncio.open_connection("127.0.0.1", proxy.port))
    assert await other.ask(b"new") == b"new"
    other.writer.transport.abort()


@pytest.mark.parametrize("near", [True, False])
async def test_halving_cuts_one_side_only(client: Client, proxy: ToxicProxy, echo: Echo, near: bool) -> None:
    await client.ask(b"a")
    proxy.halve(near=near)
    if near:
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(client.reader.read(1), 5)
        assert echo.ended == []
    else:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.reader.read(1), 0.1)
        assert echo.ended == ["RST"]


async def test_idle_connections_are_closed_and_busy_ones_are_not(client: Client, proxy: ToxicProxy) -> None:
    proxy.idle_seconds = 0.3
    for _ in range(5):
        await asyncio.sleep(0.1)
        await client.ask(b"still here")
    assert await asyncio.wait_for(client.reader.read(1), 5) == b""


async def test_refuses_new_connections_only(client: Client, proxy: ToxicProxy) -> None:
    await client.ask(b"a")
    proxy.refusing = True
    assert await is_reset(proxy.port)
    assert await client.ask(b"b") == b"b"


async def test_without_a_server_behind_it_connections_are_reset(free_port: int) -> None:
    with toxic("127.0.0.1", free_port) as between:
        assert await is_reset(between.port)


async def test_works_from_another_thread(echo: Echo) -> None:
    with toxic("127.0.0.1", echo.port) as between:
        client = Client(*await asyncio.open_connection("127.0.0.1", between.port))
        assert await client.ask(b"a") == b"a"
        await asyncio.to_thread(between.reset)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(client.reader.read(1), 5)
        client.writer.close()
