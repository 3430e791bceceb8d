"""From a snapshot to a status: sums, driver, provider, health, pressure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from outrider.apis.management.cluster import Cluster
from outrider.apis.management.cluster_spec import ClusterSpec
from outrider.apis.management.cluster_status import ClusterStatus, VersionInfo
from outrider.features.clusters.inventories import Inventories
from outrider.features.clusters.inventory import next_status, provider, spec_for_driver, total
from outrider.kube import conditions as c
from outrider.kube.meta import Condition, ObjectMeta
from outrider.tunnel.reports import Health, InventoryDelta, NodeReport, Resync, Usage
from outrider.tunnel.reports import VersionInfo as Reported
from outrider.tunnel.snapshot import Snapshot
from tests.support.clock import FakeClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROLE = "node-role.kubernetes.io/"


def delta(**fields: Any) -> InventoryDelta:
    return InventoryDelta(reporter="", sequence=0, digest="", **fields)


def snapshot(*nodes: NodeReport, version: str = "v1.34.2", **fields: Any) -> Snapshot:
    made = Snapshot()
    made.reporter = "r"
    fields.setdefault("health", Health())
    made.record(delta(nodes=list(nodes), version=Reported(git_version=version), **fields))
    return made


def node(name: str = "n", *, spec: dict[str, Any] | None = None, **labels: str) -> NodeReport:
    resources = {"cpu": "2", "memory": "4Gi", "pods": "110", "ephemeral-storage": "1Ti"}
    plain = {key.replace("__", "/").replace("_", "-"): value for key, value in labels.items()}
    return NodeReport(
        name=name,
        labels={"kubernetes.io/os": "linux", **plain},
        spec=spec or {},
        status={"capacity": resources, "allocatable": resources},
    )


def cluster(driver: str = "imported", *, connected: bool = True, **changes: Any) -> Cluster:
    status = ClusterStatus(
        driver=driver,
        connected=connected,
        conditions=[Condition(type="Waiting", status="Unknown", message="w")],
    )
    for key, value in changes.items():
        setattr(status, key, value)
    return Cluster(metadata=ObjectMeta(name="c-1"), status=status)


TAINT = {"key": f"{ROLE}control-plane", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("other", "counted"),
    [
        (node("x"), 2),
        (node("x", spec={"unschedulable": True}), 1),
        (node("x", spec={"taints": [TAINT]}), 1),
        (node("x", spec={"taints": [{**TAINT, "effect": "NoExecute", "key": f"{ROLE}etcd"}]}), 1),
        (node("x", spec={"taints": [{**TAINT, "effect": "PreferNoSchedule"}]}), 2),
        (node("x", spec={"taints": [{"key": "other", "effect": "NoSchedule"}]}), 2),
        (node("x", spec={"taints": [TAINT]}, **{f"{ROLE}worker": "true"}), 2),
    ],
)
def test_which_nodes_count(other: NodeReport, counted: int) -> None:
    usage = {name: Usage(requested={"cpu": "500m"}, limits={"memory": "1Gi"}) for name in ("n", "x")}
    status = next_status(cluster(), snapshot(node(), other, usage=usage), NOW)
    assert status.node_count == 2
    assert status.capacity == {
        "cpu": str(2 * counted),
        "memory": f"{4 * counted}Gi",
        "pods": str(110 * counted),
    }
    assert status.requested == {"cpu": {1: "500m", 2: "1"}[counted], "memory": "0", "pods": "0"}
    assert status.limits == {"cpu": "0", "memory": f"{counted}Gi", "pods": "0"}


def test_what_is_no_quantity_counts_as_nothing() -> None:
    lists: list[dict[str, Any]] = [{"cpu": "1"}, {"cpu": "lots"}, {"cpu": 2}, {"cpu": None}, {}]
    assert total(lists, ["cpu", "pods"]) == {"cpu": "3", "pods": "0"}


def test_workers_by_system() -> None:
    windows = node("w", **{"kubernetes.io/os": "windows"})
    control = node("c", **{f"{ROLE}control-plane": ""})
    status = next_status(cluster(), snapshot(node(), windows, control), NOW)
    assert (status.linux_worker_count, status.windows_worker_count) == (1, 1)


@pytest.mark.parametrize(
    ("before", "version", "nodes", "after"),
    [
        ("imported", "v1.30.1+k3s1", [node()], "k3s"),
        ("imported", "v1.30.1+k3s1", [], "imported"),
        ("imported", "v1.30.1+k3s1", [node(**{"k3os.io/mode": "x"})], "k3os"),
        ("imported", "v1.30.1+rke2r1", [node()], "rke2"),
        ("imported", "v1.30.1", [node()], "imported"),
        ("local", "v1.30.1+k3s1", [node()], "k3s"),
        ("EKS", "v1.30.1+k3s1", [node()], "EKS"),
        ("", "v1.30.1+k3s1", [node()], ""),
    ],
)
def test_driver(before: str, version: str, nodes: list[NodeReport], after: str) -> None:
    assert next_status(cluster(before), snapshot(*nodes, version=version), NOW).driver == after


def test_driver_of_special_clusters() -> None:
    administrated = cluster()
    administrated.metadata.annotations = {"provisioning.cattle.io/administrated": "true"}
    assert next_status(administrated, snapshot(node(), version="v1+k3s1"), NOW).driver == "imported"
    local = cluster("local")
    local.spec = ClusterSpec(internal=True)
    assert (
        next_status(local, snapshot(node(), version="v1+rke2r1", hints=["rancherd"]), NOW).driver
        == "rancherd"
    )


def test_a_detected_distribution_can_be_upgraded() -> None:
    old = cluster()
    status = next_status(old, snapshot(node(), version="v1.30.1+k3s1"), NOW)
    assert spec_for_driver(old, status) == {
        "k3sConfig": {
            "kubernetesVersion": "v1.30.1+k3s1",
            "k3supgradeStrategy": {"serverConcurrency": 1, "workerConcurrency": 1},
        }
    }
    old.status = status
    assert spec_for_driver(old, status) == {}


@pytest.mark.parametrize(
    ("version", "nodes", "hints", "found"),
    [
        ("v1.30.1-eks-abc", [node()], [], "eks"),
        ("v1.30.1-gke.100", [node()], [], "gke"),
        ("v1.30.1", [node(**{"kubernetes.azure.com/cluster": "x"})], [], "aks"),
        ("v1.30.1+k3s1", [node()], [], "k3s"),
        ("v1.30.1+rke2r1", [node()], [], "rke2"),
        ("v1.30.1+rke2r1", [node(**{"kubernetes.io/os": "windows"})], [], "rke2.windows"),
        ("v1.30.1+rke2r1", [node()], ["harvester"], "harvester"),
        ("v1.30.1", [NodeReport(name="n", annotations={"rke.cattle.io/x": "y"})], [], "rke"),
        ("v1.30.1", [node()], ["minikube"], "minikube"),
        ("v1.30.1", [node()], ["docker"], "docker"),
        ("v1.30.1", [node()], [], ""),
    ],
)
def test_provider(version: str, nodes: list[NodeReport], hints: list[str], found: str) -> None:
    assert provider(VersionInfo(git_version=version), snapshot(*nodes, hints=hints)) == found


def test_the_provider_waits_for_ready() -> None:
    bad = snapshot(node(), version="v1+k3s1", health=Health(ok=False))
    assert next_status(cluster(), bad, NOW).provider == ""
    assert next_status(cluster(), snapshot(node(), version="v1+k3s1"), NOW).provider == "k3s"


def test_health() -> None:
    good = next_status(cluster(), snapshot(), NOW).conditions
    assert c.is_true(good, "Ready")
    waiting = c.get_condition(good, "Waiting")
    assert waiting is not None
    assert (waiting.status, waiting.message) == ("True", "")
    bad = next_status(cluster(), snapshot(health=Health(ok=False, message="etcd")), NOW).conditions
    ready = c.get_condition(bad, "Ready")
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", "ComponentStatusFetchingFailure")
    assert ready.message == (
        "cluster health check failed: Failed to communicate with API server during namespace check: etcd"
    )
    assert not c.is_true(bad, "Waiting")


@pytest.mark.parametrize("held_back", [{"connected": False}, {"ready_reconciling": True}])
def test_health_does_not_speak_for_a_lost_or_provisioning_cluster(held_back: dict[str, bool]) -> None:
    assert c.get_condition(next_status(cluster(**held_back), snapshot(), NOW).conditions, "Ready") is None


def test_pressure_and_tls_are_told() -> None:
    pressed = NodeReport(name="n", status={"conditions": [{"type": "DiskPressure", "status": "True"}]})
    found = next_status(cluster(), snapshot(pressed, strict_tls=False), NOW).conditions
    disk = c.get_condition(found, "NoDiskPressure")
    assert disk is not None
    assert (disk.status, disk.message) == ("False", "DiskPressure on n")
    assert c.is_true(found, "NoMemoryPressure")
    strict = c.get_condition(found, "AgentTlsStrictCheck")
    assert strict is not None
    assert strict.status == "False"


def test_what_differs_between_api_servers_does_not_flap() -> None:
    made = Snapshot()
    made.record(delta(version=Reported(git_version="v1", build_date="d", platform="linux/amd64")))
    version = next_status(cluster(), made, NOW).version
    assert version == VersionInfo(git_version="v1")


def test_in_brief() -> None:
    mixed = [node("a", **{"kubernetes.io/arch": "amd64"}), node("b", **{"kubernetes.io/arch": "arm64"})]
    info = next_status(cluster(), snapshot(*mixed), NOW).info
    assert info is not None
    assert (info.arch, info.node_count, info.kubernetes_version) == ("mixed", 2, "v1.34.2")
    assert info.machine_provider == "imported"


def test_the_same_report_twice_is_one_status() -> None:
    once = next_status(cluster(), snapshot(node()), NOW)
    again = cluster()
    again.status = once
    assert next_status(again, snapshot(node()), datetime(2026, 2, 2, tzinfo=UTC)) == once


def test_inventories_are_kept_by_tunnel() -> None:
    clock = FakeClock()
    held = Inventories(clock)
    first, second = snapshot(node("a")), snapshot(node("b"))
    assert held.follow("c-1", 1, first.inventory()) is None
    assert held.follow("c-1", 2, second.inventory()) is None
    newest = held.of("c-1")
    assert newest is not None
    assert set(newest.nodes) == {"b"}
    held.forget("c-1", 2)
    left = held.of("c-1")
    assert left is not None
    assert set(left.nodes) == {"a"}
    held.forget("c-1", 1)
    assert held.of("c-1") is None


async def test_everything_is_asked_for_now_and_then_only() -> None:
    clock = FakeClock()
    held = Inventories(clock)
    stray = snapshot().record(delta())
    assert isinstance(held.follow("c-1", 1, stray), Resync)
    assert held.follow("c-1", 1, stray) is None
    assert held.of("c-1") is None
    await clock.advance(6)
    assert isinstance(held.follow("c-1", 1, stray), Resync)
