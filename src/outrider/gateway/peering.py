"""This replica among the others: its door for them, the way through them, and what agents are told of them."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable

import structlog

from outrider.gateway import answers, listener
from outrider.gateway.config import PeerAddress
from outrider.gateway.exchange import Exchange
from outrider.gateway.peer_door import PeerDesk, PeerDoor
from outrider.gateway.peers import PeerRoute, PeerTable
from outrider.gateway.tunnels import TunnelRegistry
from outrider.kit.backoff import Backoff
from outrider.link import messages
from outrider.link.messages import PeerMaterial, Peers
from outrider.tunnel.reports import Hello, encode

DIALS_A_SECOND = 50
"""Dials for another replica that this one's agents make at most, all together, when a replica comes."""

MET = answers.text(409, b"this replica has a tunnel of this agent's already")

_log = structlog.get_logger("outrider.gateway.peers")


class Peering:
    """Everything about other replicas.

    `address` says where to listen for them, None for nowhere; `tell` sends a message to control; `receive` takes
    over the handshake of an agent's tunnel.
    """

    def __init__(
        self,
        address: PeerAddress | None,
        tunnels: TunnelRegistry,
        *,
        tell: Callable[[messages.PeerDoor], None],
        receive: Callable[[Exchange], Awaitable[None]],
    ) -> None:
        self._address = address
        self._tunnels = tunnels
        self._tell = tell
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._table = PeerTable(self._loop.time)
        self._desk = PeerDesk(tunnels)
        self._door = PeerDoor(self._desk)
        self._opening: asyncio.Task[None] | None = None
        self._open_at = ""
        self._replica = ""
        self._live: tuple[str, ...] = ()

    # from control

    def on_material(self, material: PeerMaterial) -> None:
        """The certificate towards the other replicas; with the first one the door opens."""
        try:
            self._table.use(material)
            self._door.use(material)
        except (ssl.SSLError, ValueError) as error:
            _log.error("the certificate towards other replicas cannot be used", error=str(error))
            return
        if self._opening is None and self._address is not None:
            self._opening = self._loop.create_task(self._open(self._address))

    def on_peers(self, message: Peers) -> None:
        """Who lives, and which clusters they hold. Agents hear of replicas that came or went."""
        self._table.follow(message)
        live = tuple(sorted({message.replica, *(peer.replica for peer in message.others)}))
        if (message.replica, live) != (self._replica, self._live):
            self._replica, self._live = message.replica, live
            count = sum(1 for _ in self._tunnels)
            spread = max(0.5, count / DIALS_A_SECOND)
            self._tunnels.greet(encode(Hello(replica=message.replica, replicas=live, spread=spread)))

    def announce(self) -> None:
        """The link to control is back: it hears where the door is."""
        if self._open_at:
            self._tell(messages.PeerDoor(address=self._open_at))

    # for the dispatcher

    def find(self, cluster: str) -> PeerRoute | None:
        """The way to a cluster that has no tunnel here."""
        return self._table.find(cluster)

    async def receive(self, exchange: Exchange) -> None:
        """An agent's handshake; one that has a tunnel here already is sent on, to find another replica."""
        met = exchange.header(b"x-outrider-met").decode("latin-1").split(",")
        if self._replica and self._replica in met:
            return exchange.answer(MET)
        return await self._receive(exchange)

    # for the gateway

    def sweep(self) -> None:
        """Ends connections that nobody uses."""
        listener.sweep(self._desk.connections, self._loop.time())
        self._table.sweep()

    def values(self) -> dict[str, float]:
        """Counters."""
        return self._table.values() | self._desk.values()

    async def close(self) -> None:
        """Ends everything."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        self._door.close()
        for connection in list(self._desk.connections):
            connection.abort("the server stops")
        await self._table.close()

    async def _open(self, address: PeerAddress) -> None:
        backoff = Backoff(0.5, 30.0)
        while True:
            try:
                port = await self._door.listen(address.listen, address.port)
                break
            except OSError as error:
                _log.error(
                    "cannot listen for other replicas",
                    host=address.listen,
                    port=address.port,
                    error=str(error),
                )
                await asyncio.sleep(backoff.next())
        host = f"[{address.host}]" if ":" in address.host else address.host
        self._open_at = f"{host}:{port}"
        _log.info("listening for other replicas", address=self._open_at)
        self.announce()
