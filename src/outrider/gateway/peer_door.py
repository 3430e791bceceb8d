"""Where other replicas come in: mutual TLS, forwarded requests for this replica's own tunnels, and nothing else.

What comes in here is never forwarded again: the desk below knows tunnels and no peers. So a request makes one
hop at most, whatever two replicas believe about each other.
"""

import asyncio
import base64
import binascii
import re
import ssl
from collections import defaultdict
from typing import Any, Final, Protocol, cast

import aiofastnet

from outrider.gateway import answers
from outrider.gateway.connection import ClientConnection
from outrider.gateway.entrance import BACKLOG, BUFFER, HANDSHAKE_SECONDS
from outrider.gateway.exchange import Exchange
from outrider.gateway.listener import load
from outrider.link.messages import CLAIM_HEADER, CLUSTER_HEADER, PEER_GROUP, PeerMaterial
from outrider.tunnel.exchange import Backend
from outrider.tunnel.frames import Request

ROUTE: Final = "peer"
NOT_FORWARDED: Final = answers.status(400, "only requests that another replica forwards are taken here")

_CLUSTER = CLUSTER_HEADER.encode("ascii")
_CLAIM = CLAIM_HEADER.encode("ascii")
_ID = re.compile(rb"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")


class PeerConnection(ClientConnection):
    """A connection of another replica's; anybody else is dropped before a byte is read."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TLS has checked who issued the certificate; here, what for."""
        if not is_replica(transport.get_extra_info("peercert")):
            transport.abort()  # type: ignore[attr-defined]
            return
        super().connection_made(transport)


class Finder(Protocol):
    """Knows the way to clusters."""

    def find(self, cluster: str) -> Backend | None:
        """The way to a cluster, None while there is none."""


class PeerDesk:
    """Sends what is forwarded down the tunnels that `finder` finds: for peers, this replica's own."""

    def __init__(self, finder: Finder) -> None:
        self.connections: set[ClientConnection] = set()
        self._finder = finder
        self._answers: defaultdict[int, int] = defaultdict(int)

    def start(self, exchange: Exchange) -> None:
        """Runs a forwarded request, or refuses it."""
        exchange.route = ROUTE
        cluster, claim = exchange.header(_CLUSTER), _identity(exchange.header(_CLAIM))
        if _ID.fullmatch(cluster) is None or claim is None or exchange.credential:
            return exchange.answer(NOT_FORWARDED)
        exchange.cluster = cluster.decode("ascii")
        session = self._finder.find(exchange.cluster)
        if session is None:
            return exchange.answer(answers.DISCONNECTED)
        forwarded = exchange.header(b"x-forwarded-for")
        head = b"".join(
            (
                exchange.method,
                b" ",
                exchange.target,
                b" HTTP/1.1\r\n",
                *exchange.lines,
                b"x-forwarded-for: %b\r\n" % forwarded if forwarded else b"",
            )
        )
        request = Request(head, exchange.length, exchange.upgrade)
        return exchange.run_on(session.open(request, claim, exchange))

    def connected(self, connection: ClientConnection) -> None:
        """A peer has connected."""
        self.connections.add(connection)

    def disconnected(self, connection: ClientConnection) -> None:
        """A peer's connection is gone."""
        self.connections.discard(connection)

    def switched(self, exchange: Exchange) -> None:
        """An exchange has switched protocols; the replica that it came from keeps the record."""

    def finished(self, exchange: Exchange) -> None:
        """An exchange is over."""
        self._answers[exchange.status // 100] += 1

    def values(self) -> dict[str, float]:
        """Answers given to peers so far, by family of status (0: the peer gave up before)."""
        return {
            f'outrider_gateway_peer_answers_total{{code="{family}xx"}}': number
            for family, number in self._answers.items()
        }


class PeerDoor:
    """The listening socket for peers."""

    def __init__(self, desk: PeerDesk) -> None:
        self._desk = desk
        self._context = peer_context()
        self._server: asyncio.Server | None = None

    def use(self, material: PeerMaterial) -> None:
        """New handshakes use this certificate and trust this authority (one that is renewed keeps its key)."""
        self._context.load_verify_locations(cadata=material.ca)
        load(self._context, material)

    async def listen(self, host: str, port: int) -> int:
        """Listens; returns the port. Raises OSError. Before `use`, every handshake fails."""
        self._server = await aiofastnet.create_server(
            asyncio.get_running_loop(),
            lambda: cast(asyncio.Protocol, PeerConnection(self._desk, scheme="https")),
            host,
            port,
            ssl=self._context,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            ssl_incoming_bio_size=BUFFER,
            ssl_outgoing_bio_size=BUFFER,
            backlog=BACKLOG,
        )
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Stops listening; connections that exist go on."""
        if self._server is not None:
            self._server.close()


def peer_context() -> ssl.SSLContext:
    """TLS 1.3; a certificate is demanded, and nobody is trusted yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    return context


def is_replica(certificate: dict[str, Any] | None) -> bool:
    """Whether a verified certificate (as `SSLObject.getpeercert` shows it) was issued for a replica."""
    subject = [pair for name in (certificate or {}).get("subject", ()) for pair in name]
    return ("organizationName", PEER_GROUP) in subject and any(key == "commonName" for key, _ in subject)


def _identity(value: bytes) -> bytes | None:
    """The identity (JSON) that a peer vouches for; None when there is none."""
    try:
        return base64.b64decode(value, altchars=b"-_", validate=True) or None
    except binascii.Error:
        return None
