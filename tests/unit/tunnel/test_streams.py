"""Server and agent ends against each other."""

import asyncio
from collections.abc import Awaitable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from outrider.tunnel import frames
from outrider.tunnel.flow import OVERDRAFT
from outrider.tunnel.frames import Request
from outrider.tunnel.server import ServerStream
from tests.support.tunnels import Heard, Tunnel
from tests.support.wire import Call, Script

GET = Request(b"GET /x HTTP/1.1\r\nA: b\r\n")
PUT = Request(b"PUT /x HTTP/1.1\r\n", -1)


@pytest.fixture
async def script() -> Script:
    return Script()


@pytest.fixture
async def tunnel(script: Script) -> Tunnel:
    return Tunnel(script)


async def test_a_request_and_its_answer(tunnel: Tunnel, script: Script) -> None:
    heard = Heard()
    tunnel.server.open(GET, b"claim", heard)
    await tunnel.settle()
    assert (script.last.request, script.last.claim) == (GET, b"claim")
    script.last.answer(b"body", 201, b"A: b\r\n")
    await tunnel.settle()
    assert (heard.status, heard.length, heard.lines, bytes(heard.body)) == (201, 4, b"A: b\r\n", b"body")
    assert heard.ended
    assert not tunnel.server.streams
    assert not tunnel.agent.streams


async def test_a_body_goes_up_and_an_answer_with_trailers_down(tunnel: Tunnel, script: Script) -> None:
    heard = Heard()
    stream = tunnel.server.open(PUT, b"", heard)
    stream.send(b"one")
    await tunnel.settle()
    stream.send(b"two")
    stream.finish()
    await tunnel.settle()
    call = script.last
    assert (bytes(call.body), call.finished) == (b"onetwo", 1)
    call.responder.on_head(100, -1, b"", b"", False)
    call.responder.on_head(200, -1, b"", b"a", False)
    call.responder.on_data(b"b")
    call.responder.on_end(b"Sum: 1\r\n")
    await tunnel.settle()
    assert heard.informational == [100]
    assert (bytes(heard.body), heard.trailers) == (b"ab", b"Sum: 1\r\n")


async def test_a_switch(tunnel: Tunnel, script: Script) -> None:
    heard = Heard()
    stream = tunnel.server.open(Request(GET.head, 0, b"SPDY/3.1"), b"", heard)
    await tunnel.settle()
    assert script.last.request.upgrade == b"SPDY/3.1"
    script.last.responder.on_head(101, -1, b"", b"hi", False)
    await tunnel.settle()
    assert (heard.status, bytes(heard.body)) == (101, b"hi")
    stream.send(b"raw")
    script.last.responder.on_data(b"war")
    await tunnel.settle()
    assert bytes(script.last.body) == b"raw"
    stream.finish()
    await tunnel.settle()
    assert script.last.finished == 1
    script.last.responder.on_end(b"")
    await tunnel.settle()
    assert heard.ended


async def test_an_early_answer_ends_the_stream_and_late_body_is_dropped(
    tunnel: Tunnel, script: Script
) -> None:
    heard = Heard()
    stream = tunnel.server.open(PUT, b"", heard)
    await tunnel.settle()
    script.last.answer(b"too large", 413)
    stream.send(b"crosses the answer")
    await tunnel.settle()
    stream.send(b"comes late")
    stream.finish()
    stream.reset()
    await tunnel.settle()
    assert heard.status == 413
    assert bytes(script.last.body) == b""
    assert script.last.resets == 0
    assert not tunnel.down.closes


async def test_giving_up_reaches_the_backend_once(tunnel: Tunnel, script: Script) -> None:
    heard = Heard()
    stream = tunnel.server.open(GET, b"", heard)
    await tunnel.settle()
    stream.reset()
    stream.reset()
    script.last.responder.on_head(200, -1, b"", b"", False)
    script.last.responder.on_data(b"late")
    await tunnel.settle()
    assert script.last.resets == 1
    assert heard.status == 0
    assert heard.reason is None


@pytest.mark.parametrize("refused", [True, False])
async def test_the_backends_reset_reaches_the_responder(
    tunnel: Tunnel, script: Script, refused: bool
) -> None:
    heard = Heard()
    tunnel.server.open(GET, b"", heard)
    await tunnel.settle()
    script.last.responder.on_reset("no Ünit", refused=refused)
    await tunnel.settle()
    assert (heard.reason, heard.refused) == ("no Ünit", refused)


