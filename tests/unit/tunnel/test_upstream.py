"""One connection to an API server, and the pool that keeps it."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outrider.kit import http1
from outrider.tunnel import frames
from outrider.tunnel import pool as pools
from outrider.tunnel.exchange import CredentialError, CredentialSource, Upstream
from outrider.tunnel.frames import Request
from outrider.tunnel.pool import UpstreamPool
from outrider.tunnel.upstream import UpstreamConnection
from tests.support.tunnels import Heard
from tests.support.wire import Wire

GET = Request(b"GET /x HTTP/1.1\r\nA: b\r\n")
POST = Request(b"POST /x HTTP/1.1\r\n")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Credentials(CredentialSource):
    """Ready at once, or after a while, or never."""

    def __init__(self) -> None:
        self.block: bytes | None = b"authorization: Bearer x\r\n"
        self.prepared: asyncio.Future[bytes] | None = None
        self.rejections = 0
        self.admits = True

    def header_block(self, claim: bytes) -> bytes | None:
        return self.block

    async def prepare(self, claim: bytes) -> bytes:
        assert self.prepared is not None
        return await self.prepared

    def rejected(self, claim: bytes) -> bool:
        self.rejections += 1
        return self.admits


class Server:
    """What the pool connects to: wires that a test answers on."""

    def __init__(self, **options: Any) -> None:
        self.wires: list[Wire] = []
        self.credentials = Credentials()
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.pool = UpstreamPool(self.connect, self.credentials, host="api.test:6443", **options)

    async def connect(self, factory: Any) -> UpstreamConnection:
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        protocol: UpstreamConnection = factory()
        self.wires.append(Wire(protocol).connect())
        return protocol

    def open(self, request: Request = GET) -> tuple[Heard, Upstream]:
        heard = Heard()
        return heard, self.pool.open(request, b"claim", heard)

    async def call(self, request: Request = GET, answer: bytes = OK) -> Heard:
        heard, _ = self.open(request)
        await settle()
        self.wires[-1].feed(answer)
        return heard

    @property
    def idle(self) -> int:
        return len(self.pool._idle)


async def settle() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


@pytest.fixture
async def server() -> Server:
    return Server()


class TestRequests:
    async def test_a_head_is_what_came_and_what_we_add(self, server: Server) -> None:
        server.open()
        await settle()
        assert server.wires[0].take() == (
            b"GET /x HTTP/1.1\r\nA: b\r\nhost: api.test:6443\r\nauthorization: Bearer x\r\n\r\n"
        )

    async def test_a_body_of_known_length(self, server: Server) -> None:
        _, upstream = server.open(Request(b"PUT /x HTTP/1.1\r\n", 5))
        upstream.send(b"ab")  # before there is a connection
        await settle()
        upstream.send(b"cde")
        upstream.finish()
        head, _, body = server.wires[0].take().partition(b"\r\n\r\n")
        assert b"content-length: 5" in head
        assert body == b"abcde"

    async def test_chunks(self, server: Server) -> None:
        _, upstream = server.open(Request(b"PUT /x HTTP/1.1\r\n", -1))
        upstream.send(b"ab")
        upstream.finish()
        await settle()
        head, _, body = server.wires[0].take().partition(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head
        assert body == b"2\r\nab\r\n0\r\n\r\n"

    async def test_a_longer_body_than_announced_cannot_become_a_request(self, server: Server) -> None:
        heard, upstream = server.open(Request(b"PUT /x HTTP/1.1\r\n", 2))
        await settle()
        upstream.send(b"okGET /smuggled HTTP/1.1\r\n\r\n")
        assert b"smuggled" not in server.wires[0].take()
        assert server.wires[0].aborted
        assert heard.reason

    async def test_a_shorter_body_than_announced_cannot_swallow_a_request(self, server: Server) -> None:
        heard, upstream = server.open(Request(b"PUT /x HTTP/1.1\r\n", 2))
        await settle()
        upstream.send(b"o")
        upstream.finish()
        assert server.wires[0].aborted
        assert heard.reason

    async def test_an_early_answer_ends_the_connection(self, server: Server) -> None:
        heard, upstream = server.open(Request(b"PUT /x HTTP/1.1\r\n", 100))
        await settle()
        server.wires[0].feed(OK)
        assert heard.ended
        upstream.send(b"late")
        upstream.finish()
        await settle()
        assert server.idle == 0
        assert server.wires[0].closed
        assert b"late" not in server.wires[0].take()


class TestAnswers:
    @pytest.mark.parametrize("size", [0, 1, 3])
    async def test_parts(self, server: Server, size: int) -> None:
        heard, _ = server.open()
        await settle()
        server.wires[0].feed(b"HTTP/1.1 201 Created\r\nA: b\r\nContent-Length: 4\r\nX: y\r\n\r\nbody", size)
        assert (heard.status, heard.length, heard.lines) == (201, 4, b"A: b\r\nX: y\r\n")
        assert bytes(heard.body) == b"body"
        assert heard.ended
        assert server.idle == 1

    @pytest.mark.parametrize("size", [0, 1, 3])
    async def test_chunks_and_trailers(self, server: Server, size: int) -> None:
        heard, _ = server.open()
        await settle()
        server.wires[0].feed(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Sum\r\n\r\n"
            b"3\r\nabc\r\n2\r\nde\r\n0\r\nSum: 1\r\nKeep-Alive: 7\r\n\r\n",
            size,
        )
        assert (heard.length, bytes(heard.body), heard.trailers) == (-1, b"abcde", b"Sum: 1\r\n")
        assert b"railer" not in heard.lines
        assert server.idle == 1

    async def test_hop_by_hop_headers_end_here(self, server: Server) -> None:
        heard = await server.call(
            answer=b"HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n"
            b"Upgrade: h2c\r\nProxy-Authenticate: x\r\nX-End: 2\r\nContent-Length: 0\r\n\r\n"
        )
        assert heard.lines == b"X-End: 2\r\n"

    async def test_informational_ones(self, server: Server) -> None:
        heard = await server.call(
            answer=b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\nContent-Length: 9\r\n\r\n"
            + OK
        )
        assert heard.informational == [100, 103]
        assert (heard.status, heard.length, bytes(heard.body)) == (200, 2, b"ok")
        assert server.idle == 1

    @pytest.mark.parametrize("code", [b"204 No Content", b"304 Not Modified"])
    async def test_without_a_body(self, server: Server, code: bytes) -> None:
        heard = await server.call(answer=b"HTTP/1.1 " + code + b"\r\n\r\n")
        assert (heard.ended, heard.length) == (True, -1)
        assert server.idle == 1

    async def test_to_head(self, server: Server) -> None:
        request = Request(b"HEAD /x HTTP/1.1\r\n")
        for _ in range(2):
            heard = await server.call(request, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
            assert (heard.ended, heard.length, bytes(heard.body)) == (True, 100, b"")
        heard = await server.call()
        assert bytes(heard.body) == b"ok"
        assert len(server.wires) == 1

    async def test_to_head_and_the_end(self, server: Server) -> None:
        heard = await server.call(
            Request(b"HEAD /x HTTP/1.1\r\n"),
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\n",
        )
        assert heard.ended
        assert server.idle == 0

    async def test_that_end_with_the_connection(self, server: Server) -> None:
        heard = await server.call(answer=b"HTTP/1.0 200 OK\r\n\r\nbody")
        assert not heard.over
        server.wires[0].vanish(politely=True)
        assert heard.ended
        assert bytes(heard.body) == b"body"

    @pytest.mark.parametrize(
        "answer",
        [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
         b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
         b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n"],
    )  # fmt: skip
    async def test_that_are_cut_off(self, server: Server, answer: bytes) -> None:
        heard = await server.call(answer=answer)
        server.wires[0].vanish(politely=True)
        assert heard.reason
        assert not heard.ended

    async def test_a_switch(self, server: Server) -> None:
        heard, upstream = server.open(Request(GET.head, 0, b"websocket"))
        await settle()
        assert b"connection: Upgrade\r\nupgrade: websocket\r\n" in server.wires[0].take()
        server.wires[0].feed(
            b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nK: v\r\n\r\n\x81\x00"
        )
        assert (heard.status, heard.lines, bytes(heard.body)) == (101, b"K: v\r\n", b"\x81\x00")
        upstream.send(b"raw")
        server.wires[0].feed(b"HTTP/1.1 war")
        assert server.wires[0].take() == b"raw"
        assert bytes(heard.body) == b"\x81\x00HTTP/1.1 war"
        upstream.finish()
        await settle()
        assert server.wires[0].closed
        assert not server.wires[0].aborted
        assert heard.ended
        assert server.idle == 0

    async def test_a_refused_switch(self, server: Server) -> None:
        heard, _ = server.open(Request(GET.head, 0, b"websocket"))
        await settle()
        server.wires[0].feed(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
        assert heard.ended
        assert server.idle == 0  # the rest of the connection may speak either protocol

    @pytest.mark.parametrize(
        "answer",
        [
            b"nonsense\r\n\r\n",
            b"HTTP/1.1 099 Odd\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: \x00\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            b"HTTP/1.1 200 OK\nA: b\r\n\r\n",
            OK + OK,
            b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70_000 + b"\r\n\r\n",
        ],
    )
    async def test_that_are_none(self, server: Server, answer: bytes) -> None:
        heard = await server.call(answer=answer)
        assert heard.reason
        assert heard.status == 0
        assert server.wires[0].aborted
        assert server.idle == 0

    @pytest.mark.parametrize(
        "answer",
        [b"HTTP/1.1 200 OK\r\nA: ", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: "],
    )
    async def test_heads_and_trailers_without_end(self, server: Server, answer: bytes) -> None:
        heard = await server.call(answer=answer)
        for _ in range(1000):
            server.wires[0].feed(b"x" * 1000)
            if heard.reason:
                return
        pytest.fail("they may go on for ever")

    async def test_early_hints_without_end(self, server: Server) -> None:
        heard, _ = server.open()
        await settle()
        for _ in range(2000):
            server.wires[0].feed(b"HTTP/1.1 103 Early Hints\r\nA: " + b"x" * 1000 + b"\r\n\r\n")
            if heard.reason:
                return
        pytest.fail("they may go on for ever")

    async def test_that_nobody_asked_for(self, server: Server) -> None:
        await server.call()
        server.wires[0].feed(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
        await settle()
        assert server.wires[0].aborted
        assert server.idle == 0

    async def test_a_responder_that_resets_while_it_hears_hears_no_more(self, server: Server) -> None:
        class Done(Heard):
            def on_head(self, *arguments: Any) -> None:
                super().on_head(*arguments)
                upstream.reset()

        heard = Done()
        upstream = server.pool.open(GET, b"", heard)
        await settle()
        server.wires[0].feed(b"HTTP/1.1 103 Early\r\n\r\n" + OK)
        assert heard.informational == [103]
        assert heard.status == 0
        await settle()
        assert heard.reason is None


class TestRetries:
    async def test_a_dead_connection_is_replaced_once(self, server: Server) -> None:
        await server.call()
        heard, upstream = server.open()
        server.wires[0].vanish()
        await settle()
        assert len(server.wires) == 2
        assert server.wires[1].take().startswith(b"GET /x")
        upstream.pause()
        assert not server.wires[1].reading
        upstream.resume()
        server.wires[1].feed(OK)
        assert heard.ended

    async def test_but_only_once(self, server: Server) -> None:
        await server.call()
        heard, _ = server.open()
        server.wires[0].vanish()
        await settle()
        server.wires[1].vanish()
        await settle()
        assert heard.reason
        assert len(server.wires) == 2

    async def test_giving_up_reaches_the_second_attempt(self, server: Server) -> None:
        await server.call()
        heard, upstream = server.open()
        server.wires[0].vanish()
        await settle()
        upstream.reset()
        await settle()
        assert server.wires[1].aborted
        assert heard.reason is None

    @pytest.mark.parametrize("request_", [POST, Request(b"GET /x HTTP/1.1\r\n", 2)])
    async def test_what_may_have_been_carried_out_is_not_repeated(
        self, server: Server, request_: Request
    ) -> None:
        await server.call()
        heard, _ = server.open(request_)
        server.wires[0].vanish()
        await settle()
        assert heard.reason
        assert not heard.refused
        assert len(server.wires) == 1

    async def test_nor_what_was_answered_in_part(self, server: Server) -> None:
        await server.call()
        heard, _ = server.open()
        server.wires[0].feed(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        server.wires[0].vanish()
        await settle()
        assert heard.reason
        assert len(server.wires) == 1

    async def test_a_new_connection_that_dies_is_no_reason_to_repeat(self, server: Server) -> None:
        heard, _ = server.open()
        await settle()
        server.wires[0].vanish()
        assert heard.reason

    async def test_a_connection_that_closes_while_idle_is_not_used(self, server: Server) -> None:
        await server.call()
        server.wires[0].protocol.eof_received()
        heard, _ = server.open(POST)
        await settle()
        assert len(server.wires) == 2
        server.wires[1].feed(OK)
        assert heard.ended

    async def test_a_stale_credential_is_renewed_and_the_request_repeated(self, server: Server) -> None:
        heard, _ = server.open()
        await settle()
        server.credentials.block = b"authorization: Bearer new\r\n"
        server.wires[0].feed(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 3\r\n\r\nno!")
        await settle()
        assert heard.status == 0
        assert b"Bearer new" in server.wires[1].take()
        server.wires[1].feed(OK)
        assert heard.status == 200
        assert server.credentials.rejections == 1

    async def test_but_only_once_when_it_is_refused_again(self, server: Server) -> None:
        heard, _ = server.open()
        await settle()
        for wire in range(2):
            server.wires[wire].feed(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 3\r\n\r\nno!")
            await settle()
        assert (heard.status, bytes(heard.body)) == (401, b"no!")
        assert len(server.wires) == 2

    async def test_a_refusal_that_is_not_the_credentials_is_passed_on(self, server: Server) -> None:
        server.credentials.admits = False
        heard = await server.call(answer=b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 3\r\n\r\nno!")
        assert (heard.status, bytes(heard.body)) == (401, b"no!")

    async def test_a_change_with_a_stale_credential_was_not_carried_out(self, server: Server) -> None:
        heard = await server.call(POST, b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 3\r\n\r\nno!")
        assert heard.refused
        assert len(server.wires) == 1


class TestThePool:
    async def test_connections_are_kept_and_used_again(self, server: Server) -> None:
        for _ in range(5):
            heard = await server.call()
            assert heard.ended
        assert len(server.wires) == 1

    async def test_not_when_the_server_says_close(self, server: Server) -> None:
        await server.call(answer=b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        assert server.idle == 0

    async def test_only_so_many_are_kept(self) -> None:
        server = Server(spare=2)
        heard = [server.open()[0] for _ in range(5)]
        await settle()
        for wire in server.wires:
            wire.feed(OK)
        await settle()
        assert all(one.ended for one in heard)
        assert (server.idle, len(server.pool._open)) == (2, 2)

    async def test_only_so_many_at_once(self) -> None:
        server = Server(limit=3)
        server.gate.clear()
        heard = [server.open()[0] for _ in range(5)]
        await settle()
        server.gate.set()
        await settle()
        assert len(server.wires) == 3
        assert [one.refused for one in heard] == [False] * 3 + [True] * 2

    async def test_unused_ones_are_closed(self) -> None:
        server = Server(idle_seconds=0.0)
        await server.call()
        await asyncio.sleep(0.001)
        server.pool.sweep()
        await settle()
        assert server.wires[0].closed
        assert not server.pool._open

    @pytest.mark.parametrize("error", [ConnectionRefusedError(111, "refused"), TimeoutError()])
    async def test_no_connection(self, server: Server, error: Exception) -> None:
        server.error = error
        heard, _ = server.open(POST)
        await settle()
        assert heard.refused
        assert "cannot connect" in (heard.reason or "")

    async def test_an_error_that_nobody_expected(
        self, server: Server, caplog: pytest.LogCaptureFixture
    ) -> None:
        server.error = ZeroDivisionError()
        heard, _ = server.open()
        await settle()
        assert heard.reason == "internal error"
        assert "could not be started" in caplog.text

    async def test_a_connection_that_takes_too_long(self) -> None:
        server = Server(connect_timeout=0.01)
        server.gate.clear()
        heard, _ = server.open()
        await asyncio.sleep(0.03)
        assert "timed out" in (heard.reason or "")

    async def test_a_credential_that_must_be_prepared(self, server: Server) -> None:
        server.credentials.block = None
        server.credentials.prepared = asyncio.get_running_loop().create_future()
        heard, upstream = server.open(Request(b"PUT /x HTTP/1.1\r\n", 2))
        upstream.send(b"ok")
        upstream.finish()
        upstream.pause()
        await settle()
        assert not server.wires
        server.credentials.prepared.set_result(b"authorization: Bearer made\r\n")
        await settle()
        assert server.wires[0].take().endswith(b"Bearer made\r\ncontent-length: 2\r\n\r\nok")
        assert not server.wires[0].reading
        upstream.resume()
        server.wires[0].feed(OK)
        assert heard.ended

    async def test_a_credential_that_cannot_be_had(self, server: Server) -> None:
        server.credentials.block = None
        server.credentials.prepared = asyncio.get_running_loop().create_future()
        heard, _ = server.open()
        await settle()
        server.credentials.prepared.set_exception(CredentialError("no account for you"))
        await settle()
        assert (heard.reason, heard.refused) == ("no account for you", True)

    async def test_a_caller_that_left_before_the_connection(self, server: Server) -> None:
        server.gate.clear()
        heard, upstream = server.open()
        await settle()
        upstream.reset()
        server.gate.set()
        await settle()
        assert server.wires[0].take() == b""
        assert server.idle == 1
        assert not heard.over
        heard = await server.call()
        assert heard.ended
        assert len(server.wires) == 1

    async def test_a_connection_that_died_before_it_was_given_back(self, server: Server) -> None:
        server.gate.clear()
        _, upstream = server.open()
        await settle()
        upstream.reset()
        original = server.connect

        async def dying(factory: Any) -> UpstreamConnection:
            protocol = await original(factory)
            server.wires[-1].vanish()
            return protocol

        server.pool._connect = dying
        server.pool.open(GET, b"", Heard()).reset()
        server.gate.set()
        await settle()
        assert all(connection.alive for connection in server.pool._idle)

    async def test_a_body_that_comes_faster_than_it_was_asked_for(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pools, "BUFFER", 1000)
        server.gate.clear()
        heard, upstream = server.open(Request(b"PUT /x HTTP/1.1\r\n", -1))
        upstream.send(b"x" * 999)
        assert heard.reason is None
        upstream.send(b"x" * 2)
        assert heard.reason
        upstream.send(b"x" * 2000)
        server.gate.set()
        await settle()
        assert server.wires[0].take() == b""

    async def test_giving_up_drops_the_connection(self, server: Server) -> None:
        heard, upstream = server.open()
        await settle()
        upstream.reset()
        await settle()
        assert server.wires[0].aborted
        assert not server.pool._open
        assert not heard.over

    async def test_whoever_is_done_with_a_connection_cannot_disturb_the_next(self, server: Server) -> None:
        _, first = server.open()
        await settle()
        server.wires[0].feed(OK)
        first.pause()
        first.send(b"late")
        first.finish()
        first.reset()
        assert server.wires[0].reading
        server.wires[0].take()
        heard = await server.call()
        assert heard.ended
        assert len(server.wires) == 1
        assert b"late" not in server.wires[0].take()

    async def test_pressure(self, server: Server) -> None:
        heard, upstream = server.open(Request(b"PUT /x HTTP/1.1\r\n", -1))
        await settle()
        server.wires[0].eager = False
        upstream.send(b"x" * 100_000)
        assert heard.held
        server.wires[0].drain()
        assert not heard.held

    async def test_a_paused_connection_is_kept_reading(self, server: Server) -> None:
        class Slow(Heard):
            def on_head(self, *arguments: Any) -> None:
                super().on_head(*arguments)
                upstream.pause()  # a client's buffer fills up with the last bytes

        heard = Slow()
        upstream = server.pool.open(GET, b"", heard)
        await settle()
        server.wires[0].feed(OK)
        assert heard.ended
        assert server.wires[0].reading
        again = await server.call()
        assert again.ended

    async def test_closing_drops_everything(self, server: Server) -> None:
        running, _ = server.open()
        await settle()
        server.gate.clear()
        waiting, _ = server.open()
        await settle()
        await server.pool.close()
        assert running.reason
        assert waiting.reason == "stopping"
        assert not server.pool._open


_answer_parts = st.lists(
    st.one_of(
        st.sampled_from(
            [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 101 S\r\n", b"HTTP/1.0 204 No\r\n",
             b"Content-Length: 3\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"\r\n", b"abc",
             b"3\r\nabc\r\n", b"0\r\n\r\n", b"0\r\nT: x\r\n\r\n", b"Connection: close\r\n", b"Upgrade: x\r\n",
             b"A:\r\n",
             b"Connection: upgrade\r\n", b"A:\x80\r\n", b"HTTP/1.1 401 No\r\n", b"HTTP/1.1 999 \r\n", b" \r\n"]
        ),
        st.binary(max_size=4),
    ),
    max_size=12,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    _answer_parts,
    st.integers(0, 9),
    st.sampled_from([GET, POST, Request(b"HEAD /x HTTP/1.1\r\n")]),
    st.booleans(),
)
async def test_whatever_a_server_says_only_sound_answers_pass(
    parts: list[bytes], cut: int, request: Request, upgrade: bool
) -> None:
    """What is handed on can be framed anew; every request ends once; a connection is kept only when it is in step."""
    server = Server()
    server.credentials.admits = False
    heard, _ = server.open(Request(request.head, 0, b"x") if upgrade else request)
    await settle()
    wire = server.wires[0]
    wire.feed(b"".join(parts), cut)
    await settle()
    assert http1.well_formed(heard.lines)
    assert http1.well_formed(heard.trailers)
    if heard.status:
        frames.parse_heading(memoryview(frames.heading(heard.status, heard.length, heard.lines)))
    if heard.ended and heard.length >= 0 and not request.head.startswith(b"HEAD") and heard.status != 304:
        assert len(heard.body) == heard.length
    wire.vanish(politely=True)
    await settle()
    assert heard.over
    assert not server.pool._open
    assert server.idle == 0
