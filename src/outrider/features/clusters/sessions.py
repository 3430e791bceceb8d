"""Which clusters are connected: each replica publishes its tunnels in one ConfigMap, all read their union.

The ConfigMap ``cattle-system/sessions-<replica>`` holds a JSON list of cluster ids, the address at which peers
reach the replica's gateway, and the time of its last renewal. A set that is not renewed for a while is that of a
dead replica. As with leases, that is judged by how long *this* process has seen no renewal, so that the
replicas' clocks need not agree.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from outrider.features.clusters.registration import format_time
from outrider.kit.clock import Clock
from outrider.kube.builtin import CONFIGMAPS, NAMESPACES
from outrider.kube.client import Client
from outrider.kube.errors import AlreadyExists, KubeError
from outrider.link.messages import Peer
from outrider.runtime.informer import Event

log = logging.getLogger(__name__)

NAMESPACE: Final = "cattle-system"
LABEL: Final = "outrider.io/sessions"
SELECTOR: Final = f"{LABEL}=true"
RENEWED: Final = "outrider.io/renewed-at"


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A tunnel of this replica's gateway: its number, and the registration that let it in."""

    number: int
    registration: str


class Sessions:
    """The tunnels of this replica.

    `expected` are clusters whose tunnels ended because a process of this replica did: their agents dial already.
    """

    def __init__(self) -> None:
        self.address = ""
        self.expected: set[str] = set()
        self._sessions: dict[str, dict[int, Session]] = {}
        self._changed = asyncio.Event()

    def reachable_at(self, address: str) -> None:
        """Peers reach this replica's gateway at HOST:PORT."""
        if address != self.address:
            self.address = address
            self._changed.set()

    def opened(self, cluster: str, number: int, registration: str) -> None:
        """A tunnel is up."""
        session = Session(number=number, registration=registration)
        self._sessions.setdefault(cluster, {})[number] = session
        self.expected.discard(cluster)
        self._changed.set()

    def closed(self, cluster: str, number: int) -> bool:
        """A tunnel is gone; returns whether it was the cluster's last one here."""
        here = self._sessions.get(cluster, {})
        here.pop(number, None)
        if here:
            return False
        self._sessions.pop(cluster, None)
        self._changed.set()
        return True

    def clear(self) -> list[str]:
        """All tunnels are gone, with their gateway; returns the clusters they led to."""
        lost = list(self._sessions)
        self._sessions.clear()
        self.expected.update(lost)
        self._changed.set()
        return lost

    def of(self, cluster: str) -> list[Session]:
        """The cluster's tunnels, the oldest first."""
        return list(self._sessions.get(cluster, {}).values())

    def clusters(self) -> list[str]:
        """Ids of the clusters with a tunnel here, sorted."""
        return sorted(self._sessions)

    async def wait_changed(self) -> None:
        """Returns when a tunnel came or went since the last call."""
        await self._changed.wait()
        self._changed.clear()


class SessionPublisher:
    """Keeps this replica's ConfigMap up to date: at once on a change, and every `interval` seconds.

    Changes within `gather` seconds of the last write are written together: a fleet that comes back must not be
    a write for each agent. For the same reason the clusters of a gateway or a server that ended stay published for
    `grace` seconds, in which their agents come back: else each would be written to be gone, and back again.
    """

    def __init__(
        self,
        client: Client,
        sessions: Sessions,
        replica: str,
        clock: Clock,
        *,
        interval: float = 10.0,
        settle: float = 2.0,
        gather: float = 0.1,
        grace: float = 0.0,
    ) -> None:
        self._client = client
        self._sessions = sessions
        self._replica = replica
        self._clock = clock
        self._interval = interval
        self._settle = settle
        self._gather = gather
        self._grace = grace
        self._given_up_at: float | None = None

    async def run(self) -> None:
        """Publish until cancelled. What is published is left behind: it expires by itself."""
        # After a restart of this process alone the gateway tells its tunnels again: publishing an empty set
        # before that would make every cluster look disconnected for a moment.
        await asyncio.sleep(self._settle)
        if self._grace:
            await self._expect_former()
        while True:
            self._give_up()
            try:
                await self.publish()
            except KubeError as error:
                log.warning("cannot publish this replica's sessions: %s; trying again", error)
            await asyncio.sleep(self._gather)
            try:
                async with asyncio.timeout(self._interval):
                    await self._sessions.wait_changed()
            except TimeoutError:
                continue

    async def _expect_former(self) -> None:
        """Expect the clusters that this replica held when it ended, but those that another one has by now."""
        try:
            sets = (await self._client.list(CONFIGMAPS, NAMESPACE, labels=SELECTOR)).items
        except KubeError as error:
            log.warning("what this replica published before cannot be read: %s", error)
            return
        held = {
            obj["metadata"]["name"]: _cluster_ids((obj.get("data") or {}).get("clusters", "")) for obj in sets
        }
        own = held.pop(f"sessions-{self._replica}", frozenset())
        self._sessions.expected.update(own.difference(self._sessions.clusters(), *held.values()))

    def _give_up(self) -> None:
        """Forget who has not come back in time."""
        now = self._clock.monotonic()
        if not self._sessions.expected:
            self._given_up_at = None
        elif self._given_up_at is None:
            self._given_up_at = now + self._grace
        if self._given_up_at is not None and now >= self._given_up_at:
            self._sessions.expected.clear()

    async def publish(self) -> None:
        """Write the set as it is now."""
        now = format_time(self._clock.now())
        clusters = sorted({*self._sessions.clusters(), *self._sessions.expected})
        document = config_map(self._replica, clusters, now, self._sessions.address)
        try:
            await self._client.apply(CONFIGMAPS, document)
        except KubeError as error:
            if getattr(error, "code", 0) != 404:
                raise
            await ensure_namespace(self._client, NAMESPACE)
            await self._client.apply(CONFIGMAPS, document)


