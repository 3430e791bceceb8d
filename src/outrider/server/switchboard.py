"""Control's end of the link: hands a gateway's messages to whoever understands them."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Protocol

from outrider.features.auth.service import VerdictLink
from outrider.kit.tasks import cancel_and_wait
from outrider.link.endpoint import Endpoint, LinkError
from outrider.link.messages import (
    Admission,
    Admit,
    Counters,
    FromAgent,
    Message,
    PeerDoor,
    Resolve,
    Serve,
    SessionClosed,
    SessionOpened,
)

log = logging.getLogger(__name__)


class Tunnels(Protocol):
    """Follows the tunnels."""

    async def admit(self, message: Admit) -> Admission:
        """Whether an agent may open a tunnel."""

    async def session_opened(self, message: SessionOpened) -> None:
        """A tunnel is up."""

    async def session_closed(self, message: SessionClosed) -> None:
        """A tunnel is gone."""

    async def from_agent(self, message: FromAgent) -> None:
        """A control message of an agent's."""

    def link_lost(self) -> None:
        """The gateway is gone, and all tunnels with it."""


class Peers(Protocol):
    """Looks after the other replicas."""

    def attached(self) -> None:
        """A gateway has connected."""

    def door(self, message: PeerDoor) -> None:
        """Where the gateway lets other replicas in."""


class Outlet:
    """Where messages to the gateway go in; without a gateway they are lost, as are the tunnels they speak of."""

    def __init__(self) -> None:
        self._endpoint: Endpoint | None = None

    def connect(self, endpoint: Endpoint) -> Endpoint | None:
        """From now on messages go to this endpoint; returns the one before."""
        former, self._endpoint = self._endpoint, endpoint
        return former

    def disconnect(self, endpoint: Endpoint) -> bool:
        """The endpoint is gone; False when another has taken its place."""
        if self._endpoint is not endpoint:
            return False
        self._endpoint = None
        return True

    def send(self, message: Message) -> None:
        """Sends a message to the gateway."""
        if self._endpoint is not None:
            # A link that broke is noticed by whoever reads from it.
            with contextlib.suppress(LinkError):
                self._endpoint.send(message)

    async def drain(self) -> None:
        """Waits until the gateway took most of what was sent."""
        if self._endpoint is not None:
            with contextlib.suppress(LinkError):
                await self._endpoint.drain()


class Switchboard:
    """Serves one gateway at a time; a new connection takes the place of an older one.

    Questions are answered concurrently; what speaks of tunnels is handled in the order in which it came.
    """

    def __init__(
        self,
        outlet: Outlet,
        *,
        verdicts: VerdictLink,
        tunnels: Tunnels,
        peers: Peers,
        material: Callable[[], Serve | None],
        count: Callable[[dict[str, float]], None],
    ) -> None:
        self._outlet = outlet
        self._verdicts = verdicts
        self._tunnels = tunnels
        self._peers = peers
        self._material = material
        self._count = count
        self._admissions: set[asyncio.Task[None]] = set()

    def publish_material(self) -> None:
        """Sends the front door's TLS material."""
        material = self._material()
        if material is not None:
            self._outlet.send(material)

    async def converse(self, endpoint: Endpoint) -> None:
        """Serves one gateway until it goes away."""
        former = self._outlet.connect(endpoint)
        if former is not None:
            former.start_closing()
            self._tunnels.link_lost()
        self.publish_material()
        self._peers.attached()
        try:
            async with self._verdicts.attached(endpoint):
                async for message in endpoint:
                    await self._receive(endpoint, message)
        finally:
            if self._outlet.disconnect(endpoint):
                self._tunnels.link_lost()

    async def close(self) -> None:
        """Gives up what is under way."""
        await cancel_and_wait(*self._admissions)
        await self._verdicts.close()

    async def _receive(self, endpoint: Endpoint, message: Message) -> None:
        match message:
            case Resolve():
                self._verdicts.answer(endpoint, message)
            case Admit():
                task = asyncio.create_task(self._admit(endpoint, message))
                self._admissions.add(task)
                task.add_done_callback(self._admissions.discard)
            case SessionOpened():
                await self._tunnels.session_opened(message)
            case SessionClosed():
                await self._tunnels.session_closed(message)
            case FromAgent():
                await self._tunnels.from_agent(message)
            case PeerDoor():
                self._peers.door(message)
            case Counters():
                self._count(message.values)
            case _:
                log.warning("unexpected message from the gateway: %s", type(message).__name__)

    async def _admit(self, endpoint: Endpoint, message: Admit) -> None:
        try:
            answer = await self._tunnels.admit(message)
        except Exception:
            log.exception("no decision about an agent from %s", message.remote)
            answer = Admission(id=message.id, status=503, message="cannot decide right now")
        with contextlib.suppress(LinkError):
            endpoint.send(answer)
