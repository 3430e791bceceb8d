"""From what an agent reports to what a cluster's status says: sums, driver, provider, health.

Pure functions (contract: clusters §1.2 to §1.5, §4.6).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from fractions import Fraction
from typing import Any, Final

import msgspec

from outrider.apis.management.cluster import Cluster
from outrider.apis.management.cluster_status import ClusterInfo, ClusterStatus, VersionInfo
from outrider.features.clusters.nodes import node_condition, roles, taints
from outrider.kube import conditions as c
from outrider.kube.quantity import Quantity, QuantityError, parse
from outrider.kube.quantity import total as add_up
from outrider.tunnel.reports import Health, NodeReport
from outrider.tunnel.reports import VersionInfo as ReportedVersion
from outrider.tunnel.snapshot import Snapshot

ADMINISTRATED: Final = "provisioning.cattle.io/administrated"
PROVIDER_LABEL: Final = "provider.cattle.io"
NOT_HEALTHY: Final = "ComponentStatusFetchingFailure"
WAITING_MESSAGE: Final = "Waiting for API to be available"

_KEYS: Final = ("cpu", "memory", "pods")
_CONTROL_PLANE_TAINTS: Final = frozenset(
    f"node-role.kubernetes.io/{role}" for role in ("controlplane", "control-plane", "etcd")
)
_HEALTH_PREFIX: Final = (
    "cluster health check failed: Failed to communicate with API server during namespace check"
)


def next_status(cluster: Cluster, snapshot: Snapshot, now: datetime) -> ClusterStatus:
    """The cluster's status as the snapshot makes it; what an agent does not know stays as it was."""
    old = cluster.status
    status = msgspec.structs.replace(
        old,
        version=_version(snapshot.version) if snapshot.version else old.version,
        **_counts(snapshot),
        component_statuses=[],
    )
    status.driver = driver(cluster, status.version, snapshot)
    status.conditions = _conditions(cluster, snapshot, now)
    if c.is_true(status.conditions, "Ready") and not status.provider:
        status.provider = provider(status.version, snapshot)
    status.info = _info(cluster, status, snapshot)
    return status


def _version(version: ReportedVersion) -> VersionInfo:
    # buildDate and platform differ between the API servers of one cluster: blanked, they do not flap
    plain = msgspec.to_builtins(version) | {"buildDate": "", "platform": ""}
    return msgspec.convert(plain, VersionInfo)


def _counts(snapshot: Snapshot) -> dict[str, Any]:
    nodes = list(snapshot.nodes.values())
    counted = [node for node in nodes if takes_workloads(node)]
    usage = [snapshot.usage[node.name] for node in counted if node.name in snapshot.usage]
    return {
        "node_count": len(nodes),
        "linux_worker_count": _workers(nodes, "linux"),
        "windows_worker_count": _workers(nodes, "windows"),
        "capacity": total((node.status.get("capacity") or {} for node in counted), _KEYS),
        "allocatable": total((node.status.get("allocatable") or {} for node in counted), _KEYS),
        "requested": total((used.requested for used in usage), _KEYS),
        "limits": total((used.limits for used in usage), _KEYS),
    }


def total(lists: Iterable[Mapping[str, object]], keys: Iterable[str]) -> dict[str, str]:
    """The sum of several resource lists for `keys`; what is no quantity counts as nothing."""
    found = list(lists)
    return {key: str(add_up(_quantity(entry.get(key)) for entry in found)) for key in keys}


def _quantity(text: object) -> Quantity:
    try:
        return parse(str(text)) if text is not None else Quantity(Fraction())
    except QuantityError:
        return Quantity(Fraction())


def takes_workloads(node: NodeReport) -> bool:
    """Whether the node counts in the cluster's capacity."""
    if node.spec.get("unschedulable"):
        return False
    if f"{'node-role.kubernetes.io/'}worker" in node.labels:
        return True
    return not any(
        taint.get("key") in _CONTROL_PLANE_TAINTS and taint.get("effect") in ("NoSchedule", "NoExecute")
        for taint in taints(node)
    )


def _workers(nodes: Iterable[NodeReport], system: str) -> int:
    return sum(1 for node in nodes if roles(node)[2] and node.labels.get("kubernetes.io/os") == system)


