"""WebSockets of the façade: between uvicorn, which hands a handshake over, and picows, which frames (RFC 6455).

uvicorn brings no WebSocket of its own. Its hook (`Config.ws`) gets this class; the application is asked first, and
only when it accepts is the handshake answered. Until then it may refuse with any HTTP answer (ASGI extension
`websocket.http.response`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any, Final
from urllib.parse import unquote

import httptools
import picows
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport
from picows.picows import WSProtocol  # type: ignore[attr-defined]
from starlette.types import Message
from starlette.websockets import WebSocketDisconnect

MAX_MESSAGE: Final = 1 << 20
"""Bytes of one message of a client's."""

MAX_WAITING: Final = 256
"""Messages that wait for the application at most: a client that sends more is cut off."""

_REASONS: Final = {401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 503: "Service Unavailable"}
_log = logging.getLogger(__name__)
_frames = logging.getLogger("outrider.facade.frames")
_frames.setLevel(logging.ERROR)


class WebSocketProtocol(asyncio.Protocol):
    """One handshake, and the WebSocket that may come of it."""

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        self._app = config.loaded_app
        self._state = server_state
        self._app_state = app_state
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._url = b""
        self._refusal: Message | None = None
        self._ear = Ear()

    # from uvicorn

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection of the handshake."""
        self._transport = transport  # type: ignore[assignment]
        self._state.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """The whole head of the handshake, in one piece; then what a hasty client sends before it is answered."""
        if self._head:
            self._head += data
            return
        self._head = data
        parser = httptools.HttpRequestParser(self)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError:
            return self.shutdown()
        task = asyncio.get_running_loop().create_task(self._run())
        self._state.tasks.add(task)
        task.add_done_callback(self._state.tasks.discard)
        return None

    def on_url(self, url: bytes) -> None:
        """httptools."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools."""
        self._fields.append((name.lower(), value))

    def connection_lost(self, error: Exception | None) -> None:
        """The client went before it was answered."""
        self._ear.ended()
        self._state.connections.discard(self)

    def shutdown(self) -> None:
        """The server stops."""
        if not self._ear.close(WSCloseCode.GOING_AWAY) and self._transport is not None:
            self._transport.close()

    # towards the application

    async def _run(self) -> None:
        try:
            await self._app(self._scope(), self._ear.receive, self._send)
        except WebSocketDisconnect:
            pass
        except Exception:
            # The last edge before the event loop, which would say less
            _log.exception("the handler of a WebSocket failed")
        finally:
            self.shutdown()
            self._state.connections.discard(self)

    def _scope(self) -> dict[str, Any]:
        path, _, query = self._url.partition(b"?")
        return {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "ws",
            "server": None,
            "client": None,
            "root_path": "",
            "path": unquote(path.decode("ascii", "replace")),
            "raw_path": path,
            "query_string": query,
            "headers": self._fields,
            "subprotocols": [],
            "state": self._app_state.copy(),
            "extensions": {"websocket.http.response": {}},
        }

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "websocket.accept":
            self._accept()
        elif kind == "websocket.send":
            await self._ear.send(message)
        elif kind == "websocket.http.response.start":
            self._refusal = message
        elif kind == "websocket.http.response.body":
            self._refuse(self._refusal or message, message.get("body", b""))
        elif kind == "websocket.close" and not self._ear.close(WSCloseCode.OK):
            self._refuse({"status": 403, "headers": []}, b"")

    def _accept(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        protocol = WSProtocol(
            None,  # host and path are a client's business
            None,
            False,  # server side
            lambda _request: self._ear,
            _frames,
            True,  # an exception in a callback ends the connection
            10.0,  # handshake time-out, seconds
            True,  # clients that vanish are noticed
            30.0,
            10.0,
            picows.WSAutoPingStrategy.PING_WHEN_IDLE,
            True,
            MAX_MESSAGE,
            None,
            16 * 1024,
        )
        protocol.connection_made(_WithoutOptions(self._transport))
        self._transport.set_protocol(protocol)
        at = 0
        while at < len(self._head):
            room = protocol.get_buffer(-1)
            part = self._head[at : at + len(room)]
            room[: len(part)] = part
            protocol.buffer_updated(len(part))
            at += len(part)

    def _refuse(self, start: Message, body: bytes) -> None:
        if self._transport is None or self._ear.is_open:
            return
        status = int(start["status"])
        kept = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
        fields = [*kept, (b"content-length", b"%d" % len(body)), (b"connection", b"close")]
        head = b"HTTP/1.1 %d %b\r\n" % (status, _REASONS.get(status, "Refused").encode())
        lines = b"".join(b"%b: %b\r\n" % field for field in fields)
        self._transport.write(head + lines + b"\r\n" + body)
        self._transport.close()


class _WithoutOptions:
    """A transport whose socket takes no options: picows sets those of TCP, which a Unix socket refuses."""

    def __init__(self, wrapped: Any) -> None:
        self._wrapped = wrapped

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As the transport says, but for the socket."""
        found = self._wrapped.get_extra_info(name, default)
        return _WithoutOptions(found) if name == "socket" and found is not None else found

    def setsockopt(self, *_: Any) -> None:
        """Nothing."""

    def getsockopt(self, *_: Any) -> int:
        """Off."""
        return 0


class Ear(WSListener):
    """Frames become messages for the application, which takes them when it likes."""

    def __init__(self) -> None:
        self._transport: WSTransport | None = None
        self._messages: deque[Message] = deque([{"type": "websocket.connect"}])
        self._partial: list[bytes] = []
        self._size = 0
        self._is_text = True
        self._there = asyncio.Event()
        self._there.set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._over = False

    @property
    def is_open(self) -> bool:
        """Whether the handshake was answered and the connection lasts."""
        return self._transport is not None and not self._over

    # picows

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The WebSocket is up."""
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A message, or part of one."""
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            return transport.disconnect()
        if frame.msg_type not in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION):
            return None
        if frame.msg_type != WSMsgType.CONTINUATION:
            self._partial, self._size, self._is_text = [], 0, frame.msg_type == WSMsgType.TEXT
        part = frame.get_payload_as_bytes()
        self._partial.append(part)
        self._size += len(part)
        if self._size > MAX_MESSAGE or len(self._messages) > MAX_WAITING:
            transport.send_close(WSCloseCode.POLICY_VIOLATION)
            return transport.disconnect()
        if frame.fin:
            self._deliver(b"".join(self._partial))
        return None

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The WebSocket is gone."""
        self.ended()

    def pause_writing(self) -> None:
        """The client reads slowly."""
        self._flowing.clear()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._flowing.set()

    # the application

    async def receive(self) -> Message:
        """The next message; ASGI."""
        await self._there.wait()
        message = self._messages.popleft()
        if not self._messages and not self._over:
            self._there.clear()
        elif not self._messages:
            self._messages.append({"type": "websocket.disconnect", "code": 1006})
        return message

    async def send(self, message: Message) -> None:
        """Sends text or bytes, as soon as the client takes more. Raises OSError when it is gone (ASGI)."""
        await self._flowing.wait()
        if self._transport is None or self._over:
            raise OSError("the client is gone")
        text = message.get("text")
        if text is not None:
            self._transport.send(WSMsgType.TEXT, text.encode())
        else:
            self._transport.send(WSMsgType.BINARY, message.get("bytes") or b"")

    def close(self, code: WSCloseCode) -> bool:
        """Closes the WebSocket; False when there is none."""
        if not self.is_open or self._transport is None:
            return self._transport is not None
        self._transport.send_close(code)
        self._transport.disconnect()
        return True

    def ended(self) -> None:
        """Nothing more comes or goes."""
        if not self._over:
            self._over = True
            self._messages.append({"type": "websocket.disconnect", "code": 1006})
            self._there.set()
            self._flowing.set()

    def _deliver(self, data: bytes) -> None:
        text = data.decode("utf-8", "replace") if self._is_text else None
        self._messages.append(
            {"type": "websocket.receive", "text": text, "bytes": None if self._is_text else data}
        )
        self._there.set()