async def test_an_answer_that_began_cannot_be_called_refused(tunnel: Tunnel, script: Script) -> None:
    heard = Heard()
    tunnel.server.open(GET, b"", heard)
    await tunnel.settle()
    script.last.responder.on_head(200, -1, b"", b"", False)
    script.last.responder.on_reset("no", refused=True)
    await tunnel.settle()
    assert heard.refused is False


async def test_a_slow_reader_bounds_what_comes_and_a_neighbour_does_not_notice(
    tunnel: Tunnel, script: Script
) -> None:
    slow, fast = Heard(), Heard()
    stuck = tunnel.server.open(GET, b"", slow)
    tunnel.server.open(GET, b"", fast)
    await tunnel.settle()
    stuck.pause()
    for call in script.calls:
        call.responder.on_head(200, -1, b"", b"", False)
    for _ in range(300):
        for call in script.calls:
            if not call.paused:
                call.responder.on_data(b"x" * 64_000)
        await tunnel.settle()
    assert len(slow.body) <= frames.INITIAL_WINDOW + 64_000
    assert len(fast.body) == 300 * 64_000
    stuck.resume()
    await tunnel.settle()
    assert not script.calls[0].paused


async def test_a_slow_backend_holds_the_client(tunnel: Tunnel, script: Script) -> None:
    heard = Heard()
    stream = tunnel.server.open(PUT, b"", heard)
    await tunnel.settle()
    script.last.responder.pause_sending()
    sent = 0
    while not heard.held:
        stream.send(b"x" * 50_000)
        sent += 50_000
        await tunnel.settle()
    assert sent <= frames.INITIAL_WINDOW + 50_000
    script.last.responder.resume_sending()
    await tunnel.settle()
    assert not heard.held
    assert len(script.last.body) == sent


async def test_a_full_socket_holds_everybody_and_lets_go_of_everybody(script: Script) -> None:
    tunnel = Tunnel(script, high=50_000)
    heard = [Heard() for _ in range(4)]
    for responder in heard:
        tunnel.server.open(GET, b"", responder)
    await tunnel.settle()
    for call in script.calls:
        call.responder.on_head(200, -1, b"", b"x" * 30_000, False)
    await asyncio.sleep(0)
    assert [call.paused for call in script.calls][-1]
    for call in script.calls:
        call.responder.on_data(b"y")  # what was read before the pause
    await tunnel.settle()
    assert not any(call.paused for call in script.calls)
    assert [len(responder.body) for responder in heard] == [30_001] * 4
    assert not tunnel.agent.waiting


class Stream:
    """One exchange and what must become of it."""

    def __init__(self, upstream: ServerStream, heard: Heard, *, body: bool) -> None:
        self.upstream = upstream
        self.heard = heard
        self.open_up = body
        self.sent = bytearray()
        self.call: Call | None = None
        self.headed = False
        self.answered = bytearray()
        self.closed_down = False  # the backend has ended it
        self.given_up = False  # the client has
        self.slow = False


