"""What both ends of a tunnel share: batches, control messages, protocol errors, life."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picows import WSCloseCode, WSMsgType

from outrider.tunnel import frames, mux
from outrider.tunnel.frames import FIN, Request
from outrider.tunnel.server import ServerSession
from tests.support.tunnels import Heard, Tunnel, feed, frame
from tests.support.wire import Script

REQUEST = Request(b"GET /x HTTP/1.1\r\n")


class Listening(ServerSession):
    """Keeps what the agent says."""

    def __init__(self) -> None:
        super().__init__(1, "c-1")
        self.heard_messages: list[bytes] = []

    def on_message(self, body: bytes) -> None:
        self.heard_messages.append(body)


@pytest.fixture
async def script() -> Script:
    return Script()


@pytest.fixture
async def tunnel(script: Script) -> Tunnel:
    return Tunnel(script)


class TestBatches:
    async def test_one_turn_makes_one_message(self, tunnel: Tunnel) -> None:
        for _ in range(20):
            tunnel.server.open(REQUEST, b"{}", Heard())
        assert tunnel.down.messages == 0
        await asyncio.sleep(0)
        assert tunnel.down.messages == 1

    async def test_what_has_gathered_leaves_before_it_is_too_much(self, tunnel: Tunnel) -> None:
        stream = tunnel.server.open(Request(b"PUT /x HTTP/1.1\r\n", 200_000), b"{}", Heard())
        for _ in range(20):
            stream.send(b"x" * 10_000)
        assert tunnel.down.messages >= 3
        assert all(len(data) < mux.BATCH + 20_000 for _, data in tunnel.down.queue)

    async def test_what_was_queued_before_the_connection_goes_first(self, script: Script) -> None:
        session = ServerSession(1, "c-1")
        session.send_message(b"early")
        tunnel = Tunnel(script, server=session)
        await tunnel.settle()
        assert tunnel.messages == [b"early"]


class TestMessages:
    @pytest.mark.parametrize("size", [0, 1, frames.MESSAGE_PART, frames.MESSAGE_PART + 1, 3_000_000])
    async def test_both_ways(self, script: Script, size: int) -> None:
        server = Listening()
        tunnel = Tunnel(script, server=server)
        body = b"m" * size
        tunnel.server.send_message(body)
        tunnel.agent.send_message(body)
        await tunnel.settle()
        assert tunnel.messages == server.heard_messages == [body]

    async def test_one_that_is_too_large_ends_the_tunnel(
        self, script: Script, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(frames, "MAX_MESSAGE", 1000)
        tunnel = Tunnel(script)
        for _ in range(3):
            feed(tunnel.agent, frame(frames.MESSAGE, 0, b"x" * 500))
        assert tunnel.up.closes[0][0] is WSCloseCode.PROTOCOL_ERROR


class TestProtocolErrors:
    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(b"\x01", id="header cut off"),
            pytest.param(frame(frames.DATA, 1, b"xyz")[:-1], id="payload cut off"),
            pytest.param(frames.FRAME.pack(frames.DATA, 1, 0xFFFFFFFF), id="length a lie"),
            pytest.param(
                frames.FRAME.pack(frames.DATA, 1, frames.MAX_PAYLOAD + 1) + bytes(frames.MAX_PAYLOAD + 1),
                id="payload too large",
            ),
            pytest.param(frame(0, 1), id="type 0"),
            pytest.param(frame(99, 1), id="type unknown"),
            pytest.param(frame(frames.OPEN, 1, frames.opening(b"", REQUEST)), id="agents open nothing"),
            pytest.param(frame(frames.HEAD, 1, b""), id="HEAD too short"),
            pytest.param(frame(frames.HEAD, 1, frames.HEADING.pack(200, 0, 9)), id="HEAD without its lines"),
            pytest.param(frame(frames.DATA, 1, b"x"), id="body before its head"),
            pytest.param(frame(frames.TRAILERS | FIN, 1, b"A: b\r\n"), id="trailers before a head"),
            pytest.param(frame(frames.HEAD, 1, frames.heading(200, -1, b"")) * 2, id="two heads"),
            pytest.param(frame(frames.HEAD | FIN, 1, frames.heading(100, 0, b"")), id="1xx as the last"),
            pytest.param(frame(frames.HEAD, 1, frames.heading(100, 0, b"", b"x")), id="1xx with a body"),
            pytest.param(frame(frames.HEAD, 1, frames.heading(101, 0, b"")), id="unasked switch"),
            pytest.param(frame(frames.WINDOW, 1, b"x"), id="WINDOW too short"),
            pytest.param(frame(frames.WINDOW, 1, frames.CREDIT.pack(0xFFFFFFFF)), id="credit without end"),
            pytest.param(frame(frames.OPEN, 1, b""), id="OPEN of a stream that is open"),
            pytest.param(frame(frames.MESSAGE, 1, b"{}"), id="message on a stream"),
        ],
    )
    async def test_at_the_server(self, tunnel: Tunnel, data: bytes) -> None:
        heard = Heard()
        assert tunnel.server.open(REQUEST, b"{}", heard).id == 1
        feed(tunnel.server, data)
        assert tunnel.down.closes[0][0] is WSCloseCode.PROTOCOL_ERROR
        await asyncio.sleep(0)
        assert (await tunnel.server.closed).startswith("protocol error: ")
        assert heard.reason is not None
        assert not tunnel.server.streams

    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(frame(frames.OPEN, 7, b""), id="OPEN too short"),
            pytest.param(frame(frames.OPEN, 0, frames.opening(b"", REQUEST)), id="OPEN of stream 0"),
            pytest.param(
                frame(frames.OPEN, 7, frames.OPENING.pack(9, 0, 9, 9)), id="OPEN with lengths that lie"
            ),
            pytest.param(frame(frames.HEAD, 1, frames.heading(200, 0, b"")), id="HEAD"),
            pytest.param(frame(frames.DATA, 1, b"x"), id="body of a request without one"),
            pytest.param(frame(frames.OPEN, 1, frames.opening(b"", REQUEST)), id="OPEN twice"),
        ],
    )
    async def test_at_the_agent(self, tunnel: Tunnel, script: Script, data: bytes) -> None:
        tunnel.server.open(REQUEST, b"{}", Heard())
        await tunnel.settle()
        feed(tunnel.agent, data)
        assert tunnel.up.closes[0][0] is WSCloseCode.PROTOCOL_ERROR
        await asyncio.sleep(0)
        assert script.last.resets == 1

    async def test_overdraft_at_the_server(self, tunnel: Tunnel) -> None:
        heard = Heard()
        stream = tunnel.server.open(REQUEST, b"{}", heard)
        stream.pause()
        feed(tunnel.server, frame(frames.HEAD, 1, frames.heading(200, -1, b"")))
        for _ in range(100):
            feed(tunnel.server, frame(frames.DATA, 1, b"x" * 60_000))
        assert tunnel.down.closes[0][0] is WSCloseCode.PROTOCOL_ERROR
        assert len(heard.body) < 2 << 20

    async def test_overdraft_at_the_agent(self, tunnel: Tunnel, script: Script) -> None:
        tunnel.server.open(Request(b"PUT /x HTTP/1.1\r\n", -1), b"{}", Heard())
        await tunnel.settle()
        script.last.responder.pause_sending()
        for _ in range(100):
            feed(tunnel.agent, frame(frames.DATA, 1, b"x" * 60_000))
        assert tunnel.up.closes[0][0] is WSCloseCode.PROTOCOL_ERROR

    async def test_early_hints_without_end(self, tunnel: Tunnel) -> None:
        tunnel.server.open(REQUEST, b"{}", Heard())
        for _ in range(100):
            feed(
                tunnel.server, frame(frames.HEAD, 1, frames.heading(103, 0, b"A: " + b"x" * 60_000 + b"\r\n"))
            )
        assert tunnel.down.closes

    @pytest.mark.parametrize("kind", [WSMsgType.TEXT, WSMsgType.CONTINUATION])
    async def test_other_messages(self, tunnel: Tunnel, kind: WSMsgType) -> None:
        feed(tunnel.server, b"hello", kind)
        assert tunnel.down.closes[0][0] is WSCloseCode.UNSUPPORTED_DATA

    async def test_fragments(self, tunnel: Tunnel) -> None:
        feed(tunnel.server, b"", fin=False)
        assert tunnel.down.closes[0][0] is WSCloseCode.PROTOCOL_ERROR

    async def test_nothing_is_heard_after_one(self, tunnel: Tunnel) -> None:
        heard = Heard()
        tunnel.server.open(REQUEST, b"{}", heard)
        feed(tunnel.server, b"\x01")
        feed(tunnel.server, frame(frames.HEAD | FIN, 1, frames.heading(200, 0, b"")))
        assert heard.status == 0

    @pytest.mark.parametrize("kind", [frames.DATA, frames.WINDOW, frames.RESET, frames.HEAD, frames.TRAILERS])
    async def test_frames_of_streams_that_are_over_are_ignored(self, tunnel: Tunnel, kind: int) -> None:
        for number, last in ((99, 99), (99, 2000), (0xFFFFFFFF, 3)):
            tunnel.server._next = last
            feed(tunnel.server, frame(kind, number, b"whatever"))
            feed(tunnel.agent, frame(kind, number, b"whatever"))
        assert not tunnel.down.closes
        assert not tunnel.up.closes

    @pytest.mark.parametrize("kind", [frames.DATA, frames.WINDOW, frames.RESET, frames.HEAD, frames.TRAILERS])
    @pytest.mark.parametrize(("number", "last"), [(1, 0), (99, 98), (5, 0xFFFFFFFE)])
    async def test_frames_of_streams_that_were_never_opened_end_the_tunnel(
        self, tunnel: Tunnel, kind: int, number: int, last: int
    ) -> None:
        tunnel.server._next = last
        feed(tunnel.server, frame(kind, number, b"whatever"))
        assert tunnel.down.closes[0][0] is WSCloseCode.PROTOCOL_ERROR


class TestHeadsThatMustNotPass:
    """A hostile API server can make an agent send these: only its own answer is spoilt."""

    @pytest.mark.parametrize(
        "lines",
        [
            b"A: b\r\n\r\nHTTP/1.1 200 OK\r\n",
            b"Content-Length: 3\r\n",
            b"A",
            b"A: " + b"x" * 70_000 + b"\r\n",
        ],
    )
    async def test_heads(self, tunnel: Tunnel, lines: bytes) -> None:
        heard, other = Heard(), Heard()
        tunnel.server.open(REQUEST, b"{}", heard)
        tunnel.server.open(REQUEST, b"{}", other)
        feed(tunnel.server, frame(frames.HEAD, 1, frames.heading(200, -1, lines)))
        assert heard.status == 0
        assert heard.reason
        assert not tunnel.down.closes
        feed(tunnel.server, frame(frames.HEAD | FIN, 2, frames.heading(200, 0, b"")))
        assert other.status == 200

    async def test_trailers(self, tunnel: Tunnel) -> None:
        heard = Heard()
        tunnel.server.open(REQUEST, b"{}", heard)
        feed(tunnel.server, frame(frames.HEAD, 1, frames.heading(200, -1, b"")))
        feed(tunnel.server, frame(frames.TRAILERS | FIN, 1, b"A: b\r\n\r\n"))
        assert heard.reason
        assert not tunnel.server.streams

    @pytest.mark.parametrize(
        ("head", "length", "fin"),
        [
            (b"GET /x HTTP/1.1\r\nAuthorization: x\r\n", 0, FIN),
            (b"GET /x HTTP/1.1\r\nA: " + b"x" * 70_000 + b"\r\n", 0, FIN),
            (b"nonsense", 0, FIN),
            (b"PUT /x HTTP/1.1\r\n", 5, FIN),
            (b"PUT /x HTTP/1.1\r\n", 0, 0),
        ],
    )
    async def test_requests(self, tunnel: Tunnel, script: Script, head: bytes, length: int, fin: int) -> None:
        feed(tunnel.agent, frame(frames.OPEN | fin, 5, frames.opening(b"{}", Request(head, length))))
        assert not script.calls
        assert not tunnel.agent.streams
        assert not tunnel.up.closes
        await asyncio.sleep(0)
        ((_, data),) = tunnel.up.queue
        assert data[0] == frames.RESET | FIN


class TestIsolation:
    async def test_a_responder_that_fails_spoils_only_its_own_answer(
        self, tunnel: Tunnel, script: Script, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Faulty(Heard):
            def on_data(self, data: Any) -> None:
                raise ZeroDivisionError

        heard, other = Faulty(), Heard()
        tunnel.server.open(REQUEST, b"{}", heard)
        tunnel.server.open(REQUEST, b"{}", other)
        await tunnel.settle()
        for call in script.calls:
            call.responder.on_head(200, -1, b"", b"", False)
            call.responder.on_data(b"x")
        await tunnel.settle()
        assert heard.reason == "internal error"
        assert script.calls[0].resets == 1
        assert bytes(other.body) == b"x"
        assert "a stream failed" in caplog.text
        assert not tunnel.down.closes

    async def test_a_backend_that_fails_spoils_only_its_own_request(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(call: Any) -> None:
            raise ZeroDivisionError

        tunnel = Tunnel(Script(fail))
        heard = Heard()
        tunnel.server.open(REQUEST, b"{}", heard)
        await tunnel.settle()
        assert heard.reason == "internal error of the agent"
        assert not tunnel.agent.streams
        assert not tunnel.up.closes


class TestLife:
    async def test_pings_are_answered_and_counted_as_signs_of_life(self, tunnel: Tunnel) -> None:
        tunnel.server.heard = 0
        tunnel.agent.ping()
        await tunnel.settle()
        assert tunnel.server.heard > 0
        assert tunnel.up.pings == 1

    async def test_closing_tells_everybody(self, tunnel: Tunnel, script: Script) -> None:
        heard = Heard()
        tunnel.server.open(REQUEST, b"{}", heard)
        await tunnel.settle()
        tunnel.server.close("the server stops")
        tunnel.server.close("again")
        await tunnel.settle()
        assert await tunnel.server.closed == "the server stops"
        assert heard.reason == "the server stops"
        assert script.last.resets == 1
        assert len(tunnel.down.closes) == 1

    async def test_the_agent_hears_why(self, tunnel: Tunnel) -> None:
        feed(tunnel.agent, b"\x03\xe9the registration was deleted", WSMsgType.CLOSE)
        await tunnel.settle()
        assert await tunnel.agent.closed == "the registration was deleted"

    async def test_a_lost_tunnel_resets_its_streams(self, tunnel: Tunnel, script: Script) -> None:
        heard = [Heard() for _ in range(5)]
        for responder in heard:
            tunnel.server.open(REQUEST, b"{}", responder)
        await tunnel.settle()
        tunnel.down.lose()
        assert [responder.reason for responder in heard] == ["tunnel disconnect"] * 5
        assert [call.resets for call in script.calls] == [1] * 5
        assert not tunnel.server.streams
        assert not tunnel.agent.streams

    async def test_a_tunnel_that_is_gone_takes_nothing(self, tunnel: Tunnel) -> None:
        tunnel.down.lose()
        heard = Heard()
        stream = tunnel.server.open(REQUEST, b"{}", heard)
        assert heard.refused
        stream.send(b"x")
        stream.finish()
        stream.reset()
        tunnel.server.send_message(b"x" * 100_000)
        assert not tunnel.server._out

    async def test_an_agent_that_takes_nothing_gets_no_more_requests(
        self, script: Script, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("outrider.tunnel.server.MAX_BACKLOG", 10_000)
        tunnel = Tunnel(script, high=1000)
        head = b"GET /x HTTP/1.1\r\nA: " + b"x" * 1000 + b"\r\n"
        heard = Heard()
        for _ in range(100):
            heard = Heard()
            tunnel.server.open(Request(head), b"{}", heard)
            await asyncio.sleep(0)
        assert heard.refused
        assert tunnel.down.waiting < 15_000

    async def test_numbers_of_running_streams_are_not_given_twice(self, tunnel: Tunnel) -> None:
        first = tunnel.server.open(REQUEST, b"{}", Heard())
        tunnel.server._next = 0xFFFFFFFF
        second = tunnel.server.open(REQUEST, b"{}", Heard())
        assert (first.id, second.id) == (1, 2)

    async def test_too_many_requests_at_once(
        self, tunnel: Tunnel, script: Script, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("outrider.tunnel.agent.MAX_STREAMS", 3)
        heard = [Heard() for _ in range(5)]
        for responder in heard:
            tunnel.server.open(REQUEST, b"{}", responder)
        await tunnel.settle()
        assert [responder.refused for responder in heard] == [False, False, False, True, True]


_noise = st.lists(
    st.one_of(
        st.builds(
            frame,
            st.sampled_from([0, *frames.KINDS, *(kind | FIN for kind in frames.KINDS), 42]),
            st.sampled_from([0, 1, 2, 3, 0xFFFFFFFF]),
            st.one_of(
                st.binary(max_size=40),
                st.builds(
                    frames.heading, st.integers(0, 999), st.integers(-1, 9), st.sampled_from([b"", b"A: b\r\n", b"x"])
                ),
                st.builds(lambda claim: frames.opening(claim, REQUEST), st.binary(max_size=4)),
                st.just(frames.CREDIT.pack(1000)),
            ),
        ),
        st.binary(max_size=12),
    ),
    max_size=20,
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(data=_noise, batch=st.booleans(), at_server=st.booleans())
async def test_noise_does_no_harm(data: list[bytes], batch: bool, at_server: bool) -> None:
    """Whatever a peer sends: no exception, every responder hears one end at most, nothing leaks."""
    script = Script()
    tunnel = Tunnel(script)
    heard = [Heard() for _ in range(2)]
    for responder in heard:
        tunnel.server.open(REQUEST, b"{}", responder)
    await tunnel.settle()
    end = tunnel.server if at_server else tunnel.agent
    for message in [b"".join(data)] if batch else data:
        feed(end, message)
    await tunnel.settle()
    tunnel.down.lose()
    await asyncio.sleep(0)
    assert all(responder.over for responder in heard)
    assert not tunnel.server.streams
    assert not tunnel.agent.streams
    assert all(call.resets <= 1 for call in script.calls)
