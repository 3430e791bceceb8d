from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import aiofastnet
import pytest

from outrider.kit import pki
from outrider.kit.transports import resume_reading

ONE_READ = 262_144
"""Bytes that aiofastnet hands on at once."""
BEHIND = 600
"""Bytes after them that still fit into what it takes from the socket at once."""


class Reader(asyncio.Protocol):
    """Pauses after the first bytes."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.sizes.append(len(data))
        assert self.transport is not None
        if len(self.sizes) == 1:
            self.transport.pause_reading()


@pytest.fixture
def server(tmp_path: Path) -> Any:
    """Sends everything at once to whoever connects, and says when it is on its way."""
    now = datetime.now(UTC)
    issued = pki.issue_server(pki.create_authority("tests", now=now), "tests", ips=["127.0.0.1"], now=now)
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    certificate.write_bytes(issued.cert_pem)
    key.write_bytes(issued.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listening = socket.create_server(("127.0.0.1", 0))
    sent, over = threading.Event(), threading.Event()

    def serve() -> None:
        plain, _ = listening.accept()
        with context.wrap_socket(plain, server_side=True) as stream:
            stream.recv(1)
            stream.sendall(b"x" * (ONE_READ + BEHIND))
            sent.set()
            over.wait(10)

    thread = threading.Thread(target=serve)
    thread.start()
    yield listening.getsockname()[1], sent
    over.set()
    thread.join(10)
    listening.close()


async def test_what_tls_holds_is_read_when_reading_goes_on(server: Any) -> None:
    port, sent = server
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    plain.connect(("127.0.0.1", port))
    plain.setblocking(False)
    transport, reader = await cast(Any, aiofastnet).create_connection(
        asyncio.get_running_loop(), Reader, sock=plain, ssl=context, server_hostname="127.0.0.1"
    )
    transport.write(b"?")
    await asyncio.sleep(0)
    assert sent.wait(10)
    time.sleep(0.1)  # nothing is read before all of it is here
    async with asyncio.timeout(5):
        while not reader.sizes:
            await asyncio.sleep(0.01)
    assert reader.sizes == [ONE_READ], "some is left behind"
    resume_reading(transport)
    async with asyncio.timeout(5):
        while sum(reader.sizes) < ONE_READ + BEHIND:
            await asyncio.sleep(0.01)
    transport.abort()
