"""The front door's sockets: TLS with material that can change, plain HTTP for ingresses, and a sweeper."""

import os
import ssl
from collections.abc import Callable, Iterable

from outrider.gateway import answers
from outrider.gateway.config import ConnectionLimits
from outrider.gateway.connection import ClientConnection, Dispatcher
from outrider.gateway.entrance import Crowd, Entrance, bound
from outrider.link.messages import PeerMaterial, Serve

HEAD_SECONDS = 15.0
"""Seconds that a client has to complete a request's head."""
IDLE_SECONDS = 180.0
"""Seconds that a kept-alive connection may stay idle."""
CROWDED_IDLE_SECONDS = 5.0
"""The same while others cannot get in."""
BODY_SECONDS = 180.0
"""Seconds for which a client may send nothing of a body that it has begun."""
CLOSE_SECONDS = 60.0
"""Seconds that a client has to take the rest of the last answer."""


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
    """The listening sockets of the gateway.

    All together let in as many clients as `limits` says; `trusts` tells the addresses of trusted proxies.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        limits: ConnectionLimits | None = None,
        *,
        trusts: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._dispatcher = dispatcher
        self._context = server_context()
        self._crowd = Crowd(limits or ConnectionLimits(), trusts)
        self._entrances: list[Entrance] = []

    def use(self, material: Serve) -> None:
        """New handshakes use this material."""
        load(self._context, material)

    async def listen(self, address: str, port: int, *, tls: bool) -> int:
        """Listens; returns the port. Raises OSError."""
        context = self._context if tls else None
        made = [Entrance(self._crowd, self._dispatcher, one, context) for one in await bound(address, port)]
        self._entrances += made
        return made[0].port

    @property
    def patience(self) -> float:
        """Seconds for which a connection may stay idle right now."""
        return CROWDED_IDLE_SECONDS if self._crowd.crowded else IDLE_SECONDS

    def values(self) -> dict[str, float]:
        """Counters of connections that were refused."""
        return self._crowd.values()

    async def close(self) -> None:
        """Stops listening; connections that exist go on."""
        for entrance in self._entrances:
            entrance.close()


def sweep(connections: Iterable[ClientConnection], now: float, *, idle: float = IDLE_SECONDS) -> None:
    """Ends connections that stay idle for longer than `idle`, or never complete a head or a body (slow-loris)."""
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
        elif quiet > idle:
            connection.close()
