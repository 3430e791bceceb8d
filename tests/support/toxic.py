"""A TCP proxy on loopback that behaves like a bad network; what it does can be changed while connections run.

Two kinds of trouble: `upward` and `downward` say how bytes travel (upward: from the one who connected), from now
on and on every connection; `reset`, `finish`, `forget` and `halve` happen to the connections that there are now.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from outrider.kit.tasks import cancel_and_wait

CHUNK = 16 * 1024
LOOK = 0.01
"""Seconds between two looks at trouble that may end."""
QUEUED = 64
_LINGER_NONE = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Weather:
    """How bytes travel in one direction. Times in seconds, `rate` in bytes per second (0: as fast as it goes).

    `loss` is the share of segments that arrive `retransmission` later, and hold up all that follow, as TCP does.
    `silent`: nothing passes, and nothing is lost: bytes wait until it ends.
    """

    latency: float = 0.0
    jitter: float = 0.0
    rate: float = 0.0
    loss: float = 0.0
    retransmission: float = 0.3
    silent: bool = False


CALM = Weather()


class ToxicProxy:
    """Listens on 127.0.0.1 and connects to `host`:`port`. All methods but `start` and `close` are thread-safe.

    `idle_seconds` > 0 closes connections on which nothing passed for so long, as load balancers do. `refusing`
    resets every new connection. `accepted` counts connections, `newest` is when the last one came (monotonic).
    `up` and `down` are the bytes that came from each side; `largest` is the most that came at once since it was
    set to 0.
    """

    def __init__(self, host: str, port: int, *, seed: int = 1) -> None:
        self.upward = CALM
        self.downward = CALM
        self.idle_seconds = 0.0
        self.refusing = False
        self.accepted = 0
        self.newest = 0.0
        self.up = self.down = self.largest = 0
        self.port = 0
        self._target = (host, port)
        self._chance = random.Random(seed)
        self._links: dict[asyncio.Task[None], _Link] = {}
        self._server: asyncio.Server | None = None
        self._thread = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def links(self) -> int:
        """Connections that pass bytes, or would if the weather let them."""
        return sum(not link.forgotten for link in list(self._links.values()))

    async def start(self, port: int = 0) -> int:
        """Listens; returns the port."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self.port

    async def close(self) -> None:
        """Ends everything."""
        assert self._server is not None
        self._server.close()
        for task in list(self._links):
            task.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    def calm(self) -> None:
        """Ends all trouble that can end. Connections that were forgotten stay so, as with a real NAT."""
        self.upward = self.downward = CALM
        self.idle_seconds = 0.0
        self.refusing = False

    def silence(self) -> None:
        """Nothing passes any more, on old and new connections; they stay open."""
        self.upward = self.downward = Weather(silent=True)

    def reset(self) -> None:
        """Cuts every connection on both sides by RST, without FIN."""
        self._on_each(_Link.cut)

    def finish(self) -> None:
        """Ends every connection on both sides in good order."""
        self._on_each(_Link.end)

    def forget(self) -> None:
        """Lets nothing pass on the connections there are, for good, and leaves both sides open: a NAT lost them."""
        self._on_each(lambda link: None)

    def halve(self, *, near: bool) -> None:
        """Cuts one side of every connection by RST (`near`: that of the one who connected); the other stays open."""
        self._on_each(lambda link: (link.near if near else link.far).cut())

    def _on_each(self, act: Callable[[_Link], object]) -> None:
        """Returns when it has happened."""
        assert self._loop is not None
        if threading.get_ident() == self._thread:
            self._strike(act)
            return
        done = concurrent.futures.Future[None]()

        def strike() -> None:
            self._strike(act)
            done.set_result(None)

        self._loop.call_soon_threadsafe(strike)
        done.result(5)

    def _strike(self, act: Callable[[_Link], object]) -> None:
        for link in self._links.values():
            if not link.forgotten:
                link.forgotten = True
                act(link)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        near = _Side(reader, writer)
        self.accepted += 1
        self.newest = time.monotonic()
        if self.refusing:
            return near.cut()
        task = asyncio.current_task()
        assert task is not None
        try:
            far = _Side(*await asyncio.open_connection(*self._target))
        except OSError:
            return near.cut()
        link = self._links[task] = _Link(near, far)
        try:
            await self._carry(link)
        except asyncio.CancelledError:
            pass  # the proxy closes: no news for whoever waits for this task
        finally:
            del self._links[task]
            near.cut()
            far.cut()
        return None

    async def _carry(self, link: _Link) -> None:
        """Returns when both directions have ended, or one side is gone, or the link was ended."""
        passing = asyncio.ensure_future(self._pass(link))
        watch = asyncio.ensure_future(self._watch_idle(link))
        try:
            await asyncio.wait((passing, watch), return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel_and_wait(passing, watch)
        if link.forgotten and not link.ended:
            await asyncio.Event().wait()  # both sides stay as they are until the proxy closes

    async def _pass(self, link: _Link) -> None:
        up = _Pump(link, link.near, link.far, lambda: self.upward, self._count_up, self._chance)
        down = _Pump(link, link.far, link.near, lambda: self.downward, self._count_down, self._chance)
        tasks = [asyncio.ensure_future(work) for pump in (up, down) for work in (pump.read(), pump.write())]
        try:
            await asyncio.gather(*tasks)
            link.end()
        finally:
            await cancel_and_wait(*tasks)

    def _count_up(self, size: int) -> None:
        self.up += size
        self.largest = max(self.largest, size)

    def _count_down(self, size: int) -> None:
        self.down += size
        self.largest = max(self.largest, size)

    async def _watch_idle(self, link: _Link) -> None:
        loop = asyncio.get_running_loop()
        while not link.forgotten:
            if self.idle_seconds and loop.time() - link.last > self.idle_seconds:
                return link.end()
            await asyncio.sleep(LOOK * 5)
        return None


class _Side:
    """One connection of a link."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def cut(self) -> None:
        """RST, never FIN."""
        transport = self.writer.transport
        if not transport.is_closing():
            self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
            transport.abort()


class _Link:
    """Two connections that belong together."""

    def __init__(self, near: _Side, far: _Side) -> None:
        self.near = near
        self.far = far
        self.last = asyncio.get_running_loop().time()
        self.forgotten = False
        self.ended = False

    def cut(self) -> None:
        self.near.cut()
        self.far.cut()

    def end(self) -> None:
        self.forgotten = self.ended = True
        self.near.writer.close()
        self.far.writer.close()


class _Pump:
    """Carries bytes in one direction: what is read now is written when its time has come."""

    def __init__(
        self,
        link: _Link,
        source: _Side,
        sink: _Side,
        weather: Callable[[], Weather],
        count: Callable[[int], None],
        chance: random.Random,
    ) -> None:
        self._link = link
        self._count = count
        self._source = source
        self._sink = sink
        self._weather = weather
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUED)

    async def read(self) -> None:
        """Until the source has ended, or the link is forgotten; raises OSError."""
        while True:
            await self._until_passing()
            data = await self._source.reader.read(CHUNK)
            if self._link.forgotten:
                return
            self._link.last = self._loop.time()
            self._count(len(data))
            await self._queue.put((self._due(), data))
            if not data:
                return

    async def write(self) -> None:
        """Until everything that was read is written; raises OSError."""
        while True:
            due, data = await self._queue.get()
            await asyncio.sleep(max(0.0, due - self._loop.time()))
            await self._until_passing()
            if not data:
                return self._sink.writer.write_eof()
            self._sink.writer.write(data)
            await self._sink.writer.drain()
            if rate := self._weather().rate:
                await asyncio.sleep(len(data) / rate)

    async def _until_passing(self) -> None:
        while self._weather().silent or self._link.forgotten:
            await asyncio.sleep(LOOK)

    def _due(self) -> float:
        weather = self._weather()
        delay = weather.latency + weather.jitter * self._chance.random()
        if weather.loss and self._chance.random() < weather.loss:
            delay += weather.retransmission
        return self._loop.time() + delay


@contextmanager
def toxic(host: str, port: int, *, listen: int = 0) -> Iterator[ToxicProxy]:
    """A proxy on an event loop of its own, for tests that have none."""
    proxy = ToxicProxy(host, port)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="toxic proxy", daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(proxy.start(listen), loop).result(5)
    try:
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(proxy.close(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()
