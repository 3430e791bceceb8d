"""Answers the kubelet's readiness probe: ready while a tunnel is open.

With it a Deployment keeps the old agent until the new one has reached the server.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final, cast

_PATIENCE: Final = 2.0
_MOST: Final = 16
_HEAD: Final = "HTTP/1.1 {}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n"


class Readiness:
    """Listens on `port` of every address. Whatever is asked, the answer is 200 or 503, and no input is read into."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open: set[_Exchange] = set()
        self.tunnels = 0

    async def run(self) -> None:
        """Answers until cancelled. Raises OSError when the port is taken."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: _Exchange(self._open, self.answer), sock=_listen(self._port)
        )
        try:
            await loop.create_future()
        finally:
            server.close()
            for exchange in list(self._open):
                exchange.abort()

    def answer(self) -> bytes:
        """The whole answer as it is now."""
        status, body = ("200 OK", "ok\n") if self.tunnels else ("503 Service Unavailable", "no tunnel\n")
        return (_HEAD.format(status, len(body)) + body).encode()


class _Exchange(asyncio.Protocol):
    """One connection: the first bytes are answered, and silence is not waited for."""

    def __init__(self, others: set[_Exchange], answer: Callable[[], bytes]) -> None:
        self._others = others
        self._answer = answer
        self._transport: asyncio.Transport | None = None
        self._limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if len(self._others) >= _MOST:
            self._transport.abort()
            return
        self._others.add(self)
        self._limit = asyncio.get_running_loop().call_later(_PATIENCE, self.abort)

    def data_received(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._answer())
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._others.discard(self)
        if self._limit is not None:
            self._limit.cancel()

    def abort(self) -> None:
        """Ends it without waiting for the other side."""
        if self._transport is not None:
            self._transport.abort()


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_MOST)
    except (OSError, ValueError):
        return socket.create_server(("", port), backlog=_MOST)