def driver(cluster: Cluster, version: VersionInfo | None, snapshot: Snapshot) -> str:
    """How the cluster is managed: distributions that can be upgraded are told by their version."""
    current = cluster.status.driver
    administrated = cluster.metadata.annotations.get(ADMINISTRATED) == "true"
    if version is None or not snapshot.nodes or administrated:
        return current
    if current not in ("imported", "local", "k3s", "k3os", "rke2", "rancherd"):
        return current
    if "k3s" in version.git_version:
        os_nodes = any("k3os.io/mode" in node.labels for node in snapshot.nodes.values())
        return "k3os" if os_nodes else "k3s"
    if "rke2" in version.git_version:
        return "rancherd" if cluster.spec.internal and "rancherd" in snapshot.hints else "rke2"
    return current


def provider(version: VersionInfo | None, snapshot: Snapshot) -> str:
    """The distribution; empty when nothing tells it."""
    text = version.git_version if version else ""
    nodes = list(snapshot.nodes.values())
    windows = any(node.labels.get("kubernetes.io/os") == "windows" for node in nodes)
    harvester = "harvester" in snapshot.hints
    rke = any(key.startswith("rke.cattle.io/") for node in nodes for key in node.annotations)
    found = (
        ("eks", "-eks-" in text),
        ("gke", "-gke." in text),
        ("aks", any("kubernetes.azure.com/cluster" in node.labels for node in nodes)),
        ("k3s", "+k3s" in text),
        ("rke2.windows", "+rke2" in text and windows),
        ("rke2", "+rke2" in text and not harvester),
        ("harvester", harvester),
        ("rke.windows", rke and windows),
        ("rke", rke),
        ("minikube", "minikube" in snapshot.hints),
        ("docker", "docker" in snapshot.hints),
    )
    return next((name for name, holds in found if holds), "")


def _conditions(cluster: Cluster, snapshot: Snapshot, now: datetime) -> list[Any]:
    found = cluster.status.conditions
    if snapshot.health is not None and cluster.status.connected and not cluster.status.ready_reconciling:
        found = with_health(found, snapshot.health, now)
    if snapshot.strict_tls is not None:
        found = c.set_condition(
            found, "AgentTlsStrictCheck", "True" if snapshot.strict_tls else "False", now=now
        )
    if snapshot.nodes:
        for kind in ("DiskPressure", "MemoryPressure"):
            pressed = [n.name for n in snapshot.nodes.values() if _has_pressure(n, kind)]
            message = f"{kind} on {', '.join(sorted(pressed)[:10])}" if pressed else ""
            found = c.set_condition(
                found, f"No{kind}", "False" if pressed else "True", now=now, message=message
            )
    return found


def _has_pressure(node: NodeReport, kind: str) -> bool:
    return bool(node_condition(node, kind).get("status") == "True")


def with_health(found: list[Any], health: Health, now: datetime) -> list[Any]:
    """`Ready` and, after the first good answer, `Waiting`."""
    if not health.ok:
        message = f"{_HEALTH_PREFIX}: {health.message}" if health.message else _HEALTH_PREFIX
        return c.set_condition(found, "Ready", "False", now=now, reason=NOT_HEALTHY, message=message)
    return c.set_condition(c.set_condition(found, "Ready", "True", now=now), "Waiting", "True", now=now)


def _info(cluster: Cluster, status: ClusterStatus, snapshot: Snapshot) -> ClusterInfo:
    architectures = {node.labels.get("kubernetes.io/arch", "") for node in snapshot.nodes.values()} - {""}
    old = status.info or ClusterInfo()
    return msgspec.structs.replace(
        old,
        machine_provider=old.machine_provider or ("local" if cluster.spec.internal else "imported"),
        kubernetes_version=status.version.git_version if status.version else "",
        node_count=status.node_count or 0,
        arch=architectures.pop() if len(architectures) == 1 else ("mixed" if architectures else ""),
    )


def spec_for_driver(cluster: Cluster, status: ClusterStatus) -> dict[str, Any]:
    """A merge patch of the spec that lets a newly detected k3s or rke2 be upgraded; empty for none."""
    if status.version is None or cluster.status.driver == status.driver:
        return {}
    strategy = {"serverConcurrency": 1, "workerConcurrency": 1}
    for name, key in (("k3s", "k3supgradeStrategy"), ("rke2", "rke2upgradeStrategy")):
        config = cluster.spec.k3s_config if name == "k3s" else cluster.spec.rke2_config
        if status.driver == name and config is None:
            return {f"{name}Config": {"kubernetesVersion": status.version.git_version, key: strategy}}
    return {}
