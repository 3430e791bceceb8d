"""What one cluster is to hold so that the bindings that speak of it are in effect (spec: auth §3.7, §3.11). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from outrider.apis.management.group import GROUP
from outrider.apis.management.policy_rule import PolicyRule
from outrider.apis.management.project import Project
from outrider.delivery.entries import Entry
from outrider.features.rbac.collection import Collection
from outrider.features.rbac.global_roles import collect_in_cluster
from outrider.features.rbac.guards import guards
from outrider.features.rbac.isolation import collect_isolation
from outrider.features.rbac.manifests import cluster_role, cluster_role_binding, role_binding
from outrider.features.rbac.names import RoleRef, Subject, binding_name, owner_label, safe_concat
from outrider.features.rbac.quotas import collect_namespaces
from outrider.features.rbac.standard import collect_leaving, collect_members
from outrider.features.rbac.templates import Family, cluster_wide, in_cluster
from outrider.features.rbac.tree import Templates
from outrider.features.rbac.world import Grant, World

_NAMESPACES: Final = ("namespaces",)


def cluster_entries(world: World, cluster: str) -> list[Entry]:
    """All of it: ClusterRoles, bindings, and templates for the namespaces of projects."""
    found = Collection()
    collect_cluster(world, cluster, found)
    return found.entries()


def collect_cluster(world: World, cluster: str, found: Collection) -> None:
    """Adds all of it."""
    grants, around = world.grants.get(cluster, []), world.around
    inside, wide = in_cluster(world.templates), cluster_wide(world.templates)
    inside.collect(dict.fromkeys(grant.template for grant in grants), found)
    wide.collect(dict.fromkeys(grant.template for grant in grants if grant.project), found)
    for grant in grants:
        if grant.project:
            _in_project(grant, inside, wide, found)
        else:
            _in_cluster(grant, inside, found)
    projects = world.projects_of.get(cluster, [])
    for project in projects:
        collect_namespaces(project, found)
        collect_members(project, around.system_namespaces, found)
        here = [grant for grant in grants if grant.project == project.metadata.name]
        _namespaces_of(project, here, world.templates, found)
    collect_leaving(cluster, around.leaving, found)
    if cluster in around.isolated:
        collect_isolation(projects, around.addresses.get(cluster, ()), found)
    collect_in_cluster(world, cluster, found)
    for guard in guards():
        found.add(guard)


def _in_cluster(grant: Grant, roles: Family, found: Collection) -> None:
    if name := roles.role_of(grant.template):
        _bind_everywhere(grant, name, found)


def _in_project(grant: Grant, roles: Family, wide: Family, found: Collection) -> None:
    if name := roles.role_of(grant.template):
        ref = RoleRef("ClusterRole", name)
        labels = {owner_label(grant.kind, grant.name): "true"}
        # One name for all namespaces of the project, since one template makes them all
        title = binding_name("rb", grant.project, ref, grant.subject)
        found.add(role_binding(title, "", labels, ref, grant.subject), project=grant.project_id)
    if name := wide.role_of(grant.template):
        _bind_everywhere(grant, name, found)


def _bind_everywhere(grant: Grant, role: str, found: Collection) -> None:
    ref = RoleRef("ClusterRole", role)
    labels = {owner_label(grant.kind, grant.name): "true"}
    found.add(cluster_role_binding(binding_name("crb", "", ref, grant.subject), labels, ref, grant.subject))


def _namespaces_of(
    project: Project, grants: Iterable[Grant], templates: Templates, found: Collection
) -> None:
    """Who may see, make and change the namespaces themselves.

    One binding a project with all its members in it: what it gives does not depend on the role's details.
    """
    creators, viewers, guards = _members(grants, templates)
    if creators:
        edit = PolicyRule(api_groups=("",), resources=_NAMESPACES, verbs=("*",))
        _bind_in(project, "namespaces-edit", (edit,), creators, found)
        create = PolicyRule(api_groups=("",), resources=_NAMESPACES, verbs=("create",))
        _bind_once(project, "namespaces-manage", (create, _on(project, "manage-namespaces")), creators, found)
    if viewers:
        view = PolicyRule(api_groups=("",), resources=_NAMESPACES, verbs=("get",))
        _bind_in(project, "namespaces-readonly", (view,), viewers, found)
    if guards:
        _bind_once(project, "namespaces-psa", (_on(project, "updatepsa"),), guards, found)


def _members(
    grants: Iterable[Grant], templates: Templates
) -> tuple[list[Subject], list[Subject], list[Subject]]:
    """Who may make namespaces in the project, who sees them only by being a member, who sets pod security."""
    creators: set[Subject] = set()
    viewers: set[Subject] = set()
    guards: set[Subject] = set()
    for grant in grants:
        rules = templates.rules(grant.template)
        if rules.allows("create", "", "namespaces"):
            creators.add(grant.subject)
            if rules.allows("updatepsa", GROUP, "projects", grant.project):
                guards.add(grant.subject)
        elif not rules.allows("get", "", "namespaces"):
            viewers.add(grant.subject)
    return sorted(creators), sorted(viewers - creators), sorted(guards)


def _on(project: Project, verb: str) -> PolicyRule:
    names = (project.metadata.name,)
    return PolicyRule(api_groups=(GROUP,), resources=("projects",), resource_names=names, verbs=(verb,))


def _bind_in(
    project: Project, suffix: str, rules: tuple[PolicyRule, ...], subjects: list[Subject], found: Collection
) -> None:
    """Roles on namespaces need no names: a RoleBinding covers the namespace that it is in."""
    name = safe_concat(project.metadata.name, suffix)
    found.add(cluster_role(name, {}, rules))
    binding = role_binding(name, "", {}, RoleRef("ClusterRole", name), *subjects)
    found.add(binding, project=f"{project.spec.cluster_name}:{project.metadata.name}")


def _bind_once(
    project: Project, suffix: str, rules: tuple[PolicyRule, ...], subjects: list[Subject], found: Collection
) -> None:
    name = safe_concat(project.metadata.name, suffix)
    found.add(cluster_role(name, {}, rules))
    found.add(cluster_role_binding(name, {}, RoleRef("ClusterRole", name), *subjects))
