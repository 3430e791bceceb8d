"""Composes the delivery of desired state: the publisher, its controller, and the applier of cluster ``local``."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from outrider.apis.management.cluster import Cluster
from outrider.apis.management.group import LOCAL_CLUSTER
from outrider.delivery.applier import StateApplier
from outrider.delivery.assembly import Contributor
from outrider.delivery.presence import MANAGER
from outrider.delivery.publisher import PartSender, Publisher
from outrider.kit.clock import Clock
from outrider.kube.client import Client
from outrider.kube.meta import ObjectKey
from outrider.kube.transport import Transport
from outrider.link.messages import Admission, Admit, FromAgent, SessionClosed, SessionOpened
from outrider.runtime.controller import Controller, Source
from outrider.runtime.informer import Event, Informer
from outrider.runtime.leader import LeaderElector
from outrider.runtime.manager import Manager
from outrider.server.switchboard import Outlet, Tunnels
from outrider.tunnel.reports import ReportError, UnknownMessage, decode_agent_message, type_of

log = logging.getLogger(__name__)

_STATE = frozenset(("stateHello", "stateNeed", "stateReport"))


class Delivery:
    """What runs of it in the control process.

    Registers with the manager: the controller on every replica, since each serves the tunnels of its own
    gateway; the applier of ``local`` on the leader.
    """

    def __init__(
        self,
        client: Client,
        transport: Transport,
        manager: Manager,
        clusters: Informer[Cluster],
        contributors: Sequence[Contributor],
        *,
        elector: LeaderElector,
        outlet: Outlet,
        lease: float,
        clock: Clock,
    ) -> None:
        self._elector = elector
        self._clusters = clusters
        self.publisher = Publisher(
            client,
            clusters=clusters,
            contributors=contributors,
            send=outlet.send,
            drain=outlet.drain,
            leading=lambda: elector.is_leader,
            epoch=lambda: elector.epoch,
            enqueue=self._enqueue,
            enqueue_parts=lambda cluster: self._parts.enqueue(ObjectKey("", cluster)),
            clock=clock,
            lease=lease,
        )
        sources: list[Source[Any, ObjectKey]] = [_RecordSource(clusters)]
        for contributor in contributors:
            sources += contributor.sources
        self._controller: Controller[ObjectKey] = Controller(
            "desired state", self.publisher, workers=4, sources=sources, clock=clock
        )
        self._parts: Controller[ObjectKey] = Controller(
            "parts of desired states", PartSender(self.publisher), workers=4, clock=clock
        )
        self._local = StateApplier(
            Client(transport, field_manager=MANAGER),
            lambda report: self.publisher.report(LOCAL_CLUSTER, report),
            changed=lambda: self._enqueue(LOCAL_CLUSTER),
        )
        self.publisher.local = self._local
        for controller in (self._controller, self._parts):
            manager.add_task(controller.name, controller.run)
        manager.add_task("desired state of all clusters", self._lead, leader_only=True)
        manager.add_task(
            "desired state of local", lambda: self._local.run(self._elector.epoch), leader_only=True
        )

    def _enqueue(self, cluster: str) -> None:
        self._controller.enqueue(ObjectKey("", cluster))

    async def _lead(self) -> None:
        """A new leader looks at every cluster once."""
        for cluster in self._clusters.list():
            self._enqueue(cluster.metadata.name)


class DeliveringTunnels:
    """Tunnels that hand what agents say of their state to the publisher, and all else on."""

    def __init__(self, tunnels: Tunnels, publisher: Publisher) -> None:
        self._tunnels = tunnels
        self._publisher = publisher

    async def admit(self, message: Admit) -> Admission:
        """Whether an agent may open a tunnel."""
        return await self._tunnels.admit(message)

    async def session_opened(self, message: SessionOpened) -> None:
        """A tunnel is up."""
        self._publisher.opened(message.cluster, message.session)
        await self._tunnels.session_opened(message)

    async def session_closed(self, message: SessionClosed) -> None:
        """A tunnel is gone."""
        self._publisher.closed(message.cluster, message.session)
        await self._tunnels.session_closed(message)

    async def from_agent(self, message: FromAgent) -> None:
        """A control message of an agent's."""
        if type_of(message.body) not in _STATE:
            await self._tunnels.from_agent(message)
            return
        try:
            self._publisher.receive(message.cluster, message.session, decode_agent_message(message.body))
        except UnknownMessage:
            return
        except ReportError as error:
            log.warning("cluster %s, session %d: %s", message.cluster, message.session, error)

    def link_lost(self) -> None:
        """The gateway is gone, and all tunnels with it."""
        self._publisher.clear()
        self._tunnels.link_lost()


class _RecordSource(Source[Cluster, ObjectKey]):
    """Tells of changes of a cluster that its desired state may depend on, its stamp included."""

    def keys(self, event: Event[Cluster]) -> set[ObjectKey]:
        """Return the cluster's key, unless only other parts of its status changed."""
        old, new = event.old, event.new
        if old is not None and new is not None and _aspects(old) == _aspects(new):
            return set()
        return super().keys(event)


def _aspects(cluster: Cluster) -> tuple[object, ...]:
    metadata, status = cluster.metadata, cluster.status
    return (
        metadata.uid,
        metadata.generation,
        metadata.deletion_timestamp,
        metadata.labels,
        metadata.annotations,
        status.agent_image,
        status.desired_state,
        status.applied_state,
    )
