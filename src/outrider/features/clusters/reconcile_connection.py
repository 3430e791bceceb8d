"""Writes whether a cluster is connected, from what all replicas publish (contract: clusters §1.4, §4.6)."""

from __future__ import annotations

from outrider.apis.management.cluster import Cluster
from outrider.apis.management.group import LOCAL_CLUSTER
from outrider.features.clusters.lifecycle import with_connection
from outrider.features.clusters.sessions import ConnectedClusters
from outrider.features.clusters.status import write_status
from outrider.kit.clock import Clock
from outrider.kube import conditions as c
from outrider.kube.client import Client
from outrider.kube.meta import ObjectKey
from outrider.runtime.controller import DONE, Result
from outrider.runtime.store import Lister


class ConnectionReconciler:
    """`connected`, `Connected` and, on a loss, `Ready`."""

    def __init__(
        self, client: Client, clusters: Lister[Cluster], connected: ConnectedClusters, clock: Clock
    ) -> None:
        self._client = client
        self._clusters = clusters
        self._connected = connected
        self._clock = clock

    async def reconcile(self, key: ObjectKey) -> Result:
        """Bring one cluster's connection up to date; a record without conditions is not set up yet."""
        cluster = self._clusters.get(key)
        if (
            cluster is None
            or cluster.is_deleting
            or c.get_condition(cluster.status.conditions, "Provisioned") is None
        ):
            return DONE
        connected = key.name == LOCAL_CLUSTER or self._connected.is_connected(key.name)
        status = with_connection(cluster, connected, self._clock.now())
        await write_status(self._client, cluster, status, self._clock.now())
        return DONE
