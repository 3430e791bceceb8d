"""Where this replica's own control process comes in: a Unix socket, for requests to any cluster that is reached.

Control has checked who asks and that they may reach the cluster, and vouches for the identity, as a peer does for
what it forwards. Nobody else can open the socket: it lies in a folder that only this user may enter.
"""

import asyncio
from pathlib import Path
from typing import cast

from outrider.gateway import listener
from outrider.gateway.connection import ClientConnection
from outrider.gateway.dispatch import PeerFinder
from outrider.gateway.peer_door import PeerDesk
from outrider.gateway.tunnels import TunnelRegistry
from outrider.tunnel.exchange import Backend


class Anywhere:
    """Finds a cluster's tunnel, here or at another replica."""

    def __init__(self, tunnels: TunnelRegistry, peers: PeerFinder) -> None:
        self._tunnels = tunnels
        self._peers = peers

    def find(self, cluster: str) -> Backend | None:
        """The way to a cluster, None while it is not connected."""
        return self._tunnels.find(cluster) or self._peers.find(cluster)


class InnerDoor:
    """The listening socket for control."""

    def __init__(self, finder: Anywhere) -> None:
        self._desk = PeerDesk(finder)
        self._loop = asyncio.get_running_loop()
        self._server: asyncio.Server | None = None

    async def listen(self, path: Path) -> None:
        """Listens. Raises OSError."""
        await asyncio.to_thread(path.unlink, missing_ok=True)
        self._server = await self._loop.create_unix_server(
            lambda: cast(asyncio.Protocol, ClientConnection(self._desk, scheme="http")), str(path)
        )
        await asyncio.to_thread(path.chmod, 0o600)

    def sweep(self) -> None:
        """Ends connections on which nothing goes on."""
        listener.sweep(self._desk.connections, self._loop.time())

    def close(self) -> None:
        """Stops listening, and ends what runs."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._desk.connections):
            connection.abort("the server stops")
