"""Takes the record of a cluster apart: first the agent cleans up, then twin and namespace go, then the record."""

from __future__ import annotations

import contextlib
import logging
from datetime import timedelta
from typing import Final

from outrider.apis.management.cluster import CLUSTERS, Cluster
from outrider.apis.management.cluster_status import ClusterStatus
from outrider.apis.provisioning.cluster import PROVISIONING_CLUSTERS
from outrider.apis.provisioning.cluster import Cluster as ProvisioningCluster
from outrider.features.clusters import removal
from outrider.features.clusters.lifecycle import FINALIZER, owns_namespace
from outrider.features.clusters.reconcile_cluster import TWIN_INDEX
from outrider.features.clusters.registry import Registry
from outrider.features.clusters.removal import Step
from outrider.features.clusters.status import write_status
from outrider.features.clusters.tombstones import Tombstones
from outrider.kit.clock import Clock
from outrider.kube import conditions as c
from outrider.kube.builtin import NAMESPACES
from outrider.kube.client import Client
from outrider.kube.errors import NotFound
from outrider.kube.meta import ObjectKey
from outrider.runtime.controller import DONE, Result, requeue
from outrider.runtime.events import Events, reference
from outrider.runtime.store import Lister

log = logging.getLogger(__name__)

_LOOK: Final = 1.0


class RemovalReconciler:
    """One record that is being deleted at a time; `twins` has index `TWIN_INDEX`.

    The agent is waited for `patience` since the deletion or its last sign of progress; then the namespace for what
    is left of that, and `namespace` at least. One that hangs on a finalizer of somebody else holds nobody up.
    """

    def __init__(
        self,
        client: Client,
        *,
        clusters: Lister[Cluster],
        twins: Lister[ProvisioningCluster],
        registry: Registry,
        tombstones: Tombstones,
        events: Events,
        clock: Clock,
        patience: timedelta = timedelta(seconds=50),
        namespace: timedelta = timedelta(seconds=8),
    ) -> None:
        self._client = client
        self._clusters = clusters
        self._twins = twins
        self._registry = registry
        self._tombstones = tombstones
        self._events = events
        self._clock = clock
        self._patience = patience
        self._namespace = namespace
        self._emptied: dict[str, float] = {}

    async def reconcile(self, key: ObjectKey) -> Result:
        """Take the next step."""
        cluster = self._clusters.get(key)
        if cluster is None or not cluster.is_deleting or FINALIZER not in cluster.metadata.finalizers:
            self._emptied.pop(key.name, None)
            return DONE
        now = self._clock.now()
        match removal.next_step(cluster, now, self._patience):
            case Step.ORDER:
                return await self._order(cluster)
            case Step.WAIT:
                left = removal.deadline(cluster, self._patience) - now
                return requeue(max(0.1, left.total_seconds() + 0.05))
            case Step.GIVE_UP:
                why = "its agent did not answer" if cluster.status.connected else "it was not connected"
                return await self._give_up(cluster, f"{why} for {self._patience.total_seconds():g} s")
            case Step.RELEASE:
                return await self._release(cluster)

    async def _order(self, cluster: Cluster) -> Result:
        if not await self._tombstones.records_stand():
            # Whoever removes the definition of all records has not decided about the clusters
            return await self._give_up(cluster, "all records are being removed with their definition")
        await self._tombstones.bury(cluster, self._registry.known_tokens(cluster.metadata.name))
        await self._write(cluster, removal.ordered(cluster, self._clock.now()))
        return DONE

    async def _give_up(self, cluster: Cluster, why: str) -> Result:
        await self._write(cluster, removal.given_up(cluster, why, self._clock.now()))
        return DONE

    async def _release(self, cluster: Cluster) -> Result:
        name = cluster.metadata.name
        first = self._emptied.setdefault(name, self._clock.monotonic())
        for twin in self._twins.index(TWIN_INDEX, name):
            if not twin.is_deleting:
                key = twin.key
                await self._client.delete_if_exists(PROVISIONING_CLUSTERS, key.name, key.namespace)
        if not await self._namespace_is_gone(cluster) and not self._is_late(cluster, first):
            return requeue(_LOOK)
        await self._tell(cluster)
        remaining = [finalizer for finalizer in cluster.metadata.finalizers if finalizer != FINALIZER]
        patch = {
            "metadata": {
                "resourceVersion": cluster.metadata.resource_version,
                "finalizers": remaining or None,
            }
        }
        with contextlib.suppress(NotFound):
            await self._client.patch(CLUSTERS, name, patch)
        self._emptied.pop(name, None)
        return DONE

    def _is_late(self, cluster: Cluster, first: float) -> bool:
        """Whether the namespace was waited for long enough, from `first` on and since the deletion."""
        begun = cluster.metadata.deletion_timestamp
        old = begun is None or self._clock.now() - begun >= self._patience
        return old and self._clock.monotonic() - first >= self._namespace.total_seconds()

    async def _tell(self, cluster: Cluster) -> None:
        """An event, which outlives the record, and a line in the log: what is left."""
        condition = c.get_condition(cluster.status.conditions, removal.CONDITION)
        if condition is not None and condition.reason == removal.LEFT:
            name = f"{cluster.metadata.name} ({cluster.spec.display_name})"
            log.warning("cluster %s is removed: %s", name, condition.message)
            await self._events.event(
                reference(CLUSTERS, cluster), "Warning", removal.LEFT, f"{name}: {condition.message}"
            )

    async def _namespace_is_gone(self, cluster: Cluster) -> bool:
        name = cluster.metadata.name
        found = await self._client.get_or_none(NAMESPACES, name)
        if found is None or not owns_namespace(cluster, found):
            return True
        if not found["metadata"].get("deletionTimestamp"):
            await self._client.delete_if_exists(NAMESPACES, name, uid=found["metadata"]["uid"])
        return False

    async def _write(self, cluster: Cluster, status: ClusterStatus) -> None:
        await write_status(self._client, cluster, status, self._clock.now())
