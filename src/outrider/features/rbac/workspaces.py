"""What global roles allow in Fleet workspaces, in all but the local cluster's own (spec: auth §3.1). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from outrider.apis.management.global_role import GlobalRole
from outrider.apis.management.global_role_binding import GlobalRoleBinding
from outrider.apis.management.group import GROUP
from outrider.apis.management.policy_rule import PolicyRule
from outrider.features.rbac.collection import Collection
from outrider.features.rbac.manifests import cluster_role, cluster_role_binding, role_binding
from outrider.features.rbac.names import GR_OWNER, GRB_OWNER, RoleRef, Subject, safe_concat

_MANAGED: Final = {"app.kubernetes.io/managed-by": "rancher"}
_WORKSPACE: Final = {"authz.management.cattle.io/fleet-workspace-permissions": "true"}


def collect_workspace_roles(given: GlobalRole, workspaces: Sequence[str], found: Collection) -> None:
    """The ClusterRoles of a global role: for what is in workspaces, and for the workspaces themselves."""
    asked = given.inherited_fleet_workspace_permissions
    if asked is None:
        return
    owner = {GR_OWNER: safe_concat(given.metadata.name)}
    if asked.resource_rules:
        found.add(cluster_role(_inside(given), owner, asked.resource_rules))
    if asked.workspace_verbs and workspaces:
        rule = PolicyRule(
            api_groups=(GROUP,),
            resources=("fleetworkspaces",),
            resource_names=tuple(workspaces),
            verbs=asked.workspace_verbs,
        )
        found.add(cluster_role(_themselves(given), {**owner, **_MANAGED}, (rule,)))


def collect_workspace_bindings(
    binding: GlobalRoleBinding,
    given: GlobalRole,
    subject: Subject,
    workspaces: Sequence[str],
    found: Collection,
) -> None:
    """The bindings that give them to somebody."""
    asked = given.inherited_fleet_workspace_permissions
    if asked is None:
        return
    name, labels = binding.metadata.name, {GRB_OWNER: safe_concat(binding.metadata.name), **_WORKSPACE}
    if asked.resource_rules:
        ref = RoleRef("ClusterRole", _inside(given))
        for workspace in workspaces:
            found.add(role_binding(safe_concat(name), workspace, labels, ref, subject), within=workspace)
    if asked.workspace_verbs and workspaces:
        ref = RoleRef("ClusterRole", _themselves(given))
        found.add(cluster_role_binding(safe_concat(name, "fwv"), labels, ref, subject))


def _inside(given: GlobalRole) -> str:
    return safe_concat(given.metadata.name, "fwcr")


def _themselves(given: GlobalRole) -> str:
    return safe_concat(given.metadata.name, "fwv")
