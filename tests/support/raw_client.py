"""Sends bytes as they are, and tells what came back and how it ended."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import time

from tests.support.door import Door

KEY = base64.b64encode(b"0123456789abcdef").decode()


def exchange(door: Door, *parts: bytes, pause: float = 0.0, seconds: float = 10.0) -> bytes:
    """Everything up to the server's close. Raises TimeoutError when it does not close."""
    received = b""
    with door.socket() as stream:
        stream.settimeout(seconds)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for part in parts:
                stream.sendall(part)
                time.sleep(pause)
        with contextlib.suppress(ConnectionResetError):
            while data := stream.recv(65536):
                received += data
    return received


def head(door: Door, request: str, *lines: str, close: bool = True) -> bytes:
    """A request's head with the door's credential."""
    credentials = [f"{name}: {value}" for name, value in door.headers().items()]
    ending = ["Connection: close"] if close else []
    return "\r\n".join(
        [f"{request} HTTP/1.1", f"Host: {door.host}:{door.port}", *credentials, *lines, *ending, "", ""]
    ).encode()


def upgrade(
    door: Door, path: str, *lines: str, protocol: str = "websocket"
) -> tuple[int, bytes, ssl.SSLSocket]:
    """Asks for another protocol; status, what came so far, and the connection."""
    wanted = ["Connection: Upgrade", f"Upgrade: {protocol}"]
    if protocol == "websocket":
        wanted += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}"]
    stream = door.socket()
    stream.settimeout(10)
    stream.sendall(head(door, f"GET {door.prefix}{path}", *wanted, *lines, close=False))
    answer = b""
    while b"\r\n\r\n" not in answer:
        data = stream.recv(65536)
        if not data:
            break
        answer += data
    return status(answer), answer, stream


def status(answer: bytes) -> int:
    """The first status; 0 for none."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0


def ended(stream: socket.socket, seconds: float) -> bool:
    """Whether the other side ends the connection in time."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        stream.settimeout(max(0.05, left))
        try:
            if not stream.recv(65536):
                return True
        except TimeoutError:
            return False
        except OSError:
            return True
    return False