async def ensure_namespace(client: Client, name: str) -> None:
    """Create a namespace that may be there already."""
    try:
        await client.create(NAMESPACES, {"metadata": {"name": name}})
    except AlreadyExists:
        return


def config_map(replica: str, clusters: Iterable[str], renewed_at: str, address: str = "") -> dict[str, Any]:
    """The object that a replica publishes."""
    return {
        "metadata": {
            "name": f"sessions-{replica}",
            "namespace": NAMESPACE,
            "labels": {LABEL: "true"},
            "annotations": {RENEWED: renewed_at},
        },
        "data": {
            "replica": replica,
            "address": address,
            "clusters": msgspec.json.encode(list(clusters)).decode(),
        },
    }


class _Published(msgspec.Struct):
    clusters: frozenset[str]
    renewed_at: str
    seen_at: float
    address: str = ""
    alive: bool = True


class ConnectedClusters:
    """The union of what all live replicas publish; tells which clusters, and that replicas, may have changed."""

    def __init__(self, clock: Clock, *, expiry: float = 30.0) -> None:
        self._clock = clock
        self._expiry = expiry
        self._replicas: dict[str, _Published] = {}
        self._listeners: list[Callable[[str], None]] = []
        self._watchers: list[Callable[[], None]] = []

    def on_replicas(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` when a replica came or went, or publishes something else than before."""
        self._watchers.append(watcher)

    def replicas(self) -> list[Peer]:
        """The live replicas with their addresses and clusters, sorted by id."""
        return [
            Peer(replica=name, address=one.address, clusters=tuple(sorted(one.clusters)))
            for name, one in sorted(self._replicas.items())
            if one.alive
        ]

    def on_change(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with the id of each cluster that a replica gained or lost."""
        self._listeners.append(listener)

    def handle(self, event: Event[dict[str, Any]]) -> None:
        """Follow an event of the ConfigMaps' informer."""
        obj = event.new or event.old or {}
        replica = obj.get("metadata", {}).get("name", "").removeprefix("sessions-")
        before, old = self._published(replica), self._replicas.get(replica)
        if event.new is None:
            self._replicas.pop(replica, None)
        else:
            self._replicas[replica] = self._read(event.new, old)
        self._tell(before ^ self._published(replica))
        if _shown(old) != _shown(self._replicas.get(replica)):
            self._tell_watchers()

    def sweep(self) -> None:
        """Forget the replicas that have not renewed their set."""
        now = self._clock.monotonic()
        for replica, published in list(self._replicas.items()):
            if published.alive and now - published.seen_at >= self._expiry:
                log.warning("replica %s has not renewed its sessions for %g s", replica, self._expiry)
                # The entry stays, empty, so that only a newer renewal counts as alive
                self._replicas[replica] = msgspec.structs.replace(
                    published, clusters=frozenset(), alive=False
                )
                self._tell(published.clusters)
                self._tell_watchers()

    def replicas_of(self, cluster: str) -> list[str]:
        """The replicas with a tunnel to the cluster, sorted."""
        return sorted(name for name, published in self._replicas.items() if cluster in published.clusters)

    def is_connected(self, cluster: str) -> bool:
        """Whether any replica has a tunnel to the cluster."""
        return any(cluster in published.clusters for published in self._replicas.values())

    def dead_replicas(self) -> list[str]:
        """Names of the ConfigMaps that nobody has renewed for twenty times the expiry."""
        limit = self._clock.monotonic() - 20 * self._expiry
        return [f"sessions-{name}" for name, one in self._replicas.items() if one.seen_at <= limit]

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(self._expiry / 6)
            self.sweep()

    async def collect(self, client: Client) -> None:
        """Remove what dead replicas left behind, until cancelled."""
        while True:
            await asyncio.sleep(self._expiry)
            for name in self.dead_replicas():
                try:
                    await client.delete_if_exists(CONFIGMAPS, name, NAMESPACE)
                except KubeError as error:
                    log.warning("cannot remove %s, which a dead replica left: %s", name, error)

    def _published(self, replica: str) -> frozenset[str]:
        published = self._replicas.get(replica)
        return published.clusters if published else frozenset()

    def _read(self, obj: dict[str, Any], old: _Published | None) -> _Published:
        renewed = (obj.get("metadata", {}).get("annotations") or {}).get(RENEWED, "")
        data = obj.get("data") or {}
        clusters, address = _cluster_ids(data.get("clusters", "")), str(data.get("address", ""))
        if old is not None and old.renewed_at == renewed:
            same = (old.clusters, old.address) == (clusters, address)
            if same or not old.alive:
                return old
        now = self._clock.monotonic()
        return _Published(clusters=clusters, renewed_at=renewed, seen_at=now, address=address)

    def _tell(self, clusters: Iterable[str]) -> None:
        for cluster in clusters:
            for listener in self._listeners:
                listener(cluster)

    def _tell_watchers(self) -> None:
        for watcher in self._watchers:
            watcher()


def _shown(published: _Published | None) -> tuple[frozenset[str], str] | None:
    """What others see of a replica; None when it is not alive."""
    return (published.clusters, published.address) if published is not None and published.alive else None


def _cluster_ids(text: str) -> frozenset[str]:
    try:
        return msgspec.json.decode(text, type=frozenset[str])
    except msgspec.DecodeError:
        return frozenset()
