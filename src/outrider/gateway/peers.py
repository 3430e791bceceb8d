"""The way to a cluster whose tunnel another replica holds: one more backend, over mutual TLS."""

import asyncio
import base64
import socket
import ssl
from collections import deque
from collections.abc import Callable, Sequence
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

    def open(self, request: Request, claim: bytes, responder: Responder) -> Upstream:
        """Forwards a request; `claim` as `ForwardedClaim` expects it."""
        self.forwarded += 1
        return self.pool.open(request, claim, responder)


class PeerRoute(Backend):
    """One cluster, through the peers that hold a tunnel to it: one after the other, until one can be reached."""

    def __init__(self, peers: Sequence[PeerReplica], cluster: str) -> None:
        self._peers = peers
        self._cluster = cluster.encode("ascii")

    def open(self, request: Request, claim: bytes, responder: Responder) -> Upstream:
        """Forwards a request."""
        claim = self._cluster + b" " + claim
        if len(self._peers) == 1:
            return self._peers[0].open(request, claim, responder)
        return Attempts(self._peers, request, claim, responder)


class Attempts(Upstream, Responder):
    """A forwarded request that the next holder gets when one refused it, as long as no byte of its body left."""

    def __init__(
        self, peers: Sequence[PeerReplica], request: Request, claim: bytes, responder: Responder
    ) -> None:
        self._peers = deque(peers)
        self._request = request
        self._claim = claim
        self._responder = responder
        self._began = self._finished = self._paused = False
        self._upstream: Upstream | None = None
        self._try()

    def _try(self) -> None:
        upstream = self._peers.popleft().open(self._request, self._claim, self)
        if self._finished:
            upstream.finish()
        if self._paused:
            upstream.pause()
        self._upstream = upstream

    # from the client

    def send(self, data: bytes | memoryview) -> None:
        """Part of the body: what was sent is not kept, so the request stays with this peer."""
        self._began = True
        if self._upstream is not None:
            self._upstream.send(data)

    def finish(self) -> None:
        """The body is complete."""
        self._finished = True
        if self._upstream is not None:
            self._upstream.finish()

    def reset(self) -> None:
        """The request is given up."""
        self._began = True
        if self._upstream is not None:
            self._upstream.reset()

    def pause(self) -> None:
        """The reader is slow."""
        self._paused = True
        if self._upstream is not None:
            self._upstream.pause()

    def resume(self) -> None:
        """The reader has caught up."""
        self._paused = False
        if self._upstream is not None:
            self._upstream.resume()

    # from the peer

    def on_head(self, status: int, length: int, lines: bytes, body: bytes | memoryview, last: bool) -> None:
        """The response's head."""
        self._responder.on_head(status, length, lines, body, last)

    def on_data(self, data: bytes | memoryview) -> None:
        """Bytes of the body."""
        self._responder.on_data(data)

    def on_end(self, trailers: bytes) -> None:
        """The response is complete."""
        self._responder.on_end(trailers)

    def on_reset(self, reason: str, *, refused: bool = False) -> None:
        """Not reached: the next one."""
        if refused and self._peers and not self._began:
            return self._try()
        return self._responder.on_reset(reason, refused=refused)

    def pause_sending(self) -> None:
        """Hold the request's body back."""
        self._responder.pause_sending()

    def resume_sending(self) -> None:
        """More of the body is welcome."""
        self._responder.resume_sending()


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
        """The way to a cluster through the peers that hold a tunnel to it."""
        holders = self._holders.get(cluster)
        if not holders or not self._ready:
            return None
        usable = [peer for peer in holders if peer.usable]
        return PeerRoute(usable, cluster) if usable else None

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
