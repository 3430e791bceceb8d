"""Whole requests over real sockets: client → gateway → tunnel → agent → API server."""

import asyncio
import os
import ssl
from typing import Any, NamedTuple

import httptools
import pytest

from outrider.tunnel.session import DialError
from tests.integration.datapath.conftest import DataPath
from tests.support.memory import Peak
from tests.support.raw_api import Asked, answer, read_body

MB = 1 << 20
ALLOWED = 40.0
"""MB for client, gateway, agent and API server together: they share this process."""

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


class Got(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def head(target: str, method: str = "GET", *lines: str, cluster: str = "c-1") -> bytes:
    wanted = [f"{method} /k8s/clusters/{cluster}{target} HTTP/1.1", "Host: outrider.test", *lines]
    return "\r\n".join([*wanted, "Authorization: Bearer x", "", ""]).encode()


class Parsed:
    """Reads one answer with a parser that is not ours; `size` is all that is kept of a large body."""

    def __init__(self, method: str = "GET") -> None:
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.size = 0
        self.complete = False
        self.headed = asyncio.Event()
        self.parser = httptools.HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode()

    def on_headers_complete(self) -> None:
        self.headed.set()

    def on_body(self, data: bytes) -> None:
        self.size += len(data)
        if self.size < MB:
            self.body += data

    def on_message_complete(self) -> None:
        self.complete = self.parser.get_status_code() >= 200

    @property
    def status(self) -> int:
        return int(self.parser.get_status_code())


class BrokenOffError(Exception):
    """The connection ended before the answer did."""


async def receive(reader: Reader, *, parsed: Parsed | None = None, seconds: float = 20.0) -> Got:
    parsed = parsed or Parsed()
    async with asyncio.timeout(seconds):
        while not parsed.complete:
            try:
                data = await reader.read(65536)
            except (ConnectionError, ssl.SSLError) as error:
                raise BrokenOffError from error
            if not data:
                raise BrokenOffError
            parsed.parser.feed_data(data)
    return Got(parsed.status, parsed.headers, bytes(parsed.body))


class Client:
    """One kept connection."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def of(cls, path: DataPath) -> "Client":
        return cls(*await path.connect())

    async def get(self, target: str = "/x", method: str = "GET", *lines: str, **more: Any) -> Got:
        self.writer.write(head(target, method, *lines, **more))
        return await receive(self.reader)

    async def close(self) -> None:
        self.writer.transport.abort()
        await asyncio.sleep(0)


@pytest.fixture
async def client(path: DataPath) -> Any:
    await path.agent()
    client = await Client.of(path)
    yield client
    await client.close()


async def until(condition: Any, seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_request_and_its_answer(path: DataPath, client: Client) -> None:
    for number in range(5):
        assert await client.get(f"/api/{number}") == (200, {"content-length": "6"}, f"/api/{number}".encode())
    assert path.api.connections == 1
    asked = path.api.requests[0]
    assert asked.headers == {
        "host": f"127.0.0.1:{path.api.port}",
        "authorization": "Bearer one",
        "impersonate-user": "u-alice",
        "x-forwarded-for": "127.0.0.1",
    }


async def test_100_mb_down_in_bounded_memory(path: DataPath, client: Client) -> None:
    block = os.urandom(MB)

    async def serve(asked: Asked, reader: Reader, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            writer.write(b"%x\r\n" % MB + block + b"\r\n")
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    path.api.handler = serve
    await client.get("/warm")
    peak = Peak(os.getpid())
    parsed = Parsed()
    client.writer.write(head("/big"))
    await receive(client.reader, parsed=parsed, seconds=60)
    assert parsed.size == 100 * MB
    assert peak.growth < ALLOWED


@pytest.mark.parametrize("framing", ["chunked", "length"])
async def test_50_mb_up_in_bounded_memory(path: DataPath, client: Client, framing: str) -> None:
    async def serve(asked: Asked, reader: Reader, writer: Writer) -> None:
        await asyncio.sleep(0.1)  # not ready yet
        writer.write(answer(b"%d" % await read_body(asked, reader)))

    path.api.handler = serve
    await client.get("/warm")
    peak = Peak(os.getpid())
    block = os.urandom(MB)
    line = "Transfer-Encoding: chunked" if framing == "chunked" else f"Content-Length: {50 * MB}"
    client.writer.write(head("/up", "PUT", line))
    for _ in range(50):
        client.writer.write(b"%x\r\n" % MB + block + b"\r\n" if framing == "chunked" else block)
        await client.writer.drain()
    if framing == "chunked":
        client.writer.write(b"0\r\n\r\n")
    assert (await receive(client.reader, seconds=60)).body == b"%d" % (50 * MB)
    assert peak.growth < ALLOWED
    assert (await client.get("/after")).status == 200
    assert path.api.connections == 1


async def test_a_stalled_reader_beside_fast_ones(path: DataPath, client: Client) -> None:
    sent = 0

    async def serve(asked: Asked, reader: Reader, writer: Writer) -> None:
        nonlocal sent
        if asked.target != "/endless":
            writer.write(answer(b"y" * 100_000))
            return
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"ffff\r\n" + bytes(0xFFFF) + b"\r\n")
            await writer.drain()
            sent += 0xFFFF

    path.api.handler = serve
    stalled = await Client.of(path)
    stalled.writer.transport.pause_reading()  # type: ignore[attr-defined]
    peak = Peak(os.getpid())
    stalled.writer.write(head("/endless"))
    await until(lambda: sent)
    before = -1
    while sent != before:  # until everything on the way is full
        before = sent
        await asyncio.sleep(0.3)
    for _ in range(50):
        assert len((await client.get("/quick")).body) == 100_000
    assert sent == before
    assert sent < 24 * MB
    assert peak.growth < ALLOWED
    await stalled.close()
    await until(lambda: not path.registry.find("c-1").streams)  # type: ignore[union-attr]


class TestKeptConnections:
    async def test_that_are_closed_between_requests_are_replaced(
        self, path: DataPath, client: Client
    ) -> None:
        async def serve(asked: Asked, reader: Reader, writer: Writer) -> None:
            writer.write(answer(b"%d" % asked.connection))
            await writer.drain()
            writer.close()

        path.api.handler = serve
        for number in range(1, 4):
            assert (await client.get("/x", "POST", "Content-Length: 0")).body == b"%d" % number
            await asyncio.sleep(0.02)

    async def test_that_break_under_a_repeatable_request(self, path: DataPath, client: Client) -> None:
        async def serve(asked: Asked, reader: Reader, writer: Writer) -> None:
            if asked.target == "/y" and asked.connection == 1:
                writer.transport.abort()
            else:
                writer.write(answer(b"%d" % asked.connection))

        path.api.handler = serve
        await client.get("/x")
        assert await client.get("/y") == (200, {"content-length": "1"}, b"2")
        assert [asked.target for asked in path.api.requests] == ["/x", "/y", "/y"]

    async def test_that_break_under_a_change(self, path: DataPath, client: Client) -> None:
        async def serve(asked: Asked, reader: Reader, writer: Writer) -> None:
            if asked.method == "POST":
                writer.transport.abort()
            else:
                writer.write(answer(b""))

        path.api.handler = serve
        await client.get("/x")
        got = await client.get("/y", "POST", "Content-Length: 0")
        assert got.status == 502
        assert "retry-after" not in got.headers
        assert [asked.method for asked in path.api.requests] == ["GET", "POST"]
        assert (await client.get("/z")).status == 200


@pytest.mark.parametrize(
    "half",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400\r\nhalf",
    ],
)
@pytest.mark.parametrize("politely", [True, False])
async def test_half_an_answer_is_never_taken_for_a_whole_one(
    path: DataPath, client: Client, half: bytes, politely: bool
) -> None:
    async def serve(asked: Asked, reader: Reader, writer: Writer) -> None:
        writer.write(half)
        await writer.drain()
        await asyncio.sleep(0.02)
        if politely:
            writer.close()
        else:
            writer.transport.abort()

    path.api.handler = serve
    with pytest.raises((BrokenOffError, httptools.HttpParserError)):
        await client.get()


async def test_chunks_that_are_none(path: DataPath, client: Client) -> None:
    async def serve(asked: Asked, reader: Reader, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.write(b"zz\r\n")

    path.api.handler = serve
    with pytest.raises(BrokenOffError):
        await client.get()


async def test_what_breaks_before_its_head_is_an_error_that_can_be_read(
    path: DataPath, client: Client
) -> None:
    async def serve(asked: Asked, reader: Reader, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-")
        await writer.drain()
        writer.close()

    path.api.handler = serve
    got = await client.get()
    assert got.status == 503
    assert b"broke off" in got.body


async def test_a_stale_credential_is_renewed_and_the_request_repeated_once(
    path: DataPath, client: Client
) -> None:
    async def serve(asked: Asked, reader: Reader, writer: Writer) -> None:
        good = asked.headers["authorization"] == "Bearer one+"
        writer.write(answer(b"ok") if good else answer(b"no", "401 Unauthorized"))

    path.api.handler = serve
    assert (await client.get()).body == b"ok"
    assert (await client.get()).body == b"ok"
    tokens = [asked.headers["authorization"] for asked in path.api.requests]
    assert tokens == ["Bearer one", "Bearer one+", "Bearer one+"]


async def test_a_refusal_that_stays_is_passed_on(path: DataPath, client: Client) -> None:
    async def serve(asked: Asked, reader: Reader, writer: Writer) -> None:
        writer.write(answer(b"no", "401 Unauthorized"))

    path.api.handler = serve
    assert await client.get() == (401, {"content-length": "2"}, b"no")
    assert len(path.api.requests) == 2


async def test_an_early_answer_reaches_its_client(path: DataPath, client: Client) -> None:
    async def serve(asked: Asked, reader: Reader, writer: Writer) -> None:
        writer.write(answer(b"too large", "413 Content Too Large"))
        await writer.drain()
        writer.close()

    path.api.handler = serve
    client.writer.write(head("/up", "POST", f"Content-Length: {3 * MB}") + bytes(MB))
    assert (await receive(client.reader)).status == 413
    client.writer.write(bytes(2 * MB))
    assert (await client.get("/next")).status == 413
    assert path.api.connections == 2


async def test_waiting_to_be_asked_for_a_body(path: DataPath, client: Client) -> None:
    async def serve(asked: Asked, reader: Reader, writer: Writer) -> None:
        assert asked.headers["expect"] == "100-continue"
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        writer.write(answer(b"%d" % await read_body(asked, reader)))

    path.api.handler = serve
    client.writer.write(head("/x", "PUT", "Content-Length: 5", "Expect: 100-continue"))
    assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.writer.write(b"hello")
    assert (await receive(client.reader)).body == b"5"


async def test_trailers(path: DataPath, client: Client) -> None:
    async def serve(asked: Asked, reader: Reader, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nSum: 1\r\n\r\n")

    path.api.handler = serve
    client.writer.write(head("/x"))
    whole = await client.reader.readuntil(b"Sum: 1\r\n\r\n")
    assert whole.endswith(b"0\r\nSum: 1\r\n\r\n")


async def test_raw_bytes_after_a_switch(path: DataPath, client: Client) -> None:
    async def serve(asked: Asked, reader: Reader, writer: Writer) -> None:
        assert asked.headers["connection"] == "Upgrade"
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\nhi"
        )
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    path.api.handler = serve
    client.writer.write(head("/exec", "POST", "Connection: Upgrade", "Upgrade: SPDY/3.1"))
    switched = await client.reader.readuntil(b"\r\n\r\nhi")
    assert switched.startswith(b"HTTP/1.1 101 ")
    block = os.urandom(MB)

    async def send() -> None:
        for _ in range(20):
            client.writer.write(block)
            await client.writer.drain()

    sending = asyncio.create_task(send())
    for _ in range(20):
        assert await client.reader.readexactly(MB) == block
    await sending


async def test_a_client_that_vanishes_ends_the_request_at_the_api_server(
    path: DataPath, client: Client
) -> None:
    ended = asyncio.Event()

    async def serve(asked: Asked, reader: Reader, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n")
        await writer.drain()
        try:
            await reader.readexactly(1)
        finally:
            ended.set()

    path.api.handler = serve
    client.writer.write(head("/watch"))
    await client.reader.readuntil(b"{}\r\n")
    await client.close()
    async with asyncio.timeout(5):
        await ended.wait()
    await until(lambda: not path.dispatcher.connections)
    (agent,) = path.agents
    await until(lambda: not agent.sessions[0].streams)
    assert not agent.pool._open


class TestTunnels:
    async def test_one_that_is_cut_in_the_middle_of_an_answer(self, path: DataPath, client: Client) -> None:
        async def serve(asked: Asked, reader: Reader, writer: Writer) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
            await writer.drain()
            await reader.read(1)

        path.api.handler = serve
        parsed = Parsed()
        client.writer.write(head("/watch"))
        receiving = asyncio.create_task(receive(client.reader, parsed=parsed))
        await parsed.headed.wait()
        path.agents[0].sessions[0].drop("cut")
        with pytest.raises(BrokenOffError):
            await receiving
        await until(lambda: not path.agents[0].pool._open)

    async def test_one_that_is_cut_before_the_answer(self, path: DataPath, client: Client) -> None:
        async def serve(asked: Asked, reader: Reader, writer: Writer) -> None:
            path.agents[0].sessions[0].drop("cut")
            await reader.read(1)

        path.api.handler = serve
        got = await client.get()
        assert (got.status, got.headers["retry-after"]) == (503, "5")
        await until(lambda: path.registry.find("c-1") is None)
        again = await client.get()
        assert again.status == 503
        assert b"cluster agent disconnected" in again.body

    async def test_two_of_one_cluster(self, path: DataPath, client: Client) -> None:
        second = await path.agent("c-1")
        assert len(list(path.registry)) == 2
        await client.get()
        assert len(second.pool._open) == 1  # the newest serves
        second.sessions[0].drop("cut")
        await until(lambda: len(list(path.registry)) == 1)
        assert (await client.get()).status == 200
        assert len(path.agents[0].pool._open) == 1

    async def test_one_that_closes_takes_no_new_requests(self, path: DataPath, client: Client) -> None:
        second = await path.agent("c-1")
        path.registry.find("c-1").close("the registration was deleted")  # type: ignore[union-attr]
        assert (await client.get()).status == 200
        assert await second.sessions[0].closed == "the registration was deleted"

    async def test_clusters_do_not_meet(self, path: DataPath, client: Client) -> None:
        other = await path.agent("c-2")
        other.credentials.token = "two"
        await client.get("/one")
        await client.get("/two", cluster="c-2")
        assert (await client.get("/three", cluster="c-3")).status == 503
        seen = {asked.target: asked.headers["authorization"] for asked in path.api.requests}
        assert seen == {"/one": "Bearer one", "/two": "Bearer two"}

    async def test_a_silent_agent_is_dropped(self, path: DataPath, client: Client) -> None:
        session = path.registry.find("c-1")
        assert session is not None
        path.registry.sweep()
        assert session.usable
        session.heard -= 31
        path.registry.sweep()
        assert "silent" in await session.closed
        await asyncio.sleep(0)
        assert path.registry.find("c-1") is None
        closed = path.told[-1]
        assert (type(closed).__name__, closed.cluster) == ("SessionClosed", "c-1")

    async def test_a_sign_of_life_keeps_it(self, path: DataPath, client: Client) -> None:
        session = path.registry.find("c-1")
        assert session is not None
        session.heard -= 31
        path.agents[0].sessions[0].ping()
        await until(lambda: session.heard > asyncio.get_running_loop().time() - 1)

    async def test_the_agent_is_told_why_it_is_refused(self, path: DataPath, client: Client) -> None:
        from outrider.tunnel.agent import AgentSession
        from outrider.tunnel.session import dial

        with pytest.raises(DialError, match="401 no such token") as caught:
            await dial(
                f"wss://127.0.0.1:{path.port}/v3/connect",
                path.certificates.client,
                {"X-API-Tunnel-Token": "wrong"},
                AgentSession(path.agents[0].pool, lambda session, body: None),
            )
        assert caught.value.status == 401

    async def test_what_comes_with_the_handshake_is_heard(self, path: DataPath) -> None:
        """A tunnel's first frame in the same TCP segment as its handshake, and a request of no tunnel beside it."""
        from outrider.tunnel import frames
        from tests.support.tunnels import frame

        payload = frame(frames.MESSAGE | frames.FIN, 0, b'{"hello":1}')
        masked = bytes([0x82, 0x80 | len(payload), 0, 0, 0, 0]) + payload
        reader, writer = await path.connect()
        params = "eyJjbHVzdGVyIjoiYy0xIn0="
        writer.write(
            b"GET /v3/connect HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
            b"X-API-Tunnel-Token: secret\r\nX-API-Tunnel-Params: " + params.encode() + b"\r\n\r\n" + masked
        )
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        await until(lambda: len(path.told) == 2)
        assert [type(message).__name__ for message in path.told] == ["SessionOpened", "FromAgent"]
        writer.transport.abort()
        await until(lambda: len(path.told) == 3)

    @pytest.mark.parametrize("lines", [b"", b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n"])
    async def test_a_handshake_that_is_none(self, path: DataPath, client: Client, lines: bytes) -> None:
        path.told.clear()
        reader, writer = await path.connect()
        writer.write(
            b"GET /v3/connect HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"X-API-Tunnel-Token: secret\r\n" + lines + b"\r\n"
        )
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
        writer.transport.abort()
        assert not path.told

    async def test_hostile_frames_end_only_their_own_tunnel(self, path: DataPath, client: Client) -> None:
        hostile = await path.agent("c-2")
        hostile.sessions[0].send_frame(99, 7, b"nonsense")
        assert "protocol error" in await hostile.sessions[0].closed
        assert (await client.get()).status == 200


async def test_200_watches_on_one_tunnel(path: DataPath, client: Client) -> None:
    events = asyncio.Event()

    async def serve(asked: Asked, reader: Reader, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await writer.drain()
        await events.wait()
        line = asked.target.encode()
        writer.write(b"%x\r\n" % len(line) + line + b"\r\n0\r\n\r\n")

    path.api.handler = serve
    watchers = [await Client.of(path) for _ in range(200)]
    asked = [asyncio.create_task(watcher.get(f"/watch/{n}")) for n, watcher in enumerate(watchers)]
    await until(lambda: len(path.api.requests) == 200, 30)
    events.set()
    assert [got.body for got in await asyncio.gather(*asked)] == [f"/watch/{n}".encode() for n in range(200)]
    for watcher in watchers:
        await watcher.close()
