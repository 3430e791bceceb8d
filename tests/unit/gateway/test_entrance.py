"""How many connections are let in, from whom, and what those get that come when the house is full."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from typing import Any

import pytest

from outrider.gateway import entrance, listener
from outrider.gateway.config import ConnectionLimits
from outrider.gateway.connection import ClientConnection
from outrider.gateway.entrance import Crowd, bound, fitting, origin_of
from outrider.gateway.exchange import Exchange
from outrider.gateway.listener import Listeners
from tests.support.proc import until
from tests.unit.gateway.desk import Desk, body, get, header, status

SMALL = ConnectionLimits(total=3, per_address=3, reserve=2)
REFUSED = "outrider_gateway_refused_connections_total"
Listening = Callable[..., Awaitable[int]]


def nobody(address: str) -> bool:
    return False


class TestCrowd:
    def test_the_reserve_comes_after_the_total(self) -> None:
        crowd = Crowd(SMALL, nobody)
        places = [crowd.enter(f"192.0.2.{number}") for number in range(7)]
        assert [place and place.spare for place in places] == [False, False, False, True, True, None, None]
        assert crowd.values()[f'{REFUSED}{{reason="total"}}'] == 2
        assert crowd.crowded
        for place in places[:3]:
            assert place is not None
            place.leave()
            place.leave()
        assert (crowd.inside, crowd.crowded) == (2, False)
        assert crowd.enter("192.0.2.9") is not None

    def test_one_address_does_not_take_everything(self) -> None:
        crowd = Crowd(ConnectionLimits(total=100, per_address=2, reserve=5), nobody)
        kept = [crowd.enter("192.0.2.1") for _ in range(3)]
        assert kept[2] is None
        assert crowd.enter("192.0.2.2") is not None
        assert crowd.values()[f'{REFUSED}{{reason="address"}}'] == 1
        assert kept[0] is not None
        kept[0].leave()
        assert crowd.enter("192.0.2.1") is not None

    def test_behind_a_trusted_proxy_many_are_one_address(self) -> None:
        crowd = Crowd(ConnectionLimits(total=100, per_address=2, reserve=5), lambda a: a == "10.0.0.1")
        assert all(crowd.enter("10.0.0.1") for _ in range(50))
        assert not all(crowd.enter("10.0.0.2") for _ in range(3))

    def test_nothing_is_remembered_of_who_left(self) -> None:
        crowd = Crowd(SMALL, nobody)
        for number in range(1000):
            place = crowd.enter(f"192.0.{number // 250}.{number % 250}")
            assert place is not None
            place.leave()
        assert not crowd._of_origin


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("", "", True),
    ],
)
def test_what_one_stranger_commands(one: str, other: str, same: bool) -> None:
    assert (origin_of(one) == origin_of(other)) is same


@pytest.mark.parametrize("descriptors", [64, 1024, 4096, 20_000, 1_048_576])
def test_limits_fit_the_descriptors(descriptors: int) -> None:
    limits = fitting(ConnectionLimits(), descriptors)
    assert limits.total > 0
    assert limits.reserve > 0
    assert limits.total <= 4096
    if descriptors >= 1024:
        assert 2 * (limits.total + limits.reserve) + entrance.KEPT_DESCRIPTORS <= descriptors
    if descriptors >= 20_000:
        assert limits == ConnectionLimits()


# real sockets


@pytest.fixture
async def desk() -> Desk:
    return Desk()


@pytest.fixture
async def listening(desk: Desk) -> AsyncIterator[Listening]:
    """Opens a front door without TLS for the desk; returns its port."""
    made: list[Listeners] = []

    async def listen(limits: ConnectionLimits, **more: Any) -> int:
        made.append(Listeners(desk.dispatcher, limits, **more))
        desk.door = made[-1]  # type: ignore[attr-defined]
        return await made[-1].listen("127.0.0.1", 0, tls=False)

    yield listen
    for one in made:
        await one.close()
    for connection in list(desk.dispatcher.connections):
        connection.abort("the test ends")
    await until(lambda: not desk.dispatcher.connections)


class Client:
    """A client at an address of its own choice."""

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self.end = socket.socket()
        self.end.setblocking(False)
        self.end.bind((source, 0))
        self.port = port

    async def connect(self) -> "Client":
        await asyncio.get_running_loop().sock_connect(self.end, ("127.0.0.1", self.port))
        return self

    async def ask(self, path: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(5):
                await loop.sock_sendall(self.end, get(path))
                return await loop.sock_recv(self.end, 65536)
        except ConnectionError:
            return b""


async def clients(stack: ExitStack, port: int, *sources: str) -> list[Client]:
    made = [Client(port, source) for source in sources]
    for one in made:
        stack.callback(one.end.close)
        await one.connect()
    return made


async def test_a_full_house_serves_agents_and_probes_and_tells_others_why(
    desk: Desk, listening: Listening
) -> None:
    port = await listening(SMALL)
    with ExitStack() as stack:
        inside = await clients(stack, port, *(f"127.0.0.{n}" for n in range(1, 4)))
        for one in inside:
            assert status(await one.ask(b"/ping")) == 200
        late, agent = await clients(stack, port, "127.0.0.8", "127.0.0.9")
        answer = await late.ask(b"/v3/clusters")
        assert status(answer) == 503
        assert int(header(answer, b"retry-after")) > 0
        assert header(answer, b"connection") == b"close"
        assert b"too many connections" in body(answer)
        assert not desk.control.calls
        assert status(await agent.ask(b"/healthz")) == 200
        asked = asyncio.ensure_future(agent.ask(b"/v3/connect"))
        await until(lambda: bool(desk.tunnelled))
        asked.cancel()
        # who is inside does not notice
        for one in inside:
            assert status(await one.ask(b"/ping")) == 200


async def test_the_last_segment_of_an_answer_waits_for_no_acknowledgement(
    desk: Desk, listening: Listening
) -> None:
    port = await listening(SMALL)
    with ExitStack() as stack:
        (inside,) = await clients(stack, port, "127.0.0.1")
        assert status(await inside.ask(b"/ping")) == 200
        (connection,) = desk.dispatcher.connections
        end = connection._transport.get_extra_info("socket")
        assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_beyond_the_reserve_connections_are_closed_unread(desk: Desk, listening: Listening) -> None:
    port = await listening(SMALL)
    with ExitStack() as stack:
        await clients(stack, port, *(f"127.0.0.{n}" for n in range(1, 6)))
        (one,) = await clients(stack, port, "127.0.0.7")
        assert await one.ask(b"/ping") == b""
        assert len(desk.dispatcher.connections) == 5


async def test_an_address_beyond_its_share_is_refused_and_others_are_not(
    desk: Desk, listening: Listening
) -> None:
    port = await listening(ConnectionLimits(total=50, per_address=2, reserve=5))
    with ExitStack() as stack:
        first, _, third = await clients(stack, port, *["127.0.0.2"] * 3)
        (other,) = await clients(stack, port, "127.0.0.3")
        assert await third.ask(b"/ping") == b""
        assert status(await first.ask(b"/ping")) == 200
        assert status(await other.ask(b"/ping")) == 200
        first.end.close()
        await until(lambda: len(desk.dispatcher.connections) == 2)
        (again,) = await clients(stack, port, "127.0.0.2")
        assert status(await again.ask(b"/ping")) == 200


async def test_a_tunnel_is_no_client(desk: Desk, listening: Listening) -> None:
    """A connection that was handed over has left, whatever becomes of it."""
    port = await listening(SMALL)

    async def adopt(exchange: Exchange) -> None:
        exchange.done = True
        transport, _ = exchange.connection.release()
        assert transport is not None
        transport.set_protocol(asyncio.Protocol())
        adopted.append(transport)

    adopted: list[asyncio.Transport] = []
    desk.dispatcher._tunnel = adopt
    with ExitStack() as stack:
        for number in range(1, 11):
            (agent,) = await clients(stack, port, "127.0.0.1")
            asked = asyncio.ensure_future(agent.ask(b"/v3/connect"))
            await until(lambda wanted=number: len(adopted) == wanted)
            asked.cancel()
        (client,) = await clients(stack, port, "127.0.0.1")
        assert status(await client.ask(b"/ping")) == 200
    for transport in adopted:
        transport.abort()


async def test_idle_connections_make_room_in_a_full_house(desk: Desk, listening: Listening) -> None:
    port = await listening(SMALL)
    door: Listeners = desk.door  # type: ignore[attr-defined]
    with ExitStack() as stack:
        await clients(stack, port, *(f"127.0.0.{n}" for n in range(1, 4)))
        await until(lambda: len(desk.dispatcher.connections) == 3)
        assert door.patience == listener.IDLE_SECONDS
        await clients(stack, port, "127.0.0.5")
        await until(lambda: len(desk.dispatcher.connections) == 4)
        assert door.patience == listener.CROWDED_IDLE_SECONDS
        later = asyncio.get_running_loop().time() + listener.CROWDED_IDLE_SECONDS + 1
        listener.sweep(desk.dispatcher.connections, later, idle=door.patience)
        await until(lambda: not desk.dispatcher.connections)
        assert door.patience == listener.IDLE_SECONDS
        desk.control.answers = lambda call: call.answer(b"{}")
        (one,) = await clients(stack, port, "127.0.0.6")
        assert status(await one.ask(b"/v3/clusters")) == 200


async def test_out_of_descriptors(desk: Desk, listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    """The listening socket rests a moment instead of burning, and whoever waits gets in afterwards."""
    monkeypatch.setattr(entrance, "RETRY_SECONDS", 0.05)
    port = await listening(ConnectionLimits())
    door: Listeners = desk.door  # type: ignore[attr-defined]
    (way,) = door._entrances
    real, failures = way._listening, 0

    class Spent:
        def accept(self) -> Any:
            nonlocal failures
            failures += 1
            if failures < 3:
                raise OSError(errno.EMFILE, "too many open files")
            return real.accept()

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

    way._listening = Spent()  # type: ignore[assignment]
    with ExitStack() as stack:
        (one,) = await clients(stack, port, "127.0.0.1")
        began = asyncio.get_running_loop().time()
        assert status(await one.ask(b"/ping")) == 200
        assert asyncio.get_running_loop().time() - began >= 0.09
        assert failures in {3, 4}


async def test_a_port_in_use_is_an_error(desk: Desk, listening: Listening) -> None:
    port = await listening(SMALL)
    with pytest.raises(OSError, match="in use"):
        await bound("127.0.0.1", port)
    with pytest.raises(OSError, match="no address of"):
        await bound("192.0.2.1", 0)


async def test_closing_ends_what_has_not_begun(desk: Desk, listening: Listening) -> None:
    port = await listening(SMALL)
    door: Listeners = desk.door  # type: ignore[attr-defined]
    with ExitStack() as stack:
        (one,) = await clients(stack, port, "127.0.0.1")
        assert status(await one.ask(b"/ping")) == 200
        await door.close()
        await door.close()
        assert status(await one.ask(b"/ping")) == 200
        with pytest.raises(ConnectionRefusedError):
            await clients(stack, port, "127.0.0.1")
    assert all(isinstance(one, ClientConnection) for one in desk.dispatcher.connections)
