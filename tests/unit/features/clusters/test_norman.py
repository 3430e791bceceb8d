"""Clusters and registrations as /v3 shows them; bodies as /v3 sends them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from outrider.apis.management.cluster import Cluster
from outrider.apis.management.cluster_spec import ClusterSpec
from outrider.apis.management.cluster_status import ClusterStatus
from outrider.apis.management.registration_token import (
    ClusterRegistrationToken,
    ClusterRegistrationTokenSpec,
    ClusterRegistrationTokenStatus,
)
from outrider.features.clusters.norman import cluster_view, collection, matches, registration_view
from outrider.features.clusters.routes_clusters import new_cluster, new_registration
from outrider.features.clusters.routes_import import AddressBuckets
from outrider.features.clusters.view import COMMAND_FIELDS, with_token
from outrider.kube.meta import Condition, ObjectMeta
from tests.support.clock import FakeClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BASE = "https://rancher.example.com"


def cluster(name: str = "c-abcde") -> Cluster:
    return Cluster(
        metadata=ObjectMeta(
            name=name, uid="u", creation_timestamp=NOW, annotations={"field.cattle.io/creatorId": "x"}
        ),
        spec=ClusterSpec(display_name="prod", description="d"),
        status=ClusterStatus(
            driver="imported",
            conditions=[Condition(type="Pending", status="Unknown", message="soon")],
            capacity={"cpu": "6"},
        ),
    )


def test_a_cluster_is_flat() -> None:
    view = cluster_view(cluster(), base=BASE, node_count=3, now=NOW)
    assert (view["id"], view["type"], view["baseType"], view["name"]) == (
        "c-abcde",
        "cluster",
        "cluster",
        "prod",
    )
    assert (view["state"], view["transitioning"], view["transitioningMessage"]) == ("pending", "yes", "soon")
    assert (view["driver"], view["capacity"], view["nodeCount"]) == ("imported", {"cpu": "6"}, 3)
    assert (view["created"], view["createdTS"]) == ("2026-01-01T00:00:00Z", 1767225600000)
    assert view["creatorId"] == "x"
    assert view["connected"] is False
    assert view["links"]["self"] == view["links"]["remove"] == f"{BASE}/v3/clusters/c-abcde"
    assert view["actions"] == {"generateKubeconfig": f"{BASE}/v3/clusters/c-abcde?action=generateKubeconfig"}
    assert "serviceAccountTokenSecret" not in view
    assert "remove" not in cluster_view(cluster("local"), base=BASE, node_count=0, now=NOW)["links"]


def test_a_registration_shows_its_token_or_no_command() -> None:
    stored = ClusterRegistrationToken(
        metadata=ObjectMeta(name="default-token", namespace="c-1"),
        spec=ClusterRegistrationTokenSpec(cluster_name="c-1", ttl=60),
        status=ClusterRegistrationTokenStatus(**dict.fromkeys(COMMAND_FIELDS, "run {token} now")),
    )
    shown = registration_view(with_token(stored, "s3cret"), base=BASE, now=NOW)
    assert (shown["id"], shown["clusterId"], shown["ttl"]) == ("c-1:default-token", "c-1", 60)
    assert shown["token"] == "s3cret"
    assert shown["command"] == shown["manifestUrl"] == shown["insecureWindowsNodeCommand"] == "run s3cret now"
    assert shown["state"] == "active"
    blank = registration_view(with_token(stored, ""), base=BASE, now=NOW)
    assert {blank[name] for name in ("token", "command", "nodeCommand", "manifestUrl")} == {""}
    assert stored.status.command == "run {token} now"


VIEW = {"id": "c-1", "name": "prod", "internal": False, "state": "active", "driver": None}


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ([], True),
        ([("name", "prod")], True),
        ([("name", "other")], False),
        ([("name", "prod"), ("name", "other")], False),
        ([("state_ne", "removing"), ("state_ne", "inactive")], True),
        ([("state_ne", "active")], False),
        ([("internal", "false")], True),
        ([("driver", "")], True),
        (
            [
                ("unknown", "x"),
                ("unknown_ne", "x"),
                ("removed_null", "1"),
                ("limit", "-1"),
                ("system", "false"),
            ],
            True,
        ),
    ],
)
def test_filters(query: list[tuple[str, str]], kept: bool) -> None:
    assert matches(VIEW, query) is kept


def test_collections() -> None:
    found = collection("cluster", "clusters", [{"id": "a"}], base=BASE)
    assert (found["type"], found["resourceType"], found["data"]) == ("collection", "cluster", [{"id": "a"}])
    assert found["createTypes"] == {"cluster": f"{BASE}/v3/clusters"}
    assert found["pagination"]["total"] == 1


def test_a_body_becomes_a_cluster() -> None:
    body = {
        "type": "cluster",
        "name": "prod",
        "description": "d",
        "driver": "imported",
        "enableNetworkPolicy": False,
        "internal": True,
        "labels": {"a": "b"},
        "annotations": {"field.cattle.io/creatorId": "somebody-else"},
        "status": {"driver": "x"},
        "dockerRootDir": None,
    }
    made = new_cluster(body, creator="user-1")
    assert made["metadata"] == {
        "generateName": "c-",
        "annotations": {"field.cattle.io/creatorId": "user-1"},
        "labels": {"a": "b"},
    }
    assert made["spec"] == {
        "displayName": "prod",
        "description": "d",
        "enableNetworkPolicy": False,
        "importedConfig": {},
    }
    hosted = new_cluster({"name": "x", "eksConfig": {"region": "r"}}, creator="")
    assert hosted["spec"] == {"displayName": "x", "eksConfig": {"region": "r"}}


@pytest.mark.parametrize(
    ("body", "metadata", "spec"),
    [
        ({}, {"generateName": "crt-"}, {}),
        ({"name": "mine", "ttl": 60, "gracePeriod": 10}, {"name": "mine"}, {"ttl": 60, "gracePeriod": 10}),
        ({"name": "", "ttl": None}, {"generateName": "crt-"}, {}),
    ],
)
def test_a_body_becomes_a_registration(body: Any, metadata: Any, spec: Any) -> None:
    made = new_registration("c-1", body)
    assert made == {"metadata": {**metadata, "namespace": "c-1"}, "spec": {"clusterName": "c-1", **spec}}


async def test_buckets_fill_again_and_stay_few() -> None:
    clock = FakeClock()
    buckets = AddressBuckets(clock, rate=1.0, burst=2, size=2)
    assert [buckets.allow("a") for _ in range(3)] == [True, True, False]
    assert buckets.allow("b")
    await clock.advance(1)
    assert [buckets.allow("a"), buckets.allow("a")] == [True, False]
    buckets.allow("c")
    buckets.allow("d")
    assert [buckets.allow("a"), buckets.allow("a")] == [True, True], "forgotten, it starts anew"
