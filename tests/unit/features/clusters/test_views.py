"""Clusters, registrations and nodes as /v3 shows them; bodies as /v3 sends them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from outrider.apis.management.cluster import CLUSTERS
from outrider.apis.management.registration_token import (
    ClusterRegistrationToken,
    ClusterRegistrationTokenSpec,
    ClusterRegistrationTokenStatus,
)
from outrider.apis.views.form import Form
from outrider.apis.views.rights import Methods
from outrider.apis.views.show import show
from outrider.apis.views.take import draft
from outrider.features.clusters.view import COMMAND_FIELDS, with_token
from outrider.features.clusters.views import ClusterViews, node_view
from outrider.kube.meta import ObjectKey, ObjectMeta
from tests.support.clock import FakeClock
from tests.support.views import BASE, a_call

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Copies:
    """Local copies that hold `count` nodes in every cluster."""

    def __init__(self, count: int = 0) -> None:
        self.count = count

    def get(self, key: ObjectKey) -> Any:
        return None

    def list(self, namespace: str | None = None) -> Any:
        return range(self.count)

    def index(self, name: str, value: str) -> Any:
        return []


@pytest.fixture
def forms() -> dict[str, Form]:
    async def mint(*_: Any) -> str:
        return "token"

    copies: Any = Copies(3)
    settings: Any = None
    reach: Any = None
    views = ClusterViews(
        clusters=copies, nodes=copies, settings=settings, mint_token=mint, reach=reach, clock=FakeClock()
    )
    return {view.type: Form(view) for view in views.views()}


@pytest.fixture
def shown(forms: dict[str, Form]) -> Callable[..., dict[str, Any]]:
    def run(kind: str, obj: dict[str, Any], **call: Any) -> dict[str, Any]:
        form, asking = forms[kind], a_call(**call)
        methods = Methods(form.view, asking)
        return show(form, obj, asking, methods=methods, linked=lambda *_: False, now=NOW)

    return run


def cluster(name: str = "c-abcde", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": CLUSTERS.api_version,
        "kind": "Cluster",
        "metadata": {
            "name": name,
            "uid": "u",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": {"field.cattle.io/creatorId": "x"},
        },
        "spec": {"displayName": "prod", "description": "d", "unknownYet": [1], **spec},
        "status": {
            "driver": "imported",
            "conditions": [{"type": "Pending", "status": "Unknown", "message": "soon"}],
            "capacity": {"cpu": "6"},
            "serviceAccountTokenSecret": "hidden",
            "state": "pending",
        },
    }


def test_a_cluster_is_flat(shown: Callable[..., dict[str, Any]]) -> None:
    view = shown("cluster", cluster())
    assert (view["id"], view["type"], view["baseType"], view["name"]) == (
        "c-abcde",
        "cluster",
        "cluster",
        "prod",
    )
    assert (view["state"], view["transitioning"], view["transitioningMessage"]) == ("pending", "yes", "soon")
    assert (view["driver"], view["capacity"], view["nodeCount"]) == ("imported", {"cpu": "6"}, 3)
    assert (view["created"], view["createdTS"]) == ("2026-01-01T00:00:00Z", 1767225600000)
    assert (view["creatorId"], view["connected"], view["unknownYet"]) == ("x", False, [1])
    assert view["links"] == dict.fromkeys(("self", "update", "remove"), f"{BASE}/v3/clusters/c-abcde")
    assert view["actions"] == {
        name: f"{BASE}/v3/clusters/c-abcde?action={name}" for name in ("generateKubeconfig", "importYaml")
    }
    assert "serviceAccountTokenSecret" not in view
    assert "displayName" not in view
    assert "remove" not in shown("cluster", cluster("local"))["links"]


def test_a_kubeconfig_that_was_sent_is_not_shown(shown: Callable[..., dict[str, Any]]) -> None:
    held = cluster(importedConfig={"kubeConfig": "secret", "privateRegistryURL": "r"})
    assert shown("cluster", held)["importedConfig"] == {"privateRegistryURL": "r"}


def test_without_rights_there_is_nothing_to_do(shown: Callable[..., dict[str, Any]]) -> None:
    view = shown("cluster", cluster(), rules=())
    assert (set(view["links"]), view["actions"]) == ({"self"}, {})


def test_a_body_becomes_a_cluster(forms: dict[str, Form]) -> None:
    body = {
        "type": "cluster",
        "name": "prod",
        "description": "d",
        "driver": "imported",
        "internal": True,
        "labels": {"a": "b"},
        "annotations": {"field.cattle.io/creatorId": "somebody-else"},
        "status": {"driver": "x"},
        "unknownYet": 1,
        "dockerRootDir": None,
    }
    made = draft(forms["cluster"], body, creator="user-1")
    assert made["metadata"] == {
        "generateName": "c-",
        "annotations": {"field.cattle.io/creatorId": "user-1"},
        "labels": {"a": "b"},
    }
    assert made["spec"] == {"displayName": "prod", "description": "d", "enableNetworkPolicy": False}


@pytest.mark.parametrize(
    ("body", "metadata", "spec"),
    [
        ({}, {"generateName": "crt-"}, {}),
        ({"name": "mine", "ttl": 60, "gracePeriod": 10}, {"name": "mine"}, {"ttl": 60, "gracePeriod": 10}),
        ({"name": "", "ttl": None}, {"generateName": "crt-"}, {}),
    ],
)
def test_a_body_becomes_a_registration(forms: dict[str, Form], body: Any, metadata: Any, spec: Any) -> None:
    form = forms["clusterRegistrationToken"]
    made = draft(form, {"clusterId": "c-1", **body}, namespace="c-1")
    assert made == {"metadata": {**metadata, "namespace": "c-1"}, "spec": {"clusterName": "c-1", **spec}}


def test_a_registration_shows_its_token_or_no_command() -> None:
    stored = ClusterRegistrationToken(
        metadata=ObjectMeta(name="default-token", namespace="c-1"),
        spec=ClusterRegistrationTokenSpec(cluster_name="c-1", ttl=60),
        status=ClusterRegistrationTokenStatus(**dict.fromkeys(COMMAND_FIELDS, "run {token} now")),
    )
    assert with_token(stored, "s3cret").status.command == "run s3cret now"
    blank = with_token(stored, "")
    assert {getattr(blank.status, name) for name in COMMAND_FIELDS} == {""}
    assert stored.status.command == "run {token} now"


def test_a_node_is_what_its_cluster_says(shown: Callable[..., dict[str, Any]]) -> None:
    view = shown(
        "node",
        {
            "metadata": {"name": "machine-1", "namespace": "c-1", "labels": {"ours": "x"}},
            "spec": {"requestedHostname": "node-1", "worker": True, "internalNodeSpec": {"podCIDR": "10/8"}},
            "status": {
                "nodeName": "node-1",
                "nodeLabels": {"theirs": "y"},
                "conditions": [{"type": "Ready", "status": "True"}],
                "internalNodeStatus": {
                    "addresses": [
                        {"type": "InternalIP", "address": "10.0.0.1"},
                        {"type": "ExternalIP", "address": "198.51.100.1"},
                    ],
                    "conditions": [
                        {"type": "Ready", "status": "True"},
                        {"type": "DiskPressure", "status": "False"},
                    ],
                    "images": [{"names": ["many"]}],
                },
            },
        },
    )
    assert (view["id"], view["clusterId"], view["name"]) == ("c-1:machine-1", "c-1", "node-1")
    assert (view["hostname"], view["nodeName"]) == ("node-1", "node-1")
    assert (view["ipAddress"], view["externalIpAddress"]) == ("10.0.0.1", "198.51.100.1")
    assert view["labels"] == {"theirs": "y"}
    assert [one["type"] for one in view["conditions"]] == ["Ready", "DiskPressure"]
    assert (view["podCIDR"], "images" in view, view["state"]) == ("10/8", False, "active")
    assert (view["worker"], view["etcd"]) == (True, False)
    assert node_view().methods == {"GET", "DELETE"}
