"""Hostile bytes by the hundred thousand at every parser of the data path; a million each in `make test-long`."""

import asyncio
import logging
import random
import resource
from collections.abc import Callable, Iterator

import pytest

from outrider.kit import http1
from outrider.tunnel import frames
from outrider.tunnel.frames import FIN, Request
from tests.support.tunnels import Heard, Tunnel, feed, frame
from tests.support.wire import Call, Script
from tests.unit.gateway.desk import C1, Desk, get
from tests.unit.tunnel.test_upstream import GET, OK, Server, settle

SHORT, LONG = 6_000, 1_000_000
ROUNDS = [SHORT, pytest.param(LONG, marks=[pytest.mark.long, pytest.mark.timeout(1800)])]
GROWTH = 64 * 1024
"""KB by which the process may grow, whatever comes."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Nothing is logged: pytest would keep a million lines about broken tunnels in memory."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


class Mutator:
    """Sound inputs and pieces of them, cut, joined, repeated and bitten; the same again for the same seed."""

    def __init__(self, seed: int, corpus: list[bytes]) -> None:
        self.random = random.Random(seed)
        self.corpus = corpus

    def __call__(self) -> bytes:
        chance = self.random
        data = b"".join(chance.choices(self.corpus, k=chance.choice((1, 1, 2, 3))))
        for _ in range(chance.choice((0, 1, 1, 2, 4))):
            data = chance.choice((self.flip, self.cut, self.insert, self.repeat, self.swap))(data)
        return data

    def flip(self, data: bytes) -> bytes:
        at = self.random.randrange(len(data) + 1)
        return data[:at] + bytes([self.random.choice((0, 9, 10, 13, 32, 58, 127, 128, 255))]) + data[at + 1 :]

    def cut(self, data: bytes) -> bytes:
        start, end = sorted(self.random.choices(range(len(data) + 1), k=2))
        return data[:start] + data[end:]

    def insert(self, data: bytes) -> bytes:
        at = self.random.randrange(len(data) + 1)
        return data[:at] + self.random.choice(self.corpus)[: self.random.randrange(40)] + data[at:]

    def repeat(self, data: bytes) -> bytes:
        start, end = sorted(self.random.choices(range(len(data) + 1), k=2))
        return data[:end] + data[start:end] * self.random.choice((1, 3)) + data[end:]

    def swap(self, data: bytes) -> bytes:
        at = self.random.randrange(len(data) + 1)
        return data[at:] + data[:at]


def bounded(before: int) -> bool:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GROWTH


def size() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


async def watched(rounds: int, step: Callable[[], None]) -> None:
    """Runs `step` that often, and lets the loop turn."""
    before = size()
    for number in range(rounds):
        step()
        if number % 64 == 0:
            await asyncio.sleep(0)
        if number % 4096 == 0:
            assert bounded(before)
    assert bounded(before)


ANSWER_FRAMES = [
    frame(frames.HEAD, 1, frames.heading(200, -1, b"A: b\r\n", b"body")),
    frame(frames.HEAD | FIN, 2, frames.heading(200, 0, b"")),
    frame(frames.HEAD, 1, frames.heading(100, 0, b"")),
    frame(frames.HEAD, 3, frames.heading(101, 0, b"")),
    frame(frames.DATA, 1, b"x" * 50),
    frame(frames.DATA | FIN, 1, b""),
    frame(frames.TRAILERS | FIN, 1, b"A: b\r\n"),
    frame(frames.RESET, 2, b"why"),
    frame(frames.WINDOW, 1, frames.CREDIT.pack(1000)),
    frame(frames.MESSAGE | FIN, 0, b'{"a":1}'),
    frame(frames.MESSAGE, 0, b'{"a":'),
    frame(frames.OPEN | FIN, 9, frames.opening(b"{}", GET)),
]
REQUEST_FRAMES = [
    frame(frames.OPEN | FIN, 1, frames.opening(b'{"user":"u"}', GET)),
    frame(frames.OPEN, 2, frames.opening(b"{}", Request(b"PUT /x HTTP/1.1\r\n", 5))),
    frame(frames.OPEN, 3, frames.opening(b"{}", Request(b"GET /x HTTP/1.1\r\n", 0, b"websocket"))),
    frame(frames.DATA, 2, b"body"),
    frame(frames.DATA | FIN, 2, b""),
    frame(frames.RESET, 1),
    frame(frames.WINDOW, 3, frames.CREDIT.pack(1000)),
    frame(frames.MESSAGE | FIN, 0, b"{}"),
]


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize("corpus", [ANSWER_FRAMES, REQUEST_FRAMES], ids=["server", "agent"])
async def test_frames(rounds: int, corpus: list[bytes]) -> None:
    """A hostile peer ends its own tunnel at most; another one beside it goes on, and no responder hears two ends."""
    mutate = Mutator(1, corpus)
    at_server = corpus is ANSWER_FRAMES
    neighbour = Tunnel(Script(lambda call: call.answer(b"ok")))
    script = Script()
    tunnel = Tunnel(script)

    def step() -> None:
        nonlocal tunnel, script
        end = tunnel.server if at_server else tunnel.agent
        if not end.usable:
            script = Script()
            tunnel = Tunnel(script)
            end = tunnel.server if at_server else tunnel.agent
        if at_server and len(end.streams) < 3:
            for upgrade in (b"", b"", b"websocket"):
                tunnel.server.open(Request(GET.head, 0, upgrade), b"{}", Heard())
        if len(script.calls) > 100:
            script.calls.clear()
        feed(end, mutate())
        tunnel.down.queue.clear()
        tunnel.up.queue.clear()
        tunnel.down.waiting = tunnel.up.waiting = 0
        for call in script.calls:
            assert http1.forwardable(call.request.head, call.request.upgrade)
            assert call.resets <= 1

    await watched(rounds, step)
    heard = Heard()
    neighbour.server.open(GET, b"{}", heard)
    await neighbour.settle()
    assert bytes(heard.body) == b"ok"


REQUESTS = [
    get(C1 + b"/a"),
    get(C1 + b"/b", b"Content-Length: 5", method=b"PUT") + b"hello",
    get(C1 + b"/c", b"Transfer-Encoding: chunked", method=b"POST") + b"3\r\nabc\r\n0\r\nT: x\r\n\r\n",
    get(C1 + b"/d", b"Connection: Upgrade", b"Upgrade: websocket"),
    get(C1 + b"/e", b"Connection: close, X-Hop", b"X-Hop: 1"),
    get(b"/k8s/clusters/c-1/%2e%2e/c-2"),
    get(b"/ping"),
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: upgrade\r\nUpgrade: h2c\r\n",
    b"Impersonate-User: admin\r\n",
    b"\r\n\r\n",
    b" ",
    b"\x00\xff\r\n",
    b"0\r\n\r\n",
]


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_requests(rounds: int) -> None:
    """Whatever clients send, backends see sound requests only, with the body that they announce."""
    mutate = Mutator(2, REQUESTS)
    desk = Desk()

    def check(call: Call) -> None:
        assert http1.forwardable(call.request.head, call.request.upgrade)
        assert len(call.request.head) <= http1.MAX_HEAD
        assert b'"u-alice"' in call.claim
        open_calls.append(call)
        reached.add(call.target)

    open_calls: list[Call] = []
    reached: set[bytes] = set()
    desk.cluster.answers = check
    client = desk.client(linger=0)

    def step() -> None:
        nonlocal client
        if client.closed or not client.reading or client.protocol._deaf:
            if not client.lost:
                client.vanish()
            client = desk.client(linger=0)
        client.feed(mutate())
        while open_calls and len(open_calls) < 1000:
            call = open_calls.pop()
            if call.finished:
                assert call.request.length in {-1, len(call.body)}
            if not call.resets:
                call.answer(b"x")
        client.take()
        for backend in desk.backends:
            backend.calls.clear()
        desk.ledger.finished.clear()

    await watched(rounds, step)
    assert {b"/a", b"/b", b"/c", b"/d", b"/e"} <= reached  # the sound ones among them are served
    assert len(desk.dispatcher.connections) <= 1


ANSWERS = [
    OK,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: x\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nbody",
    b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno",
    b"Connection: close\r\n",
    b"Content-Length: 7\r\n",
    b"\r\n",
]


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_answers(rounds: int) -> None:
    """Whatever an API server sends, only well-formed answers pass, each request ends once, nothing leaks."""
    mutate = Mutator(3, ANSWERS)
    server = Server()
    server.credentials.admits = False
    before = size()
    for number in range(rounds // 10):
        heard, _ = server.open()
        await settle() if not server.idle else await asyncio.sleep(0)
        wire = server.wires[-1]
        wire.feed(mutate())
        assert http1.well_formed(heard.lines)
        assert http1.well_formed(heard.trailers)
        if not heard.over:
            wire.vanish(politely=True)
            await settle()
            if not heard.over:  # repeated on a new connection
                server.wires[-1].vanish()
                await settle()
        assert heard.over
        await asyncio.sleep(0)
        assert len(server.pool._open) <= 1
        del server.wires[:-1]
        if number % 4096 == 0:
            assert bounded(before)
    assert bounded(before)
