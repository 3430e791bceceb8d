"""The front door's sockets: TLS with material that can change, plain HTTP for ingresses, and a sweeper."""

import asyncio
import os
import ssl
from collections.abc import Iterable

import aiofastnet

from outrider.gateway import answers
from outrider.gateway.connection import ClientConnection, Dispatcher
from outrider.link.messages import PeerMaterial, Serve

HEAD_SECONDS = 15.0
"""Seconds that a client has to complete a request's head."""
IDLE_SECONDS = 180.0
"""Seconds that a kept-alive connection may stay idle."""
BODY_SECONDS = 180.0
"""Seconds for which a client may send nothing of a body that it has begun."""
CLOSE_SECONDS = 60.0
"""Seconds that a client has to take the rest of the last answer."""
HANDSHAKE_SECONDS = 10.0
BACKLOG = 4096
BUFFER = 64 * 1024
"""Bytes of a connection's TLS buffers; several times a kubectl request, and cheap for thousands of idle tunnels."""


def server_context() -> ssl.SSLContext:
    """A TLS context without a certificate yet: TLS 1.2 or newer, HTTP/1.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    return context


def load(context: ssl.SSLContext, material: Serve | PeerMaterial) -> None:
    """Lets new handshakes use this certificate and key; raises ssl.SSLError when they do not fit."""
    # The ssl module only reads files: one in memory never touches a disk.
    with os.fdopen(os.memfd_create("serving", os.MFD_CLOEXEC), "wb") as file:
        file.write(material.certificate.encode() + b"\n" + material.key.encode())
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")


class Listeners:
    """The listening sockets of the gateway."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._context = server_context()
        self._servers: list[asyncio.Server] = []
        self._loop = asyncio.get_running_loop()

    def use(self, material: Serve) -> None:
        """New handshakes use this material."""
        load(self._context, material)

    async def listen(self, address: str, port: int, *, tls: bool) -> int:
        """Listens; returns the port. Raises OSError."""
        scheme = "https" if tls else "http"
        server = await aiofastnet.create_server(
            self._loop,
            lambda: ClientConnection(self._dispatcher, scheme=scheme),
            address,
            port,
            ssl=self._context if tls else None,
            ssl_handshake_timeout=HANDSHAKE_SECONDS if tls else None,
            ssl_incoming_bio_size=BUFFER if tls else None,
            ssl_outgoing_bio_size=BUFFER if tls else None,
            backlog=BACKLOG,
        )
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stops listening; connections that exist go on."""
        for server in self._servers:
            server.close()


def sweep(connections: Iterable[ClientConnection], now: float) -> None:
    """Ends connections that stay idle too long, or never complete a head or a body (slow-loris)."""
    for connection in list(connections):
        quiet = now - connection.since
        if connection.closing:
            if quiet > CLOSE_SECONDS:
                connection.abort("the client does not take the rest of its answer")
            continue
        if not connection.idle:
            if connection.receiving_body and quiet > BODY_SECONDS:
                connection.abort("the request's body does not come")
            continue
        if connection.receiving_head and quiet > HEAD_SECONDS:
            connection.refuse(answers.status(408, "the request's head did not come in time"))
        elif quiet > IDLE_SECONDS:
            connection.close()