class Tunnelling(RuleBasedStateMachine):
    """Random interleavings. The oracle: bytes in = bytes out, in order; nobody stuck, nothing left behind."""

    streams = Bundle("streams")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.all: list[Stream] = []
        self.counter = 0

    def run(self, work: Awaitable[None]) -> None:
        async def step() -> None:
            await work

        self.loop.run_until_complete(step())

    def fill(self, size: int) -> bytes:
        self.counter += 1
        return (b"%d " % self.counter) * (size // 8 + 1)

    @initialize(high=st.sampled_from([1000, 60_000, 512 * 1024]))
    def connect(self, high: int) -> None:
        async def build() -> None:
            self.script = Script()
            self.tunnel = Tunnel(self.script, high=high)

        self.run(build())

    @rule(target=streams, body=st.booleans())
    def open(self, body: bool) -> Stream:
        heard = Heard()
        stream: list[Stream] = []
        name = b"GET /%d HTTP/1.1\r\n" % len(self.all)

        async def opening() -> None:
            upstream = self.tunnel.server.open(Request(name, -1 if body else 0), b"", heard)
            stream.append(Stream(upstream, heard, body=body))

        self.run(opening())
        self.all.append(stream[0])
        return stream[0]

    @rule(stream=streams, size=st.sampled_from([1, 500, 60_000, 250_000]))
    def send(self, stream: Stream, size: int) -> None:
        if stream.open_up and not stream.heard.held and not stream.heard.over and not stream.given_up:
            data = self.fill(size)
            stream.sent += data

            async def sending() -> None:
                stream.upstream.send(data)

            self.run(sending())

    @rule(stream=streams)
    def finish(self, stream: Stream) -> None:
        if stream.open_up:
            stream.open_up = False

            async def finishing() -> None:
                stream.upstream.finish()

            self.run(finishing())

    @rule(stream=consumes(streams))
    def give_up(self, stream: Stream) -> None:
        if not stream.heard.over:
            stream.given_up = True

            async def resetting() -> None:
                stream.upstream.reset()

            self.run(resetting())

    @rule(stream=streams, slow=st.booleans())
    def read(self, stream: Stream, slow: bool) -> None:
        if slow == stream.slow or stream.heard.over or stream.given_up:
            return
        stream.slow = slow

        async def reading() -> None:
            (stream.upstream.pause if slow else stream.upstream.resume)()

        self.run(reading())

    @rule(stream=streams, size=st.sampled_from([0, 1, 60_000, 250_000]))
    def answer(self, stream: Stream, size: int) -> None:
        call = stream.call
        if call is None or stream.closed_down or call.resets or call.paused:
            return
        data = self.fill(size) if size else b""
        stream.answered += data

        async def answering() -> None:
            if not stream.headed:
                stream.headed = True
                call.responder.on_head(200, -1, b"", data, False)
            elif data:
                call.responder.on_data(data)

        self.run(answering())

    @rule(stream=streams)
    def burst(self, stream: Stream) -> None:
        """As much as may be said at once, both ways."""
        for _ in range(8):
            self.answer(stream, 60_000)
            self.send(stream, 60_000)

    @rule()
    def settle(self) -> None:
        self.run(self.tunnel.settle())
        self.match()

    @rule(stream=streams, how=st.sampled_from(["end", "trailers", "reset"]))
    def end(self, stream: Stream, how: str) -> None:
        call = stream.call
        if call is None or stream.closed_down or call.resets or not stream.headed:
            return
        stream.closed_down = True

        async def ending() -> None:
            if how == "reset":
                call.responder.on_reset("over")
            else:
                call.responder.on_end(b"A: b\r\n" if how == "trailers" else b"")

        self.run(ending())

    @rule(stream=streams, hold=st.booleans())
    def backend(self, stream: Stream, hold: bool) -> None:
        call = stream.call
        if call is None or stream.closed_down or call.resets:
            return

        async def telling() -> None:
            (call.responder.pause_sending if hold else call.responder.resume_sending)()

        self.run(telling())

    @rule(most=st.integers(1, 4), down=st.booleans())
    def deliver(self, most: int, down: bool) -> None:
        async def moving() -> None:
            await asyncio.sleep(0)
            (self.tunnel.down if down else self.tunnel.up).deliver(most)
            await asyncio.sleep(0)

        self.run(moving())
        self.match()

    def match(self) -> None:
        for call in self.script.calls:
            self.all[int(call.target[1:])].call = call

    @invariant()
    def holds(self) -> None:
        for stream in self.all:
            assert stream.answered.startswith(stream.heard.body)
            if stream.call is not None:
                assert stream.sent.startswith(stream.call.body)
                assert stream.call.resets + stream.closed_down <= 2
            if stream.slow:
                assert len(stream.heard.body) <= 2 * frames.MAX_WINDOW + OVERDRAFT
        if self.all:
            assert not self.tunnel.down.closes
            assert not self.tunnel.up.closes

    def teardown(self) -> None:
        if not self.all:
            self.loop.close()
            return
        self.run(self.tunnel.settle())
        self.match()
        for stream in self.all:
            self.read(stream, slow=False)
            self.backend(stream, hold=False)
        for _ in range(3):
            self.run(self.tunnel.settle())
            for stream in self.all:
                if not stream.given_up:
                    self.burst(stream)
        self.run(self.tunnel.settle())
        for stream in self.all:
            call = stream.call
            assert call is not None
            if not stream.given_up and not stream.closed_down:
                # nobody holds anything back: all that was said has arrived, and more may be said
                assert stream.call is not None
                assert bytes(call.body) == stream.sent
                assert not call.paused
                assert not stream.heard.held
                assert stream.heard.body == stream.answered
                self.finish(stream)
                self.answer(stream, 1)
                self.end(stream, "end")
        self.run(self.tunnel.settle())
        for stream in self.all:
            if not stream.given_up:
                assert stream.heard.over
                assert stream.heard.reason in {None, "over"}
                if stream.heard.reason is None:
                    assert stream.heard.body == stream.answered
        assert not self.tunnel.server.streams
        assert not self.tunnel.agent.streams
        assert not self.tunnel.server.waiting
        assert not self.tunnel.agent.waiting
        self.loop.close()


TestTunnelling = Tunnelling.TestCase
TestTunnelling.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
