"""What both ends of a tunnel have in common: batching, dispatch, liveness, control messages."""

import asyncio
import logging
from typing import Any, Protocol

from picows import WSCloseCode, WSFrame, WSMsgType, WSTransport

from outrider.tunnel import frames

BATCH = 48 * 1024
"""Bytes after which frames are written at once instead of at the end of the loop's turn."""

CLOSE_GRACE = 2.0
"""Seconds that a peer has to take what was written before a closed tunnel is cut."""

_log = logging.getLogger("outrider.tunnel")
_BINARY = WSMsgType.BINARY
_unpack = frames.FRAME.unpack_from
_pack = frames.FRAME.pack


class Stream(Protocol):
    """One exchange's end at a multiplexer."""

    def on_frame(self, kind: int, fin: int, payload: memoryview) -> None:
        """A frame of this stream; raises FrameError."""

    def on_gone(self, reason: str) -> None:
        """The tunnel is gone."""

    def fail(self, reason: str) -> None:
        """This stream cannot go on: both of its sides are told, the tunnel lives on."""

    def on_writable(self) -> None:
        """The tunnel takes bytes again after `Mux.blocked`."""


class Mux:
    """One end of a tunnel over one WebSocket, which an `Ear` hears.

    `heard` is the loop's time at which the peer last said anything; the owner drops a silent one.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.streams: dict[int, Stream] = {}
        self.blocked = False
        self.waiting: set[Stream] = set()
        self.heard = self.loop.time()
        self.closed: asyncio.Future[str] = self.loop.create_future()
        self._transport: WSTransport | None = None
        self._out: list[bytes | memoryview] = []
        self._size = 0
        self._scheduled = False
        self._message: list[bytes] = []
        self._message_size = 0
        self._reason = ""
        self._closing = False

    # frames out

    def send_frame(self, kind: int, stream: int, payload: bytes | memoryview = b"") -> None:
        """Queues a frame; it leaves at the end of this turn of the loop, or at once when enough has gathered."""
        if self._closing:
            return
        out = self._out
        if not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self._flush)
        size = len(payload)
        out.append(_pack(kind, stream, size))
        if size:
            out.append(payload)
            self._size += size
            if self._size > BATCH:
                self._write()

    def send_message(self, body: bytes) -> None:
        """Sends a control message, in parts."""
        for start in range(0, len(body) or 1, frames.MESSAGE_PART):
            part = body[start : start + frames.MESSAGE_PART]
            last = start + frames.MESSAGE_PART >= len(body)
            self.send_frame(frames.MESSAGE | (frames.FIN if last else 0), 0, part)

    def _flush(self) -> None:
        self._scheduled = False
        self._write()

    def _write(self) -> None:
        out = self._out
        if out and self._transport is not None:
            self._out = []
            self._size = 0
            self._transport.send(_BINARY, b"".join(out))

    # frames in

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The WebSocket is up; anything queued before goes now."""
        self._transport = transport
        transport.underlying_transport.set_write_buffer_limits(high=512 * 1024)
        self._write()

    def on_ws_frame(self, transport: WSTransport, frame: Any) -> None:
        """Dispatches the frames of one WebSocket message; a protocol error ends the tunnel."""
        if self._closing:
            return None
        self.heard = self.loop.time()
        if frame.msg_type is not _BINARY:
            return self._on_control(transport, frame)
        if not frame.fin:
            return self.close("protocol error: fragmented message", WSCloseCode.PROTOCOL_ERROR)
        try:
            self._dispatch(frame.get_payload_as_memoryview())
        except frames.FrameError as error:
            self.close(f"protocol error: {error}", WSCloseCode.PROTOCOL_ERROR)
        return None

    def _dispatch(self, data: memoryview) -> None:
        end = len(data)
        at = 0
        streams = self.streams
        while at < end:
            if end - at < frames.HEADER_SIZE:
                raise frames.FrameError("frame header is cut off")
            kind, number, size = _unpack(data, at)
            at += frames.HEADER_SIZE
            stop = at + size
            if stop > end or size > frames.MAX_PAYLOAD:
                raise frames.FrameError("frame payload is cut off or too large")
            stream = streams.get(number)
            if stream is not None:
                try:
                    stream.on_frame(kind & 0x7F, kind & frames.FIN, data[at:stop])
                except frames.FrameError:
                    raise
                except Exception:
                    _log.exception("a stream failed")  # the fault of one request must not end all others
                    stream.fail("internal error")
            else:
                self._on_unknown(kind, number, data[at:stop])
            at = stop

    def _on_unknown(self, kind: int, number: int, payload: memoryview) -> None:
        base = kind & 0x7F
        if base not in frames.KINDS:
            raise frames.FrameError(f"frame type {base} is unknown")
        if base == frames.MESSAGE and number == 0:
            self._on_message_part(kind, payload)
        elif base == frames.OPEN:
            self.on_open(number, kind & frames.FIN, payload)
        else:
            self.on_late(number)

    def _on_message_part(self, kind: int, payload: memoryview) -> None:
        self._message.append(bytes(payload))
        self._message_size += len(payload)
        if self._message_size > frames.MAX_MESSAGE:
            raise frames.FrameError("control message is too large")
        if kind & frames.FIN:
            body = b"".join(self._message)
            self._message, self._message_size = [], 0
            self.on_message(body)

    def _on_control(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.PING:
            transport.send_pong(None)
        elif frame.msg_type is WSMsgType.CLOSE:
            message = frame.get_close_message() or b""
            self.close(message.decode("utf-8", "replace") or "closed by the peer", WSCloseCode.OK)
        elif frame.msg_type is not WSMsgType.PONG:
            self.close("protocol error: only binary messages are spoken here", WSCloseCode.UNSUPPORTED_DATA)

    def on_open(self, number: int, fin: int, payload: memoryview) -> None:
        """The peer opens a stream."""
        raise frames.FrameError("this end accepts no requests")

    def on_late(self, number: int) -> None:
        """A frame speaks of a stream that has just ended here: both sides may end one at the same time."""

    def on_message(self, body: bytes) -> None:
        """A control message has arrived."""

    # life

    @property
    def connected(self) -> bool:
        """Whether the WebSocket is up."""
        return self._transport is not None

    @property
    def usable(self) -> bool:
        """Whether new streams may be opened."""
        return self._transport is not None and not self._closing

    @property
    def backlog(self) -> int:
        """Bytes that wait for the socket."""
        transport = self._transport
        return transport.underlying_transport.get_write_buffer_size() if transport is not None else 0

    def ping(self) -> None:
        """Asks the peer for a sign of life (contract, clusters-and-agents §3.7: the payload is empty)."""
        if self._transport is not None:
            self._transport.send_ping(None)

    def close(self, reason: str, code: WSCloseCode = WSCloseCode.GOING_AWAY) -> None:
        """Ends the tunnel; every stream hears `reason`."""
        self._reason = self._reason or reason
        transport = self._transport
        if transport is not None and not self._closing and not transport.is_disconnected:
            self._write()
            self._closing = True
            transport.send_close(code, reason.encode()[:120].decode("utf-8", "ignore"))
            self.loop.call_later(CLOSE_GRACE, transport.disconnect, False)
            transport.disconnect()

    def drop(self, reason: str) -> None:
        """Cuts the tunnel without waiting: the peer is taken for dead."""
        self._reason = self._reason or reason
        self._closing = True
        if self._transport is not None:
            self._transport.disconnect(False)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The WebSocket is gone: so are the streams."""
        self._transport = None
        self._closing = True
        self._out = []
        streams, self.streams = list(self.streams.values()), {}
        self.waiting.clear()
        reason = self._reason or "tunnel disconnect"
        for stream in streams:
            stream.on_gone(reason)
        if not self.closed.done():
            self.closed.set_result(reason)

    def pause_writing(self) -> None:
        """The socket takes no more: whoever wants to send waits in `waiting`."""
        self.blocked = True

    def resume_writing(self) -> None:
        """The socket takes bytes again."""
        self.blocked = False
        waiting, self.waiting = self.waiting, set()
        for stream in waiting:
            stream.on_writable()
