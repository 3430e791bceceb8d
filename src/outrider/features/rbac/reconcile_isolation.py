"""Says of each cluster whether its projects are isolated from each other, once that is so (spec: fleet §6.3)."""

from __future__ import annotations

import contextlib
from typing import Any, Final

from outrider.apis.management.cluster import CLUSTERS, Cluster
from outrider.features.rbac.effects import SOON, Effects
from outrider.kube.client import Client
from outrider.kube.errors import NotFound
from outrider.kube.meta import ObjectKey
from outrider.runtime.controller import DONE, Result, requeue
from outrider.runtime.store import Lister

ANNOTATION: Final = "networking.management.cattle.io/enable-network-policy"


class IsolationReconciler:
    """One cluster at a time."""

    def __init__(self, client: Client, clusters: Lister[Cluster], effects: Effects) -> None:
        self._client = client
        self._clusters = clusters
        self._effects = effects

    async def reconcile(self, key: ObjectKey) -> Result:
        """Bring annotation and status up to date."""
        cluster = self._clusters.get(key)
        if cluster is None or cluster.is_deleting or not _concerns(cluster):
            return DONE
        wanted = bool(cluster.spec.enable_network_policy)
        if cluster.metadata.annotations.get(ANNOTATION) != str(wanted).lower():
            await self._patch(cluster, {"metadata": {"annotations": {ANNOTATION: str(wanted).lower()}}})
        world = self._effects.world(key.name)
        in_effect = world is not None and (key.name in world.around.isolated) == wanted
        if in_effect and cluster.status.applied_enable_network_policy != wanted:
            status = {"appliedEnableNetworkPolicy": wanted}
            await self._patch(cluster, {"status": status}, subresource="status")
        return DONE if self._effects.computed(key.name) else requeue(SOON)

    async def _patch(self, cluster: Cluster, patch: dict[str, Any], *, subresource: str = "") -> None:
        with contextlib.suppress(NotFound):
            await self._client.patch(CLUSTERS, cluster.metadata.name, patch, subresource=subresource)


def _concerns(cluster: Cluster) -> bool:
    """Whether isolation was ever asked for."""
    asked = cluster.spec.enable_network_policy
    return asked is not None or cluster.status.applied_enable_network_policy is not None


def same_isolation(old: Cluster, new: Cluster) -> bool:
    """Whether nothing changed that this depends on."""
    return _look(old) == _look(new)


def _look(cluster: Cluster) -> tuple[object, ...]:
    status, metadata = cluster.status, cluster.metadata
    applied = status.applied_state
    return (
        cluster.spec.enable_network_policy,
        metadata.annotations.get(ANNOTATION),
        status.applied_enable_network_policy,
        (applied.epoch, applied.counter, applied.hash) if applied else (),
    )
