"""Initial conditions, connection, workspaces, display names, twins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from outrider.apis.management.cluster import Cluster
from outrider.apis.management.cluster_spec import ClusterSpec
from outrider.apis.provisioning.cluster import Cluster as Twin
from outrider.apis.provisioning.cluster import ClusterSpec as TwinSpec
from outrider.apis.provisioning.cluster import ClusterStatus as TwinStatus
from outrider.apis.state import evaluate
from outrider.features.clusters import lifecycle as life
from outrider.features.clusters import pairing
from outrider.features.clusters.status import status_patch
from outrider.kube import conditions as c
from outrider.kube.meta import ObjectMeta

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def cluster(name: str = "c-abcde", *, uid: str = "u1", age: int = 0, **spec: Any) -> Cluster:
    created = NOW - timedelta(seconds=age)
    metadata = ObjectMeta(name=name, uid=uid, creation_timestamp=created)
    return Cluster(metadata=metadata, spec=ClusterSpec(**{"display_name": "one", **spec}))


def test_a_new_cluster_is_pending() -> None:
    new = cluster()
    conditions = life.initial_conditions(new, NOW)
    assert [x.type for x in conditions][:3] == ["Pending", "Provisioned", "Waiting"]
    assert evaluate(new, conditions, NOW).name == "pending"
    new.status.conditions = conditions
    assert life.initial_conditions(new, NOW + timedelta(hours=1)) == conditions


def test_local_is_active_from_the_start() -> None:
    local = cluster("local", internal=True)
    assert evaluate(local, life.initial_conditions(local, NOW), NOW).name == "active"


@pytest.mark.parametrize(
    ("name", "legacy"),
    [("local", True), ("c-abcde", True), ("c-m-abcdefgh", False), ("c-abcdef", False), ("mine", False)],
)
def test_legacy_ids(name: str, legacy: bool) -> None:
    assert life.is_legacy_id(name) is legacy


def managed(value: str) -> Cluster:
    made = cluster()
    made.metadata.annotations = {"provisioning.cattle.io/externally-managed": value}
    return made


@pytest.mark.parametrize(
    ("subject", "space"),
    [
        (cluster(), "fleet-default"),
        (cluster(fleet_workspace_name="mine"), "mine"),
        (cluster("local", internal=True), "fleet-local"),
        (managed("true"), ""),
        (managed("false"), "fleet-default"),
    ],
)
def test_workspaces(subject: Cluster, space: str) -> None:
    assert life.workspace(subject, "fleet-default") == space


def test_connection() -> None:
    new = cluster()
    new.status.conditions = life.initial_conditions(new, NOW)
    lost = life.with_connection(new, connected=False, now=NOW)
    assert lost.connected is False
    assert c.get_condition(lost.conditions, "Ready") is None, "it never was there to be lost"

    new.status.conditions = c.set_condition(new.status.conditions, "Provisioned", "True", now=NOW)
    lost = life.with_connection(new, connected=False, now=NOW)
    ready = c.get_condition(lost.conditions, "Ready")
    assert ready is not None
    assert (ready.status, ready.reason, ready.message) == (
        "False",
        "Disconnected",
        "Cluster agent is not connected",
    )
    new.status.ready_reconciling = True
    assert c.get_condition(life.with_connection(new, connected=False, now=NOW).conditions, "Ready") is None


def test_a_status_is_written_once() -> None:
    new = cluster()
    new.status.conditions = life.initial_conditions(new, NOW)
    patch = status_patch(new, life.with_connection(new, connected=True, now=NOW), NOW)
    assert set(patch) == {"conditions", "connected", "state"}
    new.status = life.with_connection(new, connected=True, now=NOW)
    new.status.state = "pending"
    assert status_patch(new, life.with_connection(new, connected=True, now=NOW), NOW) == {}


def test_the_older_cluster_keeps_its_name() -> None:
    old = cluster("c-aaaaa", uid="u1", age=60, display_name="PROD")
    young = cluster("c-bbbbb", uid="u2", display_name="prod")
    assert life.name_conflict(young, [old, young]) is old
    assert life.name_conflict(old, [old, young]) is None
    old.metadata.deletion_timestamp = NOW
    assert life.name_conflict(young, [old, young]) is None


@pytest.mark.parametrize(
    ("namespace", "owned"),
    [
        ({"metadata": {"ownerReferences": [{"uid": "u1"}]}}, True),
        ({"metadata": {"annotations": {life.SYSTEM_NAMESPACE: "true"}}}, True),
        ({"metadata": {}}, False),
        ({"metadata": {"annotations": None, "ownerReferences": None}}, False),
        (
            {
                "metadata": {
                    "annotations": {life.SYSTEM_NAMESPACE: "true"},
                    "ownerReferences": [{"uid": "other"}],
                }
            },
            False,
        ),
    ],
)
def test_whose_namespace_it_is(namespace: dict[str, Any], owned: bool) -> None:
    assert life.owns_namespace(cluster(), namespace) is owned


def twin(**annotations: str) -> Twin:
    return Twin(
        metadata=ObjectMeta(
            name="prod",
            namespace="team-a",
            uid="twin-uid",
            generation=3,
            labels={"tier": "1", "provider.cattle.io": "x"},
            annotations={
                "note": "n",
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
                **annotations,
            },
        ),
        spec=TwinSpec(enable_network_policy=True),
    )


def test_from_a_management_cluster_to_its_twin() -> None:
    made = cluster(fleet_workspace_name="fleet-default", enable_network_policy=True)
    made.metadata.labels = {"tier": "1", "provider.cattle.io": "k3s"}
    made.metadata.annotations = {"note": "n", "field.cattle.io/creatorId": "u"}
    assert pairing.twin_of(made) == {
        "metadata": {
            "name": "c-abcde",
            "namespace": "fleet-default",
            "labels": {"tier": "1"},
            "annotations": {"note": "n", "provisioning.cattle.io/management-cluster-display-name": "one"},
        },
        "spec": {"enableNetworkPolicy": True},
    }


def test_from_a_twin_to_its_management_cluster() -> None:
    source = twin(**{"field.cattle.io/creatorId": "user-1", "field.cattle.io/description": "d"})
    made = pairing.management_of(source)
    assert made["metadata"]["name"] == pairing.management_id("twin-uid")
    assert made["metadata"]["labels"] == {"tier": "1"}
    assert made["metadata"]["annotations"] == {
        "note": "n",
        "field.cattle.io/creatorId": "user-1",
        "provisioning.cattle.io/administrated": "false",
    }
    assert made["spec"] == {
        "displayName": "prod",
        "description": "d",
        "fleetWorkspaceName": "team-a",
        "importedConfig": {},
        "enableNetworkPolicy": True,
    }
    source.spec.rke_config = {}
    assert pairing.management_of(source)["metadata"]["annotations"][pairing.ADMINISTRATED] == "true"


def test_which_management_cluster_a_twin_has() -> None:
    assert pairing.management_name(twin()) == pairing.management_id("twin-uid")
    assert pairing.management_name(twin(**{pairing.MANAGEMENT_NAME: "c-old"})) == "c-old"
    paired = twin()
    paired.status = TwinStatus(cluster_name="c-m-12345678")
    assert pairing.management_name(paired) == "c-m-12345678"


def test_a_twin_once_ready_stays_ready() -> None:
    half = cluster()
    half.status.conditions = c.set_condition([], "Connected", "True", now=NOW)
    subject = twin()
    status = pairing.twin_status(subject, half)
    assert (status["ready"], status["clusterName"], status["observedGeneration"]) == (True, "c-abcde", 3)
    subject.status = TwinStatus(ready=True)
    half.status.conditions = c.set_condition([], "Connected", "False", now=NOW)
    assert pairing.twin_status(subject, half)["ready"] is True
