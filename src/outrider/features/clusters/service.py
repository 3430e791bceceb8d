"""What the gateway tells about tunnels, and what agents tell through them."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from outrider.apis.management.cluster import Cluster
from outrider.apis.management.registration_token import ClusterRegistrationToken
from outrider.features.clusters.admission import Admissions
from outrider.features.clusters.inventories import Inventories
from outrider.features.clusters.registry import Registry
from outrider.features.clusters.sessions import Sessions
from outrider.link.messages import (
    Admission,
    Admit,
    CloseSessions,
    FromAgent,
    Message,
    SessionClosed,
    SessionOpened,
    ToAgent,
)
from outrider.runtime.informer import Event
from outrider.tunnel.reports import (
    Inventory,
    InventoryDelta,
    Removal,
    ReportError,
    decode_agent_message,
    encode,
)

log = logging.getLogger(__name__)


class ClusterService:
    """Handles the link's messages about clusters.

    `send` hands a message to the gateway; `changed(cluster)` has the cluster's inventory and desired state
    looked at; `synced` says whether all clusters and registrations are known yet; `leaving` hears what the
    agents of deleted clusters say.
    """

    def __init__(
        self,
        *,
        admissions: Admissions,
        registry: Registry,
        sessions: Sessions,
        inventories: Inventories,
        send: Callable[[Message], None],
        changed: Callable[[str], None],
        synced: Callable[[], bool],
        leaving: Callable[[str, Removal], None] = lambda cluster, report: None,
    ) -> None:
        self._admissions = admissions
        self._registry = registry
        self._sessions = sessions
        self._inventories = inventories
        self._send = send
        self._changed = changed
        self._synced = synced
        self._leaving = leaving

    async def admit(self, message: Admit) -> Admission:
        """Whether an agent may open a tunnel."""
        return await self._admissions.admit(message)

    async def session_opened(self, message: SessionOpened) -> None:
        """A tunnel is up; one whose registration went while it was opened is closed again."""
        self._sessions.opened(message.cluster, message.session, message.registration)
        self._close_unjustified(message.cluster)
        self._changed(message.cluster)

    async def session_closed(self, message: SessionClosed) -> None:
        """A tunnel is gone."""
        self._inventories.forget(message.cluster, message.session)
        self._sessions.closed(message.cluster, message.session)
        self._changed(message.cluster)

    async def from_agent(self, message: FromAgent) -> None:
        """A report from an agent; one that cannot be understood is logged and dropped."""
        try:
            report = decode_agent_message(message.body)
        except (ReportError, RecursionError) as error:
            log.warning("cluster %s, session %d: %s", message.cluster, message.session, error)
            return
        if isinstance(report, Inventory | InventoryDelta):
            self._follow(message, report)
        elif isinstance(report, Removal):
            self._leaving(message.cluster, report)
            self._changed(message.cluster)

    def _follow(self, message: FromAgent, report: Inventory | InventoryDelta) -> None:
        answer = self._inventories.follow(message.cluster, message.session, report)
        if answer is not None:
            body = msgspec.Raw(encode(answer))
            self._send(ToAgent(cluster=message.cluster, session=message.session, body=body))
        self._changed(message.cluster)

    def link_lost(self) -> None:
        """The gateway is gone, and all tunnels with it."""
        for cluster in self._sessions.clusters():
            for session in self._sessions.of(cluster):
                self._inventories.forget(cluster, session.number)
        for cluster in self._sessions.clear():
            self._changed(cluster)

    def registration_changed(self, event: Event[ClusterRegistrationToken]) -> None:
        """Follow the registrations' informer: a deleted one takes its tunnels with it."""
        if event.new is None and event.old is not None:
            self._close_unjustified(event.old.metadata.namespace)

    def cluster_changed(self, event: Event[Cluster]) -> None:
        """Follow the clusters' informer: a cluster that is gone loses its tunnels.

        One that leaves keeps them: its agent cleans up, and tells how far it is.
        """
        if event.new is None and event.old is not None:
            name = event.old.metadata.name
            if self._sessions.of(name):
                self._send(CloseSessions(cluster=name, reason="the cluster was removed"))

    async def sweep(self) -> None:
        """Close the tunnels that were told before it was known what they are based on."""
        for cluster in self._sessions.clusters():
            self._close_unjustified(cluster)

    def _close_unjustified(self, cluster: str) -> None:
        if not self._synced():
            return
        registrations = {session.registration for session in self._sessions.of(cluster)}
        for registration in sorted(registrations):
            if not self._registry.justifies(cluster, registration):
                reason = "its registration was deleted"
                self._send(CloseSessions(cluster=cluster, registration=registration, reason=reason))
