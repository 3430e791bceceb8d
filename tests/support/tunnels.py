"""A tunnel without sockets: both ends joined by two queues that a test empties as it likes."""

import asyncio
from collections import deque
from typing import Any

from picows import WSCloseCode, WSMsgType
from picows.picows import _make_test_ws_frame

from outrider.tunnel import frames
from outrider.tunnel.agent import AgentSession
from outrider.tunnel.exchange import Backend
from outrider.tunnel.mux import Mux
from outrider.tunnel.server import ServerSession


class End:
    """A WebSocket transport, as far as a Mux uses it."""

    def __init__(self, mux: Mux, high: int) -> None:
        self.mux = mux
        self.peer: End | None = None
        self.high = high
        self.queue: deque[tuple[WSMsgType, bytes]] = deque()
        self.waiting = 0
        self.blocked = False
        self.is_disconnected = False
        self.closes: list[tuple[WSCloseCode, Any]] = []
        self.pings = 0
        self.messages = 0
        self.underlying_transport = self

    # WSTransport

    def send(self, kind: WSMsgType, data: bytes) -> None:
        assert not self.closes, "frames after the close"
        self.messages += 1
        self._put(kind, bytes(data))

    def send_ping(self, message: None) -> None:
        self.pings += 1
        self._put(WSMsgType.PING, b"")

    def send_pong(self, message: None) -> None:
        self._put(WSMsgType.PONG, b"")

    def send_close(self, code: WSCloseCode, reason: Any = None) -> None:
        self.closes.append((code, reason))
        text = reason.encode() if isinstance(reason, str) else (reason or b"")
        self._put(WSMsgType.CLOSE, code.value.to_bytes(2, "big") + text)

    def disconnect(self, graceful: bool = True) -> None:
        if not self.is_disconnected:
            self.is_disconnected = True
            asyncio.get_running_loop().call_soon(self.lose)

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def _put(self, kind: WSMsgType, data: bytes) -> None:
        self.queue.append((kind, data))
        self.waiting += len(data)
        if self.waiting > self.high and not self.blocked:
            self.blocked = True
            self.mux.pause_writing()

    # for tests

    def lose(self) -> None:
        """The connection is gone, on both sides."""
        self.is_disconnected = True
        peer, self.peer = self.peer, None
        self.mux.on_ws_disconnected(self)  # type: ignore[arg-type]
        if peer is not None and not peer.is_disconnected:
            peer.lose()

    def deliver(self, most: int = 1_000_000) -> int:
        """Hands messages to the other end; returns how many."""
        count = 0
        while self.queue and self.peer is not None and count < most:
            kind, data = self.queue.popleft()
            self.waiting -= len(data)
            feed(self.peer.mux, data, kind)
            count += 1
        if self.blocked and self.waiting <= self.high // 4 and self.peer is not None:
            self.blocked = False
            self.mux.resume_writing()
        return count


def feed(mux: Mux, data: bytes, kind: WSMsgType = WSMsgType.BINARY, *, fin: bool = True) -> None:
    """One WebSocket frame arrives."""
    transport: Any = mux._transport
    if transport is not None:
        mux.on_ws_frame(transport, _make_test_ws_frame(kind, data, fin, False))


def frame(kind: int, stream: int, payload: bytes = b"") -> bytes:
    return frames.FRAME.pack(kind, stream, len(payload)) + payload


class Tunnel:
    """Both ends of a tunnel."""

    def __init__(
        self, backend: Backend, *, high: int = 512 * 1024, server: ServerSession | None = None
    ) -> None:
        self.messages: list[bytes] = []
        self.server = server or ServerSession(1, "c-1")
        self.agent = AgentSession(backend, lambda session, body: self.messages.append(body))
        self.down = End(self.server, high)
        self.up = End(self.agent, high)
        self.down.peer, self.up.peer = self.up, self.down
        self.server.on_ws_connected(self.down)  # type: ignore[arg-type]
        self.agent.on_ws_connected(self.up)  # type: ignore[arg-type]

    async def settle(self) -> None:
        """Moves messages until there is nothing more to move."""
        idle = 0
        while idle < 3:
            await asyncio.sleep(0)
            moved = self.down.deliver() + self.up.deliver()
            idle = 0 if moved else idle + 1


class Heard:
    """A Responder that writes everything down and checks the order of the calls."""

    def __init__(self) -> None:
        self.status = 0
        self.length = 0
        self.lines = b""
        self.informational: list[int] = []
        self.body = bytearray()
        self.trailers = b""
        self.ended = False
        self.reason: str | None = None
        self.refused = False
        self.held = False

    def on_head(self, status: int, length: int, lines: bytes, body: bytes | memoryview, last: bool) -> None:
        assert not self.over
        assert not self.status
        if status < 200 and status != 101:
            self.informational.append(status)
            return
        self.status, self.length, self.lines = status, length, lines
        self.body += body
        self.ended = last

    def on_data(self, data: bytes | memoryview) -> None:
        assert self.status
        assert not self.over
        assert len(data)
        self.body += data

    def on_end(self, trailers: bytes) -> None:
        assert self.status
        assert not self.over
        self.trailers = trailers
        self.ended = True

    def on_reset(self, reason: str, *, refused: bool = False) -> None:
        assert not self.over
        self.reason, self.refused = reason, refused

    def pause_sending(self) -> None:
        assert not self.held
        self.held = True

    def resume_sending(self) -> None:
        self.held = False

    @property
    def over(self) -> bool:
        return self.ended or self.reason is not None
