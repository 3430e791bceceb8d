"""One end of the link: messages as length-prefixed JSON over a Unix socket.

A frame is a length (u32, big endian) and that many bytes of JSON. A length instead of a line end, because raw
bodies from agents may hold line breaks and must not be able to start a message of their own.
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec

from outrider.link.messages import FromAgent, Message, ToAgent

MAX_MESSAGE = 16 * 1024 * 1024
"""Bytes of one message; a longer one ends the connection."""

MAX_BACKLOG = 64 * 1024 * 1024
"""Bytes that may wait for a slow peer before the connection is given up."""

_LENGTH = struct.Struct("!I")
_MAX_SOCKET_PATH = 107

Handler = Callable[["Endpoint"], Awaitable[None]]


class LinkError(Exception):
    """The link broke: the peer sent what is no message, or takes nothing any more."""


def encode(message: Message) -> bytes:
    """One frame. Raises LinkError for a message that is too long or a raw body that is not one JSON value."""
    if isinstance(message, (FromAgent, ToAgent)):
        _check_body(message.body)
    payload = msgspec.json.encode(message)
    if len(payload) > MAX_MESSAGE:
        raise LinkError(f"message of {len(payload)} bytes is longer than the link's {MAX_MESSAGE}")
    return _LENGTH.pack(len(payload)) + payload


def decode(payload: bytes) -> Message:
    """The message in a frame's payload. Raises LinkError when it is none."""
    try:
        return _decoder.decode(payload)
    # RecursionError: deeply nested input; UnicodeDecodeError is a ValueError
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise LinkError("the peer on the link sent something that is not a message") from None


def _check_body(body: msgspec.Raw) -> None:
    # msgspec copies raw JSON unchecked: a body like `1,"session":7` would rewrite the message around it
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise LinkError("the body of an agent's message is not one JSON value") from None


_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


class Endpoint:
    """Sends without blocking, receives by iteration; iteration ends when the peer closes in order."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, max_backlog: int = MAX_BACKLOG
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._max_backlog = max_backlog

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._writer.is_closing()

    def send(self, message: Message) -> None:
        """Queue a message. Raises LinkError when the link is closed; a peer that stalls gets it closed."""
        frame = encode(message)
        if self._writer.is_closing():
            raise LinkError("the link is closed")
        if self._writer.transport.get_write_buffer_size() + len(frame) > self._max_backlog:
            self._writer.transport.abort()
            raise LinkError(f"the peer on the link let more than {self._max_backlog} bytes pile up")
        self._writer.write(frame)

    async def __aiter__(self) -> AsyncIterator[Message]:
        while (payload := await self._read_frame()) is not None:
            yield decode(payload)

    async def _read_frame(self) -> bytes | None:
        try:
            head = await self._reader.readexactly(_LENGTH.size)
            (length,) = _LENGTH.unpack(head)
            if length > MAX_MESSAGE:
                raise LinkError(f"the peer on the link announced {length} bytes; {MAX_MESSAGE} are allowed")
            return await self._reader.readexactly(length)
        except asyncio.IncompleteReadError as error:
            if error.partial or error.expected != _LENGTH.size:
                raise LinkError("the link ended in the middle of a message") from None
            return None
        except ConnectionError:
            raise LinkError("the peer on the link went away") from None

    async def drain(self) -> None:
        """Wait until most of what was sent has left. Raises LinkError when the peer is gone."""
        try:
            await self._writer.drain()
        except ConnectionError:
            raise LinkError("the peer on the link went away") from None

    def start_closing(self) -> None:
        """Close once what was sent has left, without waiting for it."""
        self._writer.close()

    async def close(self) -> None:
        """Close after what was sent has left; returns when the socket is closed."""
        self.start_closing()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


class Listener:
    """A listening link socket and the connections it accepted."""

    def __init__(self, path: Path, handler: Handler) -> None:
        self._path = path
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._tasks: dict[asyncio.Task[None], Endpoint] = {}

    async def start(self) -> None:
        """Bind the socket, mode 0600, in place of a stale one."""
        listening = _bind(self._path)
        self._server = await asyncio.start_unix_server(self._accept, sock=listening)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        endpoint = Endpoint(reader, writer)
        task = asyncio.create_task(self._run(endpoint))
        self._tasks[task] = endpoint
        task.add_done_callback(self._ended)

    async def _run(self, endpoint: Endpoint) -> None:
        with contextlib.suppress(LinkError):
            await self._handler(endpoint)

    def _ended(self, task: asyncio.Task[None]) -> None:
        # here and not in the task, which may be cancelled before its first step
        self._tasks.pop(task).start_closing()

    async def close(self) -> None:
        """Stop listening, end every handler, remove the socket file."""
        if self._server is not None:
            self._server.close()
        running = dict(self._tasks)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.gather(*(endpoint.close() for endpoint in running.values()))
        if self._server is not None:
            await self._server.wait_closed()
        self._path.unlink(missing_ok=True)


def _bind(path: Path) -> socket.socket:
    _check_path(path)
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(path))
    # before listen(): nobody can have connected with wider rights
    os.chmod(path, 0o600)
    return listening


def _check_path(path: Path) -> None:
    if len(os.fsencode(path)) > _MAX_SOCKET_PATH:
        raise LinkError(
            f"socket path {path} is longer than the system's {_MAX_SOCKET_PATH} bytes: "
            "choose a data folder with a shorter name"
        )


async def serve(path: str | Path, handler: Handler) -> Listener:
    """Listen at path; handler runs once a connection, which is closed when it returns."""
    listener = Listener(Path(path), handler)
    await listener.start()
    return listener


async def connect(path: str | Path) -> Endpoint:
    """Connect to a listening link. Raises LinkError when nobody listens."""
    _check_path(Path(path))
    try:
        reader, writer = await asyncio.open_unix_connection(str(path))
    except OSError as error:
        raise LinkError(f"cannot reach the link at {path}: {error.strerror}") from None
    return Endpoint(reader, writer)
