"""What control does for the replicas of the server among each other.

It issues the certificates by which they know each other, publishes where this replica's gateway lets peers in,
and tells the gateway which others live and what tunnels they hold.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Final, Protocol

from outrider.kit import pki
from outrider.kit.clock import Clock
from outrider.kube.client import Client
from outrider.kube.errors import KubeError
from outrider.link.messages import PEER_GROUP, Message, Peer, PeerDoor, PeerMaterial, Peers
from outrider.server.serving import ensure

log = logging.getLogger(__name__)

AUTHORITY: Final = "outrider-peer-ca"
"""Secret with the authority that issues certificates for replicas, and for nobody else."""

LIFETIME: Final = timedelta(days=30)


class Published(Protocol):
    """What all replicas publish about themselves."""

    def replicas(self) -> list[Peer]:
        """The live ones, this one among them."""

    def on_replicas(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` after each change."""


class PeerAuthority:
    """Issues this replica's certificate: good as a server and as a client, towards other replicas only.

    The authority is one of its own, so that no certificate of a user, an agent or the front door can pass. The
    replica's key never leaves its two processes.
    """

    def __init__(self, client: Client, replica: str, clock: Clock) -> None:
        self._client = client
        self._replica = replica
        self._clock = clock
        self._held: pki.Credential | None = None

    async def read(self) -> PeerMaterial:
        """The material, issued anew when it is due. Raises KubeError and PkiError."""
        now = self._clock.now()

        def issue(former: pki.Credential | None) -> pki.Credential:
            if former is None:
                return pki.create_authority("outrider-peers", now=now)
            return pki.renew_authority(former, now=now)  # the key stays, and with it what it has signed

        authority = await ensure(
            self._client, AUTHORITY, issue, lambda held: pki.near_expiry(held.cert_pem, now=now)
        )
        held = self._held
        if held is None or pki.must_reissue(held, authority.cert_pem, now=now, dns=[self._replica]):
            held = self._held = pki.issue_server(
                authority,
                self._replica,
                groups=[PEER_GROUP],
                now=now,
                dns=[self._replica],
                client=True,
                lifetime=LIFETIME,
            )
        return PeerMaterial(
            certificate=held.cert_pem.decode(), key=held.key_pem.decode(), ca=authority.cert_pem.decode()
        )


class PeerDirectory:
    """Keeps the gateway informed about the other replicas, and the others about this gateway.

    `publish(address)` makes the gateway's door known; `send` hands a message to the gateway. `run` is to start
    once it is known what all replicas publish. `interval` is that of looking at the certificate, in seconds.
    """

    def __init__(
        self,
        replica: str,
        authority: PeerAuthority,
        published: Published,
        *,
        publish: Callable[[str], None],
        send: Callable[[Message], None],
        interval: float = 600.0,
    ) -> None:
        self._replica = replica
        self._authority = authority
        self._published = published
        self._publish = publish
        self._send = send
        self._interval = interval
        self._material: PeerMaterial | None = None
        self._told: Peers | None = None
        published.on_replicas(self._changed)

    def attached(self) -> None:
        """A gateway has connected: it is told what is known already."""
        if self._material is not None:
            self._send(self._material)
        if self._told is not None:
            self._send(self._told)

    def door(self, message: PeerDoor) -> None:
        """The gateway lets peers in at this address."""
        self._publish(message.address)

    async def run(self) -> None:
        """Tells the gateway of every change, until cancelled."""
        self._tell()
        while True:
            await self._load()
            await asyncio.sleep(self._interval if self._material is not None else 1.0)

    async def _load(self) -> None:
        try:
            material = await self._authority.read()
        except (KubeError, pki.PkiError) as error:
            log.warning("no new certificate towards the other replicas: %s; trying again", error)
            return
        if material != self._material:
            self._material = material
            self._send(material)

    def _changed(self) -> None:
        # Before `run` only a part may be known, and the gateway would drop what it was told by a former control.
        if self._told is not None:
            self._tell()

    def _tell(self) -> None:
        others = tuple(one for one in self._published.replicas() if one.replica != self._replica)
        message = Peers(replica=self._replica, others=others)
        if message != self._told:
            self._told = message
            self._send(message)
