"""The server's end of the hand-over: stamps versions, sends heads and parts, takes reports.

Every replica derives a cluster's state for itself. The leader stamps it: it writes version and hash into the
cluster's status, guarded by the version of the record that it read. A replica with a tunnel sends a head only
when what it derived has the hash in the status, under the version in the status. So one version never stands
for two states, whoever sends it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from outrider.apis.management.cluster import CLUSTERS, Cluster
from outrider.apis.management.cluster_status import AppliedStateStatus, DesiredStateStatus
from outrider.apis.management.group import LOCAL_CLUSTER
from outrider.delivery import versions
from outrider.delivery.assembly import Contributor, DesiredSet, derive
from outrider.delivery.errors import NotReady, TooLarge
from outrider.delivery.parts import compress
from outrider.kit.clock import Clock
from outrider.kube.client import Client
from outrider.kube.meta import ObjectKey
from outrider.link.messages import Message, ToAgent
from outrider.runtime.controller import DONE, Result, requeue
from outrider.runtime.store import Lister
from outrider.tunnel.reports import (
    PROTOCOLS,
    AgentMessage,
    ServerMessage,
    StateHead,
    StateHello,
    StateNeed,
    StatePart,
    StateReport,
    encode,
)

log = logging.getLogger(__name__)

_MAX_ASKED: Final = 16
_PATIENCE: Final = 60.0
_AGAIN: Final = 10.0


class LocalApplier(Protocol):
    """Applies in the management cluster itself."""

    active: bool

    def wants(self, head: StateHead) -> bool:
        """Whether the head would be taken over."""

    def offer(self, head: StateHead, parts: Mapping[str, bytes]) -> None:
        """Take over a set."""


class _Session:
    """A tunnel: what its agent was told last, and which parts it asked for."""

    def __init__(self) -> None:
        self.speaks = False
        self.told: tuple[versions.Version, str] = ((0, 0), "")
        self.needs: list[str] = []


class OpenSets:
    """Sets of which parts are being asked for, so that each batch need not derive them anew.

    Of more than `limit` bytes the one that was opened first goes; it is derived again when it is needed.
    """

    def __init__(self, limit: int = 64 << 20) -> None:
        self._limit = limit
        self._sets: dict[str, DesiredSet] = {}
        self._sizes: dict[str, int] = {}

    def get(self, cluster: str) -> DesiredSet | None:
        """The set of a cluster, if it is open."""
        return self._sets.get(cluster)

    def put(self, cluster: str, wanted: DesiredSet) -> None:
        """Keep a set until it is dropped."""
        self.drop(cluster)
        self._sets[cluster] = wanted
        self._sizes[cluster] = sum(map(len, wanted.parts.values()))
        while len(self._sets) > 1 and sum(self._sizes.values()) > self._limit:
            self.drop(next(iter(self._sets)))

    def drop(self, cluster: str) -> None:
        """No more parts are expected to be asked for."""
        self._sets.pop(cluster, None)
        self._sizes.pop(cluster, None)


class Publisher:
    """One cluster at a time.

    `leading` and `epoch` are the leader election's; `lease` is the seconds after which a leader that was
    paused knows that it is none any more. `send` hands a message to this replica's gateway, `drain` waits
    until that took most of it. `enqueue` has a cluster reconciled, `enqueue_parts` has what its agents asked for
    sent: a queue of its own, so that a request for parts neither costs a derivation nor takes the place of one.
    """

    def __init__(
        self,
        client: Client,
        *,
        clusters: Lister[Cluster],
        contributors: Sequence[Contributor],
        send: Callable[[Message], None],
        drain: Callable[[], Awaitable[None]],
        leading: Callable[[], bool],
        epoch: Callable[[], int],
        enqueue: Callable[[str], None],
        enqueue_parts: Callable[[str], None],
        clock: Clock,
        lease: float = 15.0,
    ) -> None:
        self._client = client
        self._clusters = clusters
        self._contributors = contributors
        self._send = send
        self._drain = drain
        self._leading = leading
        self._epoch = epoch
        self._enqueue = enqueue
        self._enqueue_parts = enqueue_parts
        self._clock = clock
        self._lease = lease
        self._sessions: dict[str, dict[int, _Session]] = {}
        self._reports: dict[str, tuple[int, StateReport]] = {}
        self._open = OpenSets()
        self._doubts: dict[str, float] = {}
        self._differs: dict[str, float] = {}
        self.local: LocalApplier | None = None

    # what the gateway tells

    def opened(self, cluster: str, session: int) -> None:
        """A tunnel is up; nothing is sent before its agent says what it speaks."""
        self._sessions.setdefault(cluster, {})[session] = _Session()

    def closed(self, cluster: str, session: int) -> None:
        """A tunnel is gone."""
        self._sessions.get(cluster, {}).pop(session, None)
        if self._reports.get(cluster, (0,))[0] == session:
            del self._reports[cluster]
        if not self._sessions.get(cluster):
            self._sessions.pop(cluster, None)
            self._open.drop(cluster)

    def clear(self) -> None:
        """The gateway is gone, and all tunnels with it."""
        for cluster, sessions in list(self._sessions.items()):
            for session in list(sessions):
                self.closed(cluster, session)

    def receive(self, cluster: str, number: int, message: AgentMessage) -> None:
        """What an agent says of its state."""
        session = self._sessions.get(cluster, {}).get(number)
        if session is None:
            return
        if isinstance(message, StateHello):
            session.speaks = bool(set(message.protocols) & set(PROTOCOLS))
            session.told = ((message.epoch, message.counter), message.hash)
            session.needs = []
            if not session.speaks:
                log.warning(
                    "cluster %s: its agent speaks no protocol for desired states that is known", cluster
                )
        elif isinstance(message, StateNeed):
            if message.hash == session.told[1]:
                session.needs = list(dict.fromkeys((*session.needs, *message.parts)))[:_MAX_ASKED]
                self._enqueue_parts(cluster)
            return
        elif isinstance(message, StateReport):
            self.report(cluster, message, session=number)
            return
        self._enqueue(cluster)

    def report(self, cluster: str, report: StateReport, *, session: int = 0) -> None:
        """How far an applier is."""
        if report.pending == 0 or report.failures:
            self._reports[cluster] = (session, report)
            self._open.drop(cluster)
            self._enqueue(cluster)

    # one cluster

    async def reconcile(self, key: ObjectKey) -> Result:
        """Stamp, send and record what is due for one cluster."""
        name, cluster = key.name, self._clusters.get(key)
        if cluster is None or cluster.is_deleting:
            self._forget(name)
            return DONE
        cluster = await self._record(cluster)
        if not self._concerns(name):
            return DONE
        try:
            wanted = await derive(cluster, self._contributors)
        except NotReady as error:
            log.debug("cluster %s: %s", name, error)
            return requeue(_PATIENCE)
        except TooLarge as error:
            await self._refuse(cluster, str(error))
            return requeue(_PATIENCE)
        return await self._hand_over(cluster, wanted)

    async def _hand_over(self, cluster: Cluster, wanted: DesiredSet) -> Result:
        name = cluster.metadata.name
        if versions.must_stamp(cluster.status, wanted.hash):
            if not self._leading():
                return self._lagging(name)
            if wait := self._doubt(cluster):
                return requeue(wait)
            cluster = await self._stamp(cluster, wanted)
        self._differs.pop(name, None)
        await self._deliver(cluster, wanted)
        return DONE

    def _concerns(self, name: str) -> bool:
        """Whether this replica leads, or has an agent to serve."""
        return self._leading() or any(one.speaks for one in self._sessions.get(name, {}).values())

    async def _stamp(self, cluster: Cluster, wanted: DesiredSet) -> Cluster:
        epoch, counter = versions.next_version(cluster.status, self._epoch())
        stamp = DesiredStateStatus(epoch=epoch, counter=counter, hash=wanted.hash, objects=wanted.size)
        log.info(
            "cluster %s: desired state %d.%d has %d objects",
            cluster.metadata.name,
            epoch,
            counter,
            wanted.size,
        )
        return await self._write(cluster, {"desiredState": _whole(stamp)})

    async def _refuse(self, cluster: Cluster, problem: str) -> None:
        """Say why the state cannot be handed over; what was stamped before goes on being true."""
        held = cluster.status.desired_state or DesiredStateStatus()
        if self._leading() and held.problem != problem:
            log.error("cluster %s: %s", cluster.metadata.name, problem)
            said = msgspec.structs.replace(held, problem=problem)
            await self._write(cluster, {"desiredState": _whole(said)})

    def _doubt(self, cluster: Cluster) -> float:
        """Seconds to wait before a later leader's stamp is replaced: whoever was paused knows by then."""
        name = cluster.metadata.name
        if versions.stamped(cluster.status)[0] <= self._epoch():
            self._doubts.pop(name, None)
            return 0.0
        now = self._clock.monotonic()
        since = self._doubts.setdefault(name, now)
        return max(0.0, self._lease - (now - since))

    def _lagging(self, name: str) -> Result:
        """Another state than the leader's was derived: one of the two is behind, for a moment or an upgrade."""
        now = self._clock.monotonic()
        since = self._differs.setdefault(name, now)
        if now - since > _PATIENCE:
            log.warning("cluster %s: this replica derives another desired state than the leader", name)
            self._differs[name] = now
        return requeue(_AGAIN)

    async def _deliver(self, cluster: Cluster, wanted: DesiredSet) -> None:
        name = cluster.metadata.name
        version = versions.stamped(cluster.status)
        head = wanted.head(*version)
        former = self._open.get(name)
        if former is not None and former.hash != wanted.hash:
            self._open.drop(name)
        if name == LOCAL_CLUSTER:
            self._deliver_here(head, wanted)
        for number, session in list(self._sessions.get(name, {}).items()):
            if not session.speaks:
                continue
            if session.told != (version, wanted.hash):
                session.told, session.needs = (version, wanted.hash), []
                self._tell(name, number, head)
            if session.needs:
                self._open.put(name, wanted)
                self._enqueue_parts(name)

    async def send_parts(self, name: str) -> None:
        """Send the parts of a cluster's set that were asked for; the set is derived first when it is not open."""
        wanted = self._open.get(name)
        asked = [(n, one) for n, one in self._sessions.get(name, {}).items() if one.needs]
        if wanted is None:
            if asked:
                self._enqueue(name)
            return
        for number, session in asked:
            needs, session.needs = session.needs, []
            if session.told[1] != wanted.hash:
                continue
            for digest in needs:
                if digest in wanted.parts:
                    self._tell(name, number, StatePart(digest=digest, data=compress(wanted.parts[digest])))
                    await self._drain()

    def _deliver_here(self, head: StateHead, wanted: DesiredSet) -> None:
        local = self.local
        if local is not None and local.active and self._leading() and local.wants(head):
            local.offer(head, {digest: compress(part) for digest, part in wanted.parts.items()})

    def _tell(self, cluster: str, session: int, message: ServerMessage) -> None:
        self._send(ToAgent(cluster=cluster, session=session, body=msgspec.Raw(encode(message))))

    async def _record(self, cluster: Cluster) -> Cluster:
        """Write what was reported last, unless the status says so already."""
        _, report = self._reports.get(cluster.metadata.name, (0, None))
        held = cluster.status.applied_state
        if report is None or not versions.is_newer(report, held):
            return cluster
        status = versions.applied_status(report)
        if held is None or held.failures != status.failures:
            for failure in status.failures:
                log.warning("cluster %s: %s", cluster.metadata.name, failure)
        return await self._write(cluster, {"appliedState": _whole(status)})

    async def _write(self, cluster: Cluster, status: dict[str, Any]) -> Cluster:
        patch = {"metadata": {"resourceVersion": cluster.metadata.resource_version}, "status": status}
        return await self._client.patch(CLUSTERS, cluster.metadata.name, patch, subresource="status")

    def _forget(self, name: str) -> None:
        self._open.drop(name)
        self._reports.pop(name, None)
        self._doubts.pop(name, None)
        self._differs.pop(name, None)


class PartSender:
    """Sends parts, one cluster at a time."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def reconcile(self, key: ObjectKey) -> Result:
        """What was asked for until now."""
        await self._publisher.send_parts(key.name)
        return DONE


def _whole(status: DesiredStateStatus | AppliedStateStatus) -> dict[str, Any]:
    """All fields, so that a merge patch leaves nothing of what was there before."""
    fields: dict[str, Any] = {
        name.encode_name: msgspec.to_builtins(getattr(status, name.name))
        for name in msgspec.structs.fields(type(status))
    }
    return fields
