"""Writes a cluster's status: one patch of what changed, guarded by the version that it was computed from."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from outrider.apis.management.cluster import CLUSTERS, Cluster
from outrider.apis.management.cluster_status import ClusterStatus
from outrider.apis.state import evaluate
from outrider.kube.client import Client
from outrider.kube.patches import merge_patch


def status_patch(cluster: Cluster, status: ClusterStatus, now: datetime) -> dict[str, Any]:
    """The merge patch that makes `status` of the cluster's, with the computed state; empty for no change."""
    status = msgspec.structs.replace(status, state=evaluate(cluster, status.conditions, now).name)
    old, new = msgspec.to_builtins(cluster.status), msgspec.to_builtins(status)
    changes: dict[str, Any] = merge_patch(old, new)
    return changes


async def write_status(client: Client, cluster: Cluster, status: ClusterStatus, now: datetime) -> Cluster:
    """Write what changed, if anything did. Raises `Conflict` when the cluster is newer than `cluster`."""
    changes = status_patch(cluster, status, now)
    if not changes:
        return cluster
    patch = {"metadata": {"resourceVersion": cluster.metadata.resource_version}, "status": changes}
    return await client.patch(CLUSTERS, cluster.metadata.name, patch, subresource="status")
