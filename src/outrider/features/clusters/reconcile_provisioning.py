"""Keeps management and provisioning clusters paired, whichever came first (contract: clusters §1.8)."""

from __future__ import annotations

import contextlib

import msgspec

from outrider.apis.management.cluster import CLUSTERS, Cluster
from outrider.apis.management.group import CREATOR_ID, LOCAL_CLUSTER
from outrider.apis.provisioning.cluster import PROVISIONING_CLUSTERS
from outrider.apis.provisioning.cluster import Cluster as ProvisioningCluster
from outrider.features.clusters.lifecycle import is_legacy_id
from outrider.features.clusters.pairing import (
    TWIN_FINALIZER,
    came_second,
    management_name,
    management_of,
    twin_of,
    twin_status,
)
from outrider.features.clusters.sessions import ensure_namespace
from outrider.kube.client import Client
from outrider.kube.errors import AlreadyExists, NotFound
from outrider.kube.meta import ObjectKey
from outrider.kube.patches import merge_patch
from outrider.runtime.controller import DONE, Result, requeue
from outrider.runtime.store import Lister


class TwinReconciler:
    """Makes the provisioning twin of management clusters that came first: ``c-xxxxx`` and ``local``."""

    def __init__(self, client: Client, clusters: Lister[Cluster], twins: Lister[ProvisioningCluster]) -> None:
        self._client = client
        self._clusters = clusters
        self._twins = twins

    async def reconcile(self, key: ObjectKey) -> Result:
        """One management cluster."""
        cluster = self._clusters.get(key)
        if cluster is None or cluster.is_deleting or not is_legacy_id(key.name):
            return DONE
        space = cluster.spec.fleet_workspace_name
        if not space or self._twins.get(ObjectKey(space, key.name)) is not None:
            return DONE
        with contextlib.suppress(AlreadyExists):
            try:
                await self._client.create(PROVISIONING_CLUSTERS, twin_of(cluster))
            except NotFound:
                await ensure_namespace(self._client, space)
                await self._client.create(PROVISIONING_CLUSTERS, twin_of(cluster))
        return DONE


class ProvisioningReconciler:
    """Makes the management cluster of provisioning clusters that came first, and reports on both kinds."""

    def __init__(self, client: Client, clusters: Lister[Cluster], twins: Lister[ProvisioningCluster]) -> None:
        self._client = client
        self._clusters = clusters
        self._twins = twins

    async def reconcile(self, key: ObjectKey) -> Result:
        """One provisioning cluster."""
        twin = self._twins.get(key)
        if twin is None:
            return DONE
        if twin.is_deleting:
            return await self._release(twin)
        if came_second(twin):
            return await self._follow(twin, twin.metadata.name)
        if TWIN_FINALIZER not in twin.metadata.finalizers:
            twin = await self._client.patch(
                PROVISIONING_CLUSTERS, twin.metadata.name, _claim(twin), key.namespace
            )
        if not twin.status.cluster_name:
            with contextlib.suppress(AlreadyExists):
                await self._client.create(CLUSTERS, management_of(twin))
        elif CREATOR_ID in twin.metadata.annotations:
            # It was copied to the management cluster, which counts from here on
            patch = {"metadata": {"annotations": {CREATOR_ID: None}}}
            twin = await self._client.patch(PROVISIONING_CLUSTERS, twin.metadata.name, patch, key.namespace)
        return await self._follow(twin, management_name(twin))

    async def _follow(self, twin: ProvisioningCluster, name: str) -> Result:
        cluster = self._clusters.get(ObjectKey("", name)) or await self._live(name)
        if cluster is None:
            if not twin.status.cluster_name:
                # A copy of another server's twin, or one whose half was not there yet: never paired, so kept
                return DONE
            await self._client.delete_if_exists(
                PROVISIONING_CLUSTERS, twin.metadata.name, twin.metadata.namespace, uid=twin.metadata.uid
            )
            return DONE
        changes = merge_patch(msgspec.to_builtins(twin.status), twin_status(twin, cluster))
        if changes:
            await self._client.patch(
                PROVISIONING_CLUSTERS,
                twin.metadata.name,
                {"metadata": {"resourceVersion": twin.metadata.resource_version}, "status": changes},
                twin.metadata.namespace,
                subresource="status",
            )
        return DONE

    async def _live(self, name: str) -> Cluster | None:
        try:
            return await self._client.get(CLUSTERS, name)
        except NotFound:
            return None

    async def _release(self, twin: ProvisioningCluster) -> Result:
        if TWIN_FINALIZER not in twin.metadata.finalizers:
            return DONE
        name = management_name(twin)
        cluster = await self._live(name)
        if cluster is not None and name != LOCAL_CLUSTER:
            if not cluster.is_deleting:
                await self._client.delete_if_exists(CLUSTERS, name, uid=cluster.metadata.uid)
            return requeue(1.0)
        remaining = [finalizer for finalizer in twin.metadata.finalizers if finalizer != TWIN_FINALIZER]
        patch = {
            "metadata": {"resourceVersion": twin.metadata.resource_version, "finalizers": remaining or None}
        }
        with contextlib.suppress(NotFound):
            await self._client.patch(
                PROVISIONING_CLUSTERS, twin.metadata.name, patch, twin.metadata.namespace
            )
        return DONE


def _claim(twin: ProvisioningCluster) -> dict[str, object]:
    metadata = {
        "resourceVersion": twin.metadata.resource_version,
        "finalizers": [*twin.metadata.finalizers, TWIN_FINALIZER],
    }
    return {"metadata": metadata}
