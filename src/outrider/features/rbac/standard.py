"""The two projects that every cluster comes with, and the namespaces that belong into them (spec: auth §3.11). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from outrider.apis.management.project import Project
from outrider.features.rbac.collection import Collection
from outrider.kube import conditions as c

DEFAULT: Final = "authz.management.cattle.io/default-project"
SYSTEM: Final = "authz.management.cattle.io/system-project"
ASSIGNED: Final = {DEFAULT: "DefaultNamespacesAssigned", SYSTEM: "SystemNamespacesAssigned"}
"""The condition of each of them that says that its namespaces were put into it."""

_DEFAULT_NAMESPACES: Final = ("default",)


def is_system(project: Project) -> bool:
    """Whether it is the project of a cluster's own parts."""
    return SYSTEM in project.metadata.labels


def collect_members(project: Project, system_namespaces: Iterable[str], found: Collection) -> None:
    """Have namespaces put into the project that are in none: `default` once, those of the system whenever they come."""
    joining: tuple[str, ...] = ()
    if is_system(project):
        joining = tuple(system_namespaces)
    elif DEFAULT in project.metadata.labels and not is_assigned(project):
        joining = _DEFAULT_NAMESPACES
    if joining:
        found.add(_members(), project=f"{project.spec.cluster_name}:{project.metadata.name}", joining=joining)


def collect_leaving(cluster: str, leaving: Iterable[str], found: Collection) -> None:
    """Have the namespaces of projects that are being deleted leave them, or go with them."""
    for identity in leaving:
        if identity.startswith(f"{cluster}:"):
            found.add(_members(), project=identity, leaving=True)


def is_assigned(project: Project) -> bool:
    """Whether the namespaces that it comes with were put into it."""
    return c.is_true(project.status.conditions, ASSIGNED[DEFAULT])


def _members() -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "members"}}
