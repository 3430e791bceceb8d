"""What a cluster's record goes through: initial conditions, connection, display names (pure functions).

Contract: clusters §1.4, §1.6, §1.7, §0.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from outrider.apis.management.cluster import Cluster
from outrider.apis.management.cluster_status import ClusterStatus
from outrider.apis.management.group import LOCAL_CLUSTER
from outrider.features.clusters.inventory import WAITING_MESSAGE
from outrider.kube import conditions as c
from outrider.kube.meta import Condition

FINALIZER: Final = "wrangler.cattle.io/mgmt-cluster-remove"
SYSTEM_NAMESPACE: Final = "management.cattle.io/system-namespace"
UID_ANNOTATION: Final = "outrider.io/kube-system-uid"
"""On a record: the uid of its cluster's namespace kube-system, which tells one cluster from another."""
EXTERNALLY_MANAGED: Final = "provisioning.cattle.io/externally-managed"
DISCONNECTED: Final = "Disconnected"
DISCONNECTED_MESSAGE: Final = "Cluster agent is not connected"
LOCAL_WORKSPACE: Final = "fleet-local"

_LEGACY_ID = re.compile(r"c-[a-z0-9]{5}", re.ASCII)

# The first that is Unknown names the state, so Pending comes first
_GATES: Final = (("Pending", ""), ("Provisioned", ""), ("Waiting", WAITING_MESSAGE))
_MIGRATIONS: Final = (
    "ServiceAccountMigrated",
    "SecretsMigrated",
    "ServiceAccountSecretsMigrated",
    "RKESecretsMigrated",
    "ACISecretsMigrated",
    "HarvesterCloudProviderConfigMigrated",
)


def is_legacy_id(name: str) -> bool:
    """Whether a cluster of this name is the origin of its provisioning twin, not made by it."""
    return name == LOCAL_CLUSTER or _LEGACY_ID.fullmatch(name) is not None


def initial_conditions(cluster: Cluster, now: datetime) -> list[Condition]:
    """The conditions with those added that a new cluster starts with."""
    found = list(cluster.status.conditions)
    local = cluster.metadata.name == LOCAL_CLUSTER
    for kind, message in _GATES:
        if c.get_condition(found, kind) is None:
            found = c.set_condition(
                found, kind, "True" if local else "Unknown", now=now, message="" if local else message
            )
    for kind in _MIGRATIONS:
        if c.get_condition(found, kind) is None:
            found = c.set_condition(found, kind, "True", now=now)
    if local and c.get_condition(found, "Ready") is None:
        found = c.set_condition(found, "Ready", "True", now=now)
    return found


def workspace(cluster: Cluster, default: str) -> str:
    """The workspace that a cluster without one gets; empty when another system manages it."""
    if cluster.spec.fleet_workspace_name:
        return cluster.spec.fleet_workspace_name
    if cluster.spec.internal:
        return LOCAL_WORKSPACE
    external = cluster.metadata.annotations.get(EXTERNALLY_MANAGED)
    return default if external in (None, "", "false") else ""


def with_connection(cluster: Cluster, connected: bool, now: datetime) -> ClusterStatus:
    """The status of a cluster whose agent is connected, or is not."""
    status = msgspec.structs.replace(cluster.status, connected=connected)
    status.conditions = c.set_condition(
        status.conditions, "Connected", "True" if connected else "False", now=now
    )
    provisioned = c.is_true(status.conditions, "Provisioned")
    if not connected and provisioned and not status.ready_reconciling:
        status.conditions = c.set_condition(
            status.conditions, "Ready", "False", now=now, reason=DISCONNECTED, message=DISCONNECTED_MESSAGE
        )
    return status


def name_key(cluster: Cluster) -> str:
    """What display names are compared by: they are unique whatever their case."""
    return cluster.spec.display_name.casefold()


def name_conflict(cluster: Cluster, same_name: Iterable[Cluster]) -> Cluster | None:
    """The older cluster that has this one's display name, if there is one."""
    rivals = [
        other
        for other in same_name
        if other.metadata.uid != cluster.metadata.uid
        and not other.is_deleting
        and name_key(other) == name_key(cluster)
        and _seniority(other) < _seniority(cluster)
    ]
    return min(rivals, key=_seniority, default=None)


def _seniority(cluster: Cluster) -> tuple[datetime, str]:
    return cluster.metadata.creation_timestamp or datetime.max.replace(tzinfo=UTC), cluster.metadata.name


def local_cluster(*, embedded: bool) -> dict[str, Any]:
    """The record of the cluster that the management plane itself lives in, as it is created."""
    return {
        "metadata": {"name": LOCAL_CLUSTER},
        "spec": {
            "displayName": LOCAL_CLUSTER,
            "internal": True,
            "fleetWorkspaceName": LOCAL_WORKSPACE,
            **({} if embedded else {"importedConfig": {}}),
        },
    }


def backing_namespace(cluster: Cluster) -> dict[str, Any]:
    """The namespace of what belongs to a cluster; owned by it, so that it never outlives it."""
    return {
        "metadata": {
            "name": cluster.metadata.name,
            "annotations": {SYSTEM_NAMESPACE: "true"},
            "ownerReferences": [
                {
                    "apiVersion": "management.cattle.io/v3",
                    "kind": "Cluster",
                    "name": cluster.metadata.name,
                    "uid": cluster.metadata.uid,
                }
            ],
        }
    }


def owns_namespace(cluster: Cluster, namespace: dict[str, Any]) -> bool:
    """Whether a namespace of the cluster's name was made for it, here or by another server's backup."""
    metadata = namespace.get("metadata") or {}
    owners = [owner.get("uid") for owner in metadata.get("ownerReferences") or []]
    marked = (metadata.get("annotations") or {}).get(SYSTEM_NAMESPACE) == "true"
    return cluster.metadata.uid in owners or (marked and not owners)
