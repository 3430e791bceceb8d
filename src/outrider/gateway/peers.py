"""The way to a cluster whose tunnel another replica holds: one more backend, over mutual TLS."""

import asyncio
import base64
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, cast

import aiofastnet
import structlog

from outrider.gateway.listener import load
from outrider.link.messages import CLAIM_HEADER, CLUSTER_HEADER, Peer, PeerMaterial, Peers
from outrider.tunnel.exchange import Backend, CredentialError, CredentialSource, Responder, Upstream
from outrider.tunnel.frames import Request
from outrider.tunnel.pool import PoolError, UpstreamPool
from outrider.tunnel.upstream import UpstreamConnection

CONNECT_SECONDS: Final = 1.5
"""Time to reach a peer: with it the answer for a dead one comes within the 2 s that the contract allows."""

SUSPECT_SECONDS: Final = 3.0
"""For this long a peer that could not be reached is not asked again."""

UNACKNOWLEDGED_SECONDS: Final = 10.0
"""A peer that does not acknowledge what it was sent for this long is gone, with its streams."""

_log = structlog.get_logger("outrider.gateway.peers")
_CLUSTER = CLUSTER_HEADER.encode("ascii") + b": "
_CLAIM = b"\r\n" + CLAIM_HEADER.encode("ascii") + b": "


class ForwardedClaim(CredentialSource):
    """The verified identity and the cluster as header lines, which only replicas may send each other.

    A claim is here the cluster's id, a space, and the identity as JSON.
    """

    def header_block(self, claim: bytes) -> bytes | None:
        """The two lines."""
        cluster, _, identity = claim.partition(b" ")
        return _CLUSTER + cluster + _CLAIM + base64.urlsafe_b64encode(identity) + b"\r\n"

    async def prepare(self, claim: bytes) -> bytes:
        """Not needed: `header_block` always knows."""
        raise CredentialError("a forwarded claim needs no preparation")

    def rejected(self, claim: bytes) -> bool:
        """401 from a cluster speaks of the user's credential there, not of ours."""
        return False


class PeerReplica:
    """Another replica: a pool of connections to it, and whether it could be reached lately."""

    def __init__(
        self, peer: Peer, context: Callable[[], ssl.SSLContext], *, now: Callable[[], float]
    ) -> None:
        self.name = peer.replica
        self.address = peer.address
        self.forwarded = 0
        self._context = context
        self._now = now
        self._suspect_until = 0.0
        self.pool = UpstreamPool(self._connect, ForwardedClaim(), host="peer")

    @property
    def usable(self) -> bool:
        """Whether it is worth a try."""
        return self._now() >= self._suspect_until

    async def _connect(self, factory: Callable[[], UpstreamConnection]) -> UpstreamConnection:
        host, _, port = self.address.rpartition(":")
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                transport, connection = await cast(Any, aiofastnet).create_connection(
                    asyncio.get_running_loop(),
                    factory,
                    host.strip("[]"),
                    int(port),
                    ssl=self._context(),
                    server_hostname=self.name,
                    ssl_handshake_timeout=CONNECT_SECONDS,
                )
        except (OSError, TimeoutError, ValueError) as error:
            self._suspect_until = self._now() + SUSPECT_SECONDS
            _log.warning("peer not reached", replica=self.name, address=self.address, error=str(error))
            raise PoolError(
                "the cluster's agent is connected to another server replica, which cannot be reached right now"
            ) from None
        _notice_death(transport)
        return cast(UpstreamConnection, connection)


class PeerRoute(Backend):
    """One cluster, through one peer."""

    def __init__(self, peer: PeerReplica, cluster: str) -> None:
        self._peer = peer
        self._cluster = cluster.encode("ascii")

    def open(self, request: Request, claim: bytes, responder: Responder) -> Upstream:
        """Forwards a request."""
        self._peer.forwarded += 1
        return self._peer.pool.open(request, self._cluster + b" " + claim, responder)


class PeerTable:
    """All other live replicas, and which clusters they hold. `now` is the loop's time."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody
        self._ready = False
        self._peers: dict[tuple[str, str], PeerReplica] = {}
        self._retired: list[PeerReplica] = []
        self._holders: dict[str, list[PeerReplica]] = {}
        self._forwarded: dict[str, int] = {}

    def use(self, material: PeerMaterial) -> None:
        """New connections present this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(cadata=material.ca)
        load(context, material)
        self._context = context
        self._ready = True

    def follow(self, message: Peers) -> None:
        """Takes over who lives and holds what. Streams through a replica that is left out go on."""
        wanted = {(peer.replica, peer.address): peer for peer in message.others if peer.address}
        for key in self._peers.keys() - wanted.keys():
            self._retired.append(self._peers.pop(key))
        for key in wanted.keys() - self._peers.keys():
            self._peers[key] = PeerReplica(wanted[key], lambda: self._context, now=self._now)
        self._holders = {}
        for key, peer in wanted.items():
            for cluster in peer.clusters:
                self._holders.setdefault(cluster, []).append(self._peers[key])

    def find(self, cluster: str) -> PeerRoute | None:
        """The way to a cluster through a peer that holds a tunnel to it."""
        holders = self._holders.get(cluster)
        if not holders or not self._ready:
            return None
        return next((PeerRoute(peer, cluster) for peer in holders if peer.usable), None)

    def sweep(self) -> None:
        """Closes connections that nobody uses any more."""
        for peer in (*self._peers.values(), *self._retired):
            peer.pool.sweep()
        for peer in [one for one in self._retired if not one.pool.connections]:
            self._retired.remove(peer)
            self._forwarded[peer.name] = self._forwarded.get(peer.name, 0) + peer.forwarded

    def values(self) -> dict[str, float]:
        """Requests forwarded so far, by replica."""
        counts = dict(self._forwarded)
        for peer in (*self._peers.values(), *self._retired):
            counts[peer.name] = counts.get(peer.name, 0) + peer.forwarded
        return {
            f'outrider_gateway_forwarded_requests_total{{replica="{name}"}}': number
            for name, number in counts.items()
        }

    async def close(self) -> None:
        """Drops every connection."""
        for peer in (*self._peers.values(), *self._retired):
            await peer.pool.close()


def _notice_death(transport: asyncio.BaseTransport) -> None:
    """Lets the kernel end a connection whose other side vanished without a word."""
    end = transport.get_extra_info("socket")
    if end is None:
        return
    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNACKNOWLEDGED_SECONDS * 1000))
