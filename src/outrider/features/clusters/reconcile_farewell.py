"""Tells the agents of deleted clusters to clean up, and writes down what they answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from outrider.apis.management.cluster import Cluster
from outrider.features.clusters import removal
from outrider.features.clusters.sessions import Sessions
from outrider.features.clusters.status import write_status
from outrider.kit.clock import Clock
from outrider.kube.client import Client
from outrider.kube.meta import ObjectKey
from outrider.link.messages import Message, ToAgent
from outrider.runtime.controller import DONE, Result
from outrider.runtime.store import Lister
from outrider.tunnel.reports import Removal, StateGone, encode

_ORDER: Final = msgspec.Raw(encode(StateGone(reason="the cluster was deleted")))


class FarewellReconciler:
    """One cluster at a time, on every replica, for each has tunnels of its own.

    The leader decides, by the condition `Removed`; that condition is where the answer goes, too.
    """

    def __init__(
        self,
        client: Client,
        *,
        clusters: Lister[Cluster],
        sessions: Sessions,
        send: Callable[[Message], None],
        clock: Clock,
    ) -> None:
        self._client = client
        self._clusters = clusters
        self._sessions = sessions
        self._send = send
        self._clock = clock
        self._reports: dict[str, Removal] = {}

    def heard(self, cluster: str, report: Removal) -> None:
        """What an agent said last; the caller has the cluster reconciled."""
        self._reports[cluster] = report

    async def reconcile(self, key: ObjectKey) -> Result:
        """Give the order to each tunnel; an agent that has it already takes no notice."""
        cluster = self._clusters.get(key)
        if cluster is None or not removal.is_ordered(cluster):
            self._reports.pop(key.name, None)
            return DONE
        if self._sessions.of(key.name):
            self._send(ToAgent(cluster=key.name, body=_ORDER))
        report = self._reports.get(key.name)
        if report is not None:
            now = self._clock.now()
            await write_status(self._client, cluster, removal.reported(cluster, report, now), now)
        return DONE
