"""Network policies that keep the projects of a cluster apart (spec: fleet §6.3). Pure.

Namespaces of the project System get none: without one everything is allowed there, and one that allows everything
would only undo those that somebody made for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from outrider.apis.management.project import Project
from outrider.apis.management.project_network_policy import PROJECT_NETWORK_POLICIES
from outrider.features.rbac.collection import Collection
from outrider.features.rbac.names import PROJECT_ID, safe_concat
from outrider.features.rbac.standard import is_system
from outrider.features.rbac.world import World

_API: Final = "networking.k8s.io/v1"
_CREATOR: Final = {"cattle.io/creator": "norman"}


def collect_isolation(projects: Sequence[Project], addresses: Iterable[str], found: Collection) -> None:
    """A cluster's policies, as templates; `addresses` are networks that the nodes' own traffic comes from."""
    system = [one.metadata.name for one in projects if is_system(one)]
    nodes = [{"ipBlock": {"cidr": address}} for address in addresses]
    for project in projects:
        if is_system(project):
            continue
        name = project.metadata.name
        identity = f"{project.spec.cluster_name}:{name}"
        friends = [_namespaces_of(one) for one in dict.fromkeys((name, *sorted(system)))]
        found.add(_policy("np-default", name, friends), project=identity)
        if nodes:
            found.add(_policy("hn-nodes", name, nodes), project=identity)


def collect_isolated(world: World, found: Collection) -> None:
    """Says in the management cluster of each project that is kept apart that it is."""
    kind = PROJECT_NETWORK_POLICIES
    for identity, project in world.projects.items():
        backing = project.status.backing_namespace
        if project.spec.cluster_name in world.around.isolated and backing in world.namespaces:
            metadata = {"name": safe_concat("pnp", project.metadata.name), "namespace": backing}
            obj = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
            found.add(obj | {"spec": {"projectName": identity}})


def _namespaces_of(project: str) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": {PROJECT_ID: project}}}


def _policy(name: str, project: str, sources: list[dict[str, Any]]) -> dict[str, Any]:
    """A policy for all pods of a namespace: they can be reached from these sources."""
    return {
        "apiVersion": _API,
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "labels": {PROJECT_ID: project, **_CREATOR}},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": sources}]},
    }
