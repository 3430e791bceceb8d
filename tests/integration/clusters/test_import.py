"""The way of an imported cluster, against a real API server: pending, waiting, active, unavailable, gone."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from outrider.apis.management.cluster import CLUSTERS, Cluster
from outrider.apis.management.node import NODES
from outrider.apis.provisioning.cluster import PROVISIONING_CLUSTERS
from outrider.features.clusters.manifest import credentials_name
from outrider.kit import yaml
from outrider.kube.builtin import NAMESPACES
from outrider.kube.errors import NotFound
from outrider.link.messages import Admit, CloseSessions, SessionClosed
from outrider.tunnel.reports import (
    Health,
    InventoryDelta,
    NodeReport,
    Resync,
    Usage,
    VersionInfo,
)
from outrider.tunnel.snapshot import Snapshot
from tests.integration.clusters.conftest import Plane, eventually


def status_of(cluster: Cluster, kind: str) -> tuple[str, str]:
    found = [c for c in cluster.status.conditions if c.type == kind]
    return (found[0].status, found[0].reason) if found else ("", "")


def change(**fields: Any) -> InventoryDelta:
    return InventoryDelta(reporter="", sequence=0, digest="", **fields)


def node(name: str, **labels: str) -> NodeReport:
    resources = {"cpu": "4", "memory": "8Gi", "pods": "110"}
    return NodeReport(
        name=name,
        labels={"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", **labels},
        status={
            "capacity": resources,
            "allocatable": {**resources, "cpu": "3900m"},
            "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}],
        },
    )


def agent() -> Snapshot:
    snapshot = Snapshot()
    snapshot.reporter = "agent-1"
    snapshot.record(
        change(
            version=VersionInfo(major="1", minor="34", git_version="v1.34.2+k3s1", build_date="today"),
            health=Health(),
            nodes=[node("n1"), node("n2", **{"node-role.kubernetes.io/control-plane": "true"})],
            usage={"n1": Usage(requested={"cpu": "250m", "memory": "64Mi", "pods": "3"})},
        )
    )
    return snapshot


async def test_the_whole_way(plane: Plane, unique: str) -> None:
    made = (await plane.call("POST", "/v3/clusters", body={"type": "cluster", "name": unique})).json()
    name = made["id"]
    cluster = await plane.until(name, lambda c: c.status.state == "pending")
    assert cluster.spec.fleet_workspace_name == "fleet-default"
    assert status_of(cluster, "ServiceAccountSecretsMigrated") == ("True", "")
    token = await plane.token(name)

    answer = await plane.admit(token)
    assert (answer.status, answer.cluster, answer.registration) == (200, name, "default-token")
    cluster = await plane.until(name, lambda c: c.status.state == "waiting")
    assert (cluster.status.driver, cluster.status.api_endpoint) == ("imported", "https://10.43.0.1:443")

    session = await plane.connect(name)
    snapshot = agent()
    await plane.report(name, session, snapshot.inventory())
    cluster = await plane.until(name, lambda c: c.status.state == "active" and c.status.provider)
    assert cluster.status.connected is True
    assert cluster.status.version is not None
    assert (cluster.status.version.git_version, cluster.status.version.build_date) == ("v1.34.2+k3s1", "")
    assert (cluster.status.driver, cluster.status.provider) == ("k3s", "k3s")
    assert cluster.metadata.labels["provider.cattle.io"] == "k3s"
    assert cluster.spec.k3s_config is not None
    assert cluster.spec.k3s_config.kubernetes_version == "v1.34.2+k3s1"
    assert cluster.status.capacity == {"cpu": "8", "memory": "16Gi", "pods": "220"}
    assert cluster.status.allocatable == {"cpu": "7800m", "memory": "16Gi", "pods": "220"}
    assert cluster.status.requested == {"cpu": "250m", "memory": "64Mi", "pods": "3"}
    assert (cluster.status.node_count, cluster.status.linux_worker_count) == (2, 1)

    nodes = (await plane.client.list(NODES, name)).items
    assert sorted(n.status.node_name for n in nodes) == ["n1", "n2"]
    control = next(n for n in nodes if n.status.node_name == "n2")
    assert (control.spec.control_plane, control.spec.worker) == (True, False)
    assert control.metadata.name.startswith("machine-")
    assert control.metadata.labels["management.cattle.io/nodename"] == "n2"

    await plane.report(name, session, snapshot.record(change(nodes_removed=["n2"])))
    await plane.until(name, lambda c: c.status.node_count == 1)

    async def one_node() -> bool:
        return len((await plane.client.list(NODES, name)).items) == 1

    await eventually(one_node)

    await plane.report(name, session, snapshot.record(change(health=Health(ok=False, message="etcd failed"))))
    cluster = await plane.until(name, lambda c: c.status.state == "unavailable")
    assert status_of(cluster, "Ready") == ("False", "ComponentStatusFetchingFailure")

    await plane.feature.service.session_closed(SessionClosed(cluster=name, session=session))
    cluster = await plane.until(name, lambda c: c.status.connected is False)
    assert status_of(cluster, "Ready") == ("False", "Disconnected")
    assert status_of(cluster, "Connected")[0] == "False"

    session = await plane.connect(name)
    await plane.report(name, session, agent().inventory())
    await plane.until(name, lambda c: c.status.state == "active")


async def test_what_is_unchanged_is_not_written(plane: Plane, unique: str) -> None:
    name = await plane.create(unique)
    await plane.admit(await plane.token(name))
    session = await plane.connect(name)
    snapshot = agent()
    await plane.report(name, session, snapshot.inventory())
    cluster = await plane.until(name, lambda c: c.status.state == "active" and c.status.provider)
    await asyncio.sleep(0.6)
    cluster = await plane.cluster(name)
    versions = {n.metadata.resource_version for n in (await plane.client.list(NODES, name)).items}
    heartbeat = msgspec.structs.replace(
        node("n1"),
        status={
            **node("n1").status,
            "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:05:00Z"}],
        },
    )
    await plane.report(name, session, snapshot.record(change(nodes=[heartbeat])))
    await asyncio.sleep(0.6)
    assert (await plane.cluster(name)).metadata.resource_version == cluster.metadata.resource_version
    assert {n.metadata.resource_version for n in (await plane.client.list(NODES, name)).items} == versions


async def test_a_lost_report_is_asked_for_again(plane: Plane, unique: str) -> None:
    name = await plane.create(unique)
    session = await plane.connect(name)
    snapshot = agent()
    await plane.report(name, session, snapshot.inventory())
    snapshot.record(change(nodes=[node("lost")]))
    for _ in range(3):
        await plane.report(name, session, snapshot.record(change(nodes=[node("n4")])))
    asked = [message for message in plane.told(name) if isinstance(message, Resync)]
    assert len(asked) == 1, "asked once, not for each message"


async def test_the_desired_state_is_what_the_manifest_made(plane: Plane, unique: str) -> None:
    name = await plane.create(unique)
    token = await plane.token(name)
    contribution = await plane.feature.objects.contribute(await plane.cluster(name))
    manifest = yaml.load_all((await plane.call("GET", f"/v3/import/{token}.yaml", who=None)).text)
    delivered = [entry.object for entry in contribution.entries]
    assert contribution.complete
    for obj in manifest:
        assert obj in delivered, "what was taken away comes back as it was, and nothing rolls out anew"
    system = await plane.token(name, "system")
    names = {obj["metadata"]["name"] for obj in delivered}
    assert {"cattle-impersonation-system", credentials_name("https://outrider.test", system, "")} <= names


async def test_deletion_closes_tunnels_and_leaves_nothing(plane: Plane, unique: str) -> None:
    name = await plane.create(unique)
    await plane.connect(name)
    await plane.until(name, lambda c: c.status.connected)

    async def twin_is_there() -> bool:
        twins = (await plane.client.list(PROVISIONING_CLUSTERS, "fleet-default")).items
        return any(
            t.metadata.name == name and t.status.cluster_name == name and t.status.ready for t in twins
        )

    await eventually(twin_is_there)
    answer = await plane.call("DELETE", f"/v3/clusters/{name}")
    assert answer.status == 200
    assert answer.json()["state"] == "removing"

    async def gone() -> bool:
        for kind, key in (
            (CLUSTERS, ("",)),
            (NAMESPACES, ("",)),
            (PROVISIONING_CLUSTERS, ("fleet-default",)),
        ):
            try:
                await plane.client.get(kind, name, *key)
            except NotFound:
                continue
            return False
        return True

    await eventually(gone, within=30)
    assert any(isinstance(m, CloseSessions) and m.cluster == name for m in plane.sent)


async def test_two_clusters_cannot_share_a_display_name(plane: Plane, unique: str) -> None:
    answers = await asyncio.gather(
        *(plane.call("POST", "/v3/clusters", body={"name": text}) for text in (unique, unique.upper()))
    )
    assert sorted(a.status for a in answers) == [201, 422]
    refused = next(a for a in answers if a.status == 422).json()
    assert (refused["code"], refused["fieldName"]) == ("NotUnique", "Cluster name")
    first = next(a for a in answers if a.status == 201).json()["id"]
    made = await plane.client.create(
        CLUSTERS, {"metadata": {"generateName": "c-"}, "spec": {"displayName": unique.lower()}}
    )
    second = made.metadata.name

    async def complaint() -> str | None:
        for name in (second, first):
            cluster = await plane.cluster(name)
            if status_of(cluster, "ConfigOK") == ("False", "NotUnique"):
                assert cluster.status.state == "configuring"
                return name
        return None

    # Of two that were created in the same second either may be the younger
    assert await eventually(complaint) in (first, second)
    await plane.client.patch(CLUSTERS, second, {"spec": {"displayName": f"{unique} 2"}})
    for name in (first, second):
        await plane.until(name, lambda c: status_of(c, "ConfigOK")[0] == "")


async def test_a_namespace_that_is_somebody_elses_is_left_alone(plane: Plane, namespace: str) -> None:
    made = await plane.client.create(
        CLUSTERS, {"metadata": {"name": namespace}, "spec": {"displayName": namespace}}
    )
    cluster = await plane.until(
        made.metadata.name, lambda c: status_of(c, "BackingNamespaceCreated") == ("False", "NamespaceTaken")
    )
    assert cluster.status.state == "configuring"
    await plane.client.delete(CLUSTERS, namespace)

    async def gone() -> bool:
        try:
            await plane.cluster(namespace)
        except NotFound:
            return True
        return False

    await eventually(gone)
    found = await plane.client.get(NAMESPACES, namespace)
    assert "deletionTimestamp" not in found["metadata"]


async def test_local_needs_no_agent(plane: Plane) -> None:
    cluster = await plane.until(
        "local", lambda c: c.status.state == "active" and c.status.version and c.status.connected
    )
    assert cluster.spec.internal
    assert cluster.spec.fleet_workspace_name == "fleet-local"
    assert cluster.status.driver == "local"

    async def twin_is_ready() -> bool:
        twins = (await plane.client.list(PROVISIONING_CLUSTERS, "fleet-local")).items
        return any(twin.metadata.name == "local" and twin.status.ready for twin in twins)

    await eventually(twin_is_ready)
    refused = await plane.admit(await plane.token("local"))
    assert refused.status == 400
    assert (await plane.call("DELETE", "/v3/clusters/local")).status == 405


async def test_a_provisioning_cluster_gets_its_management_cluster(plane: Plane, unique: str) -> None:
    name = unique.lower().replace(" ", "-")
    await plane.create(unique)  # makes sure that the workspace exists
    twin = await plane.client.create(
        PROVISIONING_CLUSTERS,
        {
            "metadata": {
                "name": name,
                "namespace": "fleet-default",
                "labels": {"team": "a", "x.cattle.io/y": "z"},
                "annotations": {"field.cattle.io/creatorId": "user-1"},
            },
            "spec": {},
        },
    )

    async def paired() -> str:
        return (await plane.client.get(PROVISIONING_CLUSTERS, name, "fleet-default")).status.cluster_name

    management = await eventually(paired)
    assert management.startswith("c-m-")
    assert len(management) == 12
    cluster = await plane.cluster(management)
    assert cluster.spec.display_name == name
    assert cluster.spec.fleet_workspace_name == "fleet-default"
    assert cluster.metadata.labels == {"team": "a"}
    assert cluster.metadata.annotations["field.cattle.io/creatorId"] == "user-1"
    assert cluster.metadata.annotations["provisioning.cattle.io/administrated"] == "false"
    assert twin.metadata.name == name
    await plane.token(management)
    await plane.client.delete(PROVISIONING_CLUSTERS, name, "fleet-default")

    async def gone() -> bool:
        for kind, key in ((CLUSTERS, (management,)), (PROVISIONING_CLUSTERS, (name, "fleet-default"))):
            try:
                await plane.client.get(kind, *key)
            except NotFound:
                continue
            return False
        return True

    await eventually(gone, within=30)


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({}, "missing node or cluster registration info"),
        ({"node": {}}, "invalid input, hostname empty"),
        ({"cluster": {"caCert": "x"}}, "invalid input, address empty"),
        ({"cluster": {"address": "10.0.0.1:443"}}, "invalid input, caCert empty"),
    ],
)
async def test_refused_parameters(plane: Plane, params: dict[str, Any], text: str) -> None:
    answer = await plane.feature.service.admit(Admit(id=9, token="b" * 54, params=params))
    assert (answer.id, answer.status, answer.message) == (9, 400, text)
