"""What the management cluster is to hold so that people reach what they may (spec: auth §3.5, §3.7). Pure."""

from __future__ import annotations

from typing import Any

from outrider.apis.management.group import GROUP, LOCAL_CLUSTER
from outrider.apis.management.policy_rule import PolicyRule
from outrider.apis.management.project import Project
from outrider.apis.management.project_role_template_binding import (
    PROJECT_ROLE_TEMPLATE_BINDINGS,
    ProjectRoleBinding,
)
from outrider.delivery.entries import Entry
from outrider.features.rbac.collection import Collection
from outrider.features.rbac.desired import collect_cluster
from outrider.features.rbac.global_roles import collect_here
from outrider.features.rbac.isolation import collect_isolated
from outrider.features.rbac.manifests import cluster_role, cluster_role_binding, role, role_binding
from outrider.features.rbac.names import (
    RoleRef,
    binding_name,
    h10,
    membership_label,
    owner_label,
    safe_concat,
)
from outrider.features.rbac.templates import Family, of_cluster_here, of_project_here
from outrider.features.rbac.users import collect_users
from outrider.features.rbac.world import Grant, Refusal, World

_TOKEN_READER = "crt-token-reader"  # noqa: S105 - the name of a Role


def management_entries(world: World) -> list[Entry]:
    """All of it, with what the management cluster gets as a cluster among others."""
    found = Collection()
    collect_cluster(world, LOCAL_CLUSTER, found)
    collect_here(world, found)
    collect_users(world.people, found)
    collect_isolated(world, found)
    # A service account of another cluster is nobody here: one of its name here is another one
    grants = [
        grant
        for cluster in sorted(world.grants)
        for grant in world.grants[cluster]
        if grant.subject.kind != "ServiceAccount"
    ]
    of_cluster, of_project = of_cluster_here(world.templates), of_project_here(world.templates)
    of_cluster.collect(dict.fromkeys(one.template for one in grants if not one.project), found)
    of_project.collect(dict.fromkeys(one.template for one in grants), found)
    for grant in grants:
        _member_of_cluster(world, grant, found)
        if grant.project:
            _in_project(world, grant, of_project, found)
        else:
            _in_cluster(world, grant, of_cluster, of_project, found)
    for alias in world.aliases:
        if obj := _canonical(world, alias):
            found.add(obj)
    return found.entries()


def _member_of_cluster(world: World, grant: Grant, found: Collection) -> None:
    """Lets the subject see the cluster; who owns it may do everything with it."""
    owns = not grant.project and world.templates.owns_cluster(grant.template, grant.cluster)
    name = safe_concat(grant.cluster, "clusterowner" if owns else "clustermember")
    rule = PolicyRule(
        api_groups=(GROUP,),
        resources=("clusters",),
        resource_names=(grant.cluster,),
        verbs=("*",) if owns else ("get",),
    )
    member = cluster_role(name, {}, (rule,))
    member["metadata"]["annotations"] = {"cluster.cattle.io/name": grant.cluster}
    found.add(member)
    ref = RoleRef("ClusterRole", name)
    found.add(
        cluster_role_binding(
            binding_name("crb", "", ref, grant.subject), _membership(grant), ref, grant.subject
        )
    )


def _in_cluster(
    world: World, grant: Grant, of_cluster: Family, of_project: Family, found: Collection
) -> None:
    """What the role allows of what is kept here for the cluster and for each of its projects."""
    _bind(world, of_cluster.role_of(grant.template), grant.cluster, grant, found)
    _reads_tokens(world, grant, found)
    for project in world.projects_of.get(grant.cluster, []):
        backing = project.status.backing_namespace
        _bind(world, of_project.role_of(grant.template), backing, grant, found)


def _reads_tokens(world: World, grant: Grant, found: Collection) -> None:
    """Who may read registration tokens may read the Secrets that hold them."""
    secrets, rules = world.around.token_secrets.get(grant.cluster, ()), world.templates.rules(grant.template)
    reads = any(rules.allows(verb, GROUP, "clusterregistrationtokens") for verb in ("get", "create"))
    if not reads or not secrets or grant.cluster not in world.namespaces:
        return
    rule = PolicyRule(api_groups=("",), resources=("secrets",), resource_names=secrets, verbs=("get",))
    found.add(role(_TOKEN_READER, grant.cluster, {}, (rule,)))
    ref, labels = RoleRef("Role", _TOKEN_READER), {owner_label(grant.kind, grant.name): "true"}
    title = binding_name("rb", grant.cluster, ref, grant.subject)
    found.add(role_binding(title, grant.cluster, labels, ref, grant.subject))


def _in_project(world: World, grant: Grant, of_project: Family, found: Collection) -> None:
    project = world.projects[grant.project_id]
    _member_of_project(world, grant, project, found)
    backing = project.status.backing_namespace
    _bind(world, of_project.role_of(grant.template), backing, grant, found)


def _member_of_project(world: World, grant: Grant, project: Project, found: Collection) -> None:
    """Lets the subject see the project; who owns it may do everything with it."""
    if grant.cluster not in world.namespaces:
        return
    owns = world.templates.owns_project(grant.template, grant.project)
    name = safe_concat(grant.project, "projectowner" if owns else "projectmember")
    rule = PolicyRule(
        api_groups=(GROUP,),
        resources=("projects",),
        resource_names=(project.metadata.name,),
        verbs=("*",) if owns else ("get",),
    )
    found.add(role(name, grant.cluster, {}, (rule,)))
    ref = RoleRef("Role", name)
    title = binding_name("rb", grant.cluster, ref, grant.subject)
    found.add(role_binding(title, grant.cluster, _membership(grant), ref, grant.subject))


def _bind(world: World, name: str, namespace: str, grant: Grant, found: Collection) -> None:
    """Give the grant's subject a role in a namespace, once that is there."""
    if name and namespace in world.namespaces:
        ref, labels = RoleRef("ClusterRole", name), {owner_label(grant.kind, grant.name): "true"}
        title = binding_name("rb", namespace, ref, grant.subject)
        found.add(role_binding(title, namespace, labels, ref, grant.subject))


def _membership(grant: Grant) -> dict[str, str]:
    return {membership_label(grant.namespace, grant.name): "true"}


def _canonical(world: World, alias: ProjectRoleBinding) -> dict[str, Any] | None:
    """The ProjectRoleTemplateBinding that a ProjectRoleBinding stands for."""
    try:
        grant = world.judge(alias)
    except Refusal:
        return None
    backing = world.projects[grant.project_id].status.backing_namespace
    if backing not in world.namespaces:
        return None
    subject = {
        "userName": alias.user_name,
        "userPrincipalName": alias.user_principal_name,
        "groupName": alias.group_name,
        "groupPrincipalName": alias.group_principal_name,
        "serviceAccount": alias.service_account,
    }
    return {
        "apiVersion": PROJECT_ROLE_TEMPLATE_BINDINGS.api_version,
        "kind": PROJECT_ROLE_TEMPLATE_BINDINGS.kind,
        "metadata": {
            "name": f"prtb-{h10('/'.join((alias.metadata.namespace, alias.metadata.name, alias.metadata.uid)))}",
            "namespace": backing,
            "annotations": {"outrider.cattle.io/alias-of": f"{grant.namespace}/{grant.name}"},
        },
        "projectName": grant.project_id,
        "roleTemplateName": grant.template,
        **{field: value for field, value in subject.items() if value},
    }
