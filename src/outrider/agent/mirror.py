"""Nodes and namespaces as reports: pure functions from Kubernetes' objects to what travels upwards."""

from __future__ import annotations

from typing import Any

import msgspec

from outrider.kube.kind import Kind
from outrider.tunnel.reports import NamespaceReport, NodeReport

PROJECT = "field.cattle.io/projectId"


class _Meta(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Node(msgspec.Struct):
    """A node as it is reported."""

    metadata: _Meta
    spec: dict[str, Any] = {}
    status: dict[str, Any] = {}


class _ProjectMeta(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    annotations: dict[str, str] = {}


class _Phase(msgspec.Struct):
    phase: str = "Active"


class Namespace(msgspec.Struct):
    """A namespace as it is reported."""

    metadata: _ProjectMeta
    status: _Phase = msgspec.field(default_factory=_Phase)


NODES = Kind(group="", version="v1", plural="nodes", kind="Node", namespaced=False, type=Node)
NAMESPACES = Kind(
    group="", version="v1", plural="namespaces", kind="Namespace", namespaced=False, type=Namespace
)

_HINTS = {"minikube.k8s.io/name": "minikube", "harvesterhci.io/managed": "harvester"}


def node_report(node: Node) -> NodeReport:
    """The node without what changes with every heartbeat."""
    return NodeReport(
        name=node.metadata.name,
        uid=node.metadata.uid,
        labels=node.metadata.labels,
        annotations=node.metadata.annotations,
        spec=node.spec,
        status={**node.status, "conditions": [_quiet(c) for c in node.status.get("conditions") or []]},
    )


def _quiet(condition: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in condition.items() if key != "lastHeartbeatTime"}


def node_hints(node: Node) -> list[str]:
    """Product markers of one node (clusters-and-agents §1.3)."""
    found = [hint for label, hint in _HINTS.items() if label in node.metadata.labels]
    system = (node.status.get("nodeInfo") or {}).get("osImage", "")
    return [*found, "docker"] if system == "Docker Desktop" else found


def namespace_report(namespace: Namespace) -> NamespaceReport:
    """The namespace with its project."""
    meta = namespace.metadata
    return NamespaceReport(
        name=meta.name, project=meta.annotations.get(PROJECT, ""), phase=namespace.status.phase
    )
