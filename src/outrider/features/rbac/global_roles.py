"""Global roles and their bindings as RBAC objects, here and in every cluster (spec: auth §3.1, §3.2). Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from outrider.apis.management.cluster_role_template_binding import CLUSTER_ROLE_TEMPLATE_BINDINGS
from outrider.apis.management.global_role import GlobalRole
from outrider.apis.management.global_role_binding import GLOBAL_ROLE_BINDINGS, GlobalRoleBinding
from outrider.apis.management.group import LOCAL_CLUSTER
from outrider.apis.management.policy_rule import PolicyRule
from outrider.apis.management.role_template import CLUSTER
from outrider.features.rbac.collection import Collection
from outrider.features.rbac.manifests import cluster_role, cluster_role_binding, role, role_binding
from outrider.features.rbac.names import GR_OWNER, GRB_OWNER, RoleRef, Subject, admin_name, h10, safe_concat
from outrider.features.rbac.workspaces import collect_workspace_bindings, collect_workspace_roles
from outrider.features.rbac.world import Refusal, World

_CLUSTER_ADMIN: Final = RoleRef("ClusterRole", "cluster-admin")
_PRINCIPAL_NAME: Final = "auth.cattle.io/principal-display-name"
_OF_ADMINS: Final = {"cattle.io/creator": "norman"}

Bound = tuple[GlobalRoleBinding, GlobalRole, Subject]
Rules = Mapping[str, tuple[PolicyRule, ...]] | None


def bound(world: World) -> Iterator[Bound]:
    """The bindings that count, with what they give to whom."""
    for binding in world.global_bindings:
        found = world.global_roles.get(binding.global_role_name)
        if found is None:
            continue
        try:
            yield binding, found, world.subject(binding)
        except Refusal:
            continue


def is_admin(found: GlobalRole) -> bool:
    """Whether a role makes its holders administrators of every cluster."""
    rules = found.rules or ()
    return found.metadata.name == "admin" or (
        any(map(_is_everything, rules)) and any(map(_is_every_path, rules))
    )


def collect_in_cluster(world: World, cluster: str, found: Collection) -> None:
    """What global roles bring into one cluster."""
    remote = cluster != LOCAL_CLUSTER
    for given in world.global_roles.values() if remote else ():
        _roles_within(given, given.inherited_namespaced_rules, found)
    for binding, given, subject in bound(world):
        if is_admin(given):
            found.add(cluster_role_binding(admin_name(subject), _OF_ADMINS, _CLUSTER_ADMIN, subject))
        if remote:
            _bind_within(binding, given, subject, given.inherited_namespaced_rules, found)


def collect_here(world: World, found: Collection) -> None:
    """What global roles bring into the management cluster beside what they bring into every cluster."""
    for given in world.global_roles.values():
        name = role_name(given)
        labels = {"authz.management.cattle.io/globalrole": "true", GR_OWNER: safe_concat(given.metadata.name)}
        found.add(cluster_role(name, labels, given.rules or ()))
        _roles_within(given, given.namespaced_rules, found)
        collect_workspace_roles(given, world.around.workspaces, found)
    for binding, given, subject in bound(world):
        grb = binding.metadata.name
        labels = {"authz.management.cattle.io/globalrolebinding": "true", GRB_OWNER: safe_concat(grb)}
        name = safe_concat("cattle-globalrolebinding", grb)
        found.add(cluster_role_binding(name, labels, RoleRef("ClusterRole", role_name(given)), subject))
        _bind_within(binding, given, subject, given.namespaced_rules, found)
        collect_workspace_bindings(binding, given, subject, world.around.workspaces, found)
        for obj in inherited(world, binding, given):
            found.add(obj)


def role_name(given: GlobalRole) -> str:
    """Name of a global role's ClusterRole."""
    return safe_concat("cattle-globalrole", given.metadata.name)


def inherited(world: World, binding: GlobalRoleBinding, given: GlobalRole) -> Iterator[dict[str, Any]]:
    """The ClusterRoleTemplateBindings that a global role binding brings, one a role and cluster."""
    for name in dict.fromkeys(given.inherited_cluster_roles or ()):
        template = world.templates.get(name)
        if template is None or template.context != CLUSTER:
            continue
        for cluster in sorted(world.clusters - {LOCAL_CLUSTER}):
            if cluster in world.namespaces:
                yield _cluster_binding(binding, name, cluster)


def _cluster_binding(binding: GlobalRoleBinding, template: str, cluster: str) -> dict[str, Any]:
    grb = binding.metadata
    display = grb.annotations.get(_PRINCIPAL_NAME)
    subject = {
        "userName": binding.user_name,
        "userPrincipalName": binding.user_principal_name,
        "groupPrincipalName": binding.group_principal_name,
    }
    return {
        "apiVersion": CLUSTER_ROLE_TEMPLATE_BINDINGS.api_version,
        "kind": CLUSTER_ROLE_TEMPLATE_BINDINGS.kind,
        "metadata": {
            "name": f"crtb-grb-{h10('/'.join((grb.uid, template, cluster)))}",
            "namespace": cluster,
            "labels": {GRB_OWNER: safe_concat(grb.name), "app.kubernetes.io/managed-by": "rancher"},
            **({"annotations": {_PRINCIPAL_NAME: display}} if display else {}),
            "ownerReferences": [
                {
                    "apiVersion": GLOBAL_ROLE_BINDINGS.api_version,
                    "kind": GLOBAL_ROLE_BINDINGS.kind,
                    "name": grb.name,
                    "uid": grb.uid,
                }
            ],
        },
        "clusterName": cluster,
        "roleTemplateName": template,
        **{field: value for field, value in subject.items() if value},
    }


def _roles_within(given: GlobalRole, rules: Rules, found: Collection) -> None:
    """A Role in each namespace, once that is there."""
    labels = {GR_OWNER: safe_concat(given.metadata.name)}
    for namespace, allowed in (rules or {}).items():
        name = safe_concat(given.metadata.name, namespace)
        found.add(role(name, namespace, labels, allowed), within=namespace)


def _bind_within(
    binding: GlobalRoleBinding, given: GlobalRole, subject: Subject, rules: Rules, found: Collection
) -> None:
    labels = {GRB_OWNER: safe_concat(binding.metadata.name)}
    for namespace in rules or ():
        ref = RoleRef("Role", safe_concat(given.metadata.name, namespace))
        title = safe_concat(binding.metadata.name, namespace)
        found.add(role_binding(title, namespace, labels, ref, subject), within=namespace)


def _is_everything(rule: PolicyRule) -> bool:
    named = rule.resource_names
    return (
        not named
        and "*" in (rule.verbs or ())
        and "*" in (rule.api_groups or ())
        and "*" in (rule.resources or ())
    )


def _is_every_path(rule: PolicyRule) -> bool:
    return "*" in (rule.verbs or ()) and "*" in (rule.non_resource_urls or ())
