"""Bindings take effect in real clusters, and stop."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from outrider.apis.management import (
    CLUSTER_ROLE_TEMPLATE_BINDINGS,
    CLUSTERS,
    GLOBAL_ROLE_BINDINGS,
    GLOBAL_ROLES,
    PROJECT_ROLE_BINDINGS,
    PROJECT_ROLE_TEMPLATE_BINDINGS,
    PROJECTS,
    ROLE_TEMPLATES,
    USERS,
)
from outrider.kube.builtin import CLUSTERROLEBINDINGS, CLUSTERROLES, NAMESPACES, ROLEBINDINGS
from outrider.kube.client import Client
from outrider.kube.meta import ObjectKey
from tests.support.roles import Site, can, until

OURS = "management.cattle.io"
OPS = "keycloak_group://cluster-admins"


def crtb(site: Site, name: str, role: str, **subject: str) -> dict[str, Any]:
    spec = {"clusterName": site.c, "roleTemplateName": role, **subject}
    return {"metadata": {"name": name, "namespace": site.c}, "spec": spec}


async def ours(client: Client) -> list[str]:
    """What delivery has in a cluster."""
    found = []
    for kind in (CLUSTERROLES, CLUSTERROLEBINDINGS, ROLEBINDINGS):
        label = "outrider.cattle.io/delivered=true"
        found += [
            f"{kind.kind}/{one['metadata']['name']}" for one in (await client.list(kind, labels=label)).items
        ]
    return found


async def cannot(
    client: Client, user: str, verb: str, resource: str, namespace: str = "", **more: Any
) -> bool:
    return not await can(client, user, verb, resource, namespace, **more)


async def test_the_seed_of_cluster_roles(site: Site) -> None:
    """Its YAML as it stands: a custom role, a user with it, a group as owner; and all of it gone again."""
    here, there = site.here, site.there
    template = {
        "displayName": "Cluster Operations",
        "context": "cluster",
        "roleTemplateNames": ["nodes-manage", "projects-view"],
        "rules": [{"apiGroups": [OURS], "resources": ["clusterevents"], "verbs": ["get", "list", "watch"]}],
    }
    await here.create(ROLE_TEMPLATES, {"metadata": {"name": "custom-cluster-ops"}, "spec": template})
    begun = time.monotonic()
    await here.create(
        CLUSTER_ROLE_TEMPLATE_BINDINGS, crtb(site, "crtb-john-ops", "custom-cluster-ops", userName="u-abc123")
    )
    await until(lambda: can(there, "u-abc123", "delete", "nodes"))
    print(f"effective after {time.monotonic() - begun:.3f} s")
    await until(lambda: can(there, "u-abc123", "get", "pods", "kube-system"))
    await until(lambda: can(there, "u-abc123", "list", "clusterevents", group=OURS))
    assert not await can(there, "u-abc123", "get", "secrets", "kube-system")
    assert await until(lambda: can(here, "u-abc123", "get", "clusters", group=OURS, name=site.c))
    assert await until(lambda: can(here, "u-abc123", "list", "projects", site.c, group=OURS))
    assert not await can(here, "u-abc123", "delete", "clusters", group=OURS, name=site.c)

    async def completed() -> bool:
        found = await here.get(CLUSTER_ROLE_TEMPLATE_BINDINGS, "crtb-john-ops", site.c)
        states = (found.status.summary, found.status.summary_local, found.status.summary_remote)
        return states == ("Completed",) * 3 and found.status.observed_generation_remote == 1

    await until(completed)
    await here.create(
        CLUSTER_ROLE_TEMPLATE_BINDINGS,
        crtb(site, "crtb-admins-owner", "cluster-owner", groupPrincipalName=OPS),
    )
    await until(lambda: can(there, "u-eve", "delete", "secrets", "kube-system", groups=(OPS,)))
    await until(lambda: can(here, "u-eve", "own", "clusters", groups=(OPS,), group=OURS, name=site.c))

    begun = time.monotonic()
    for name in ("crtb-john-ops", "crtb-admins-owner"):
        await here.delete(CLUSTER_ROLE_TEMPLATE_BINDINGS, name, site.c)
    await until(lambda: cannot(there, "u-abc123", "delete", "nodes"))
    await until(lambda: cannot(there, "u-eve", "get", "pods", "default", groups=(OPS,)))
    print(f"gone after {time.monotonic() - begun:.3f} s")
    await until(lambda: _is_empty(there))
    await until(lambda: cannot(here, "u-abc123", "get", "clusters", group=OURS, name=site.c))
    view = await there.get(CLUSTERROLES, "view")
    assert "management.cattle.io/aggregates" not in (view["metadata"].get("labels") or {})
    await here.delete(ROLE_TEMPLATES, "custom-cluster-ops")


async def _is_empty(client: Client) -> bool:
    return not await ours(client)


async def test_an_edit_of_a_template_reaches_all_and_touches_no_binding(site: Site) -> None:
    here, there = site.here, site.there
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
    await here.create(ROLE_TEMPLATES, {"metadata": {"name": "t-edit"}, "context": "cluster", "rules": [rule]})
    for number in range(3):
        await here.create(
            CLUSTER_ROLE_TEMPLATE_BINDINGS, crtb(site, f"b-{number}", "t-edit", userName=f"u-{number}")
        )
    await until(lambda: can(there, "u-2", "get", "pods", "default"))
    before = {
        one["metadata"]["name"]: one["metadata"]["resourceVersion"]
        for one in (await there.list(CLUSTERROLEBINDINGS)).items
    }
    wider = {"rules": [rule, {"apiGroups": [""], "resources": ["services"], "verbs": ["list"]}]}
    await here.patch(ROLE_TEMPLATES, "t-edit", wider)
    for number in range(3):
        await until(lambda n=number: can(there, f"u-{n}", "list", "services", "default"))  # type: ignore[misc]
    after = {
        one["metadata"]["name"]: one["metadata"]["resourceVersion"]
        for one in (await there.list(CLUSTERROLEBINDINGS)).items
    }
    assert before == after
    await here.patch(ROLE_TEMPLATES, "t-edit", {"rules": None})
    await until(lambda: cannot(there, "u-1", "get", "pods", "default"))
    for number in range(3):
        await here.delete(CLUSTER_ROLE_TEMPLATE_BINDINGS, f"b-{number}", site.c)
    await until(lambda: _is_empty(there))
    await here.delete(ROLE_TEMPLATES, "t-edit")


async def test_a_project_and_its_namespaces(site: Site) -> None:
    """The binding of the EKS article: the group has its role in each namespace of the project, as they come and go."""
    here, there, group = site.here, site.there, "okta_group://platform-engineering"
    project = {"metadata": {"name": "p-xyz789", "namespace": site.c}, "spec": {"clusterName": site.c}}
    await here.create(PROJECTS, project)

    async def backed() -> bool:
        found = await here.get(PROJECTS, "p-xyz789", site.c)
        return bool(found.status.backing_namespace == f"{site.c}-p-xyz789")

    await until(backed)
    binding = {
        "projectName": f"{site.c}:p-xyz789",
        "roleTemplateName": "project-member",
        "groupPrincipalName": group,
    }
    metadata = {"name": "platform-team-access", "namespace": site.c}
    await here.create(PROJECT_ROLE_TEMPLATE_BINDINGS, {"metadata": metadata, "spec": binding})
    space = f"{site.c}-web"
    annotation = {"field.cattle.io/projectId": f"{site.c}:p-xyz789"}
    await there.create(NAMESPACES, {"metadata": {"name": space, "annotations": annotation}})
    await until(lambda: can(there, "u-1", "create", "deployments", space, groups=(group,), group="apps"))
    await until(lambda: can(there, "u-1", "get", "namespaces", space, groups=(group,), name=space))
    await until(lambda: can(there, "u-1", "list", "persistentvolumes", groups=(group,)))
    assert not await can(there, "u-1", "get", "pods", "default", groups=(group,))
    assert not await can(there, "u-1", "list", "namespaces", groups=(group,))
    await until(
        lambda: can(here, "u-1", "get", "projects", site.c, groups=(group,), group=OURS, name="p-xyz789")
    )
    await until(lambda: can(here, "u-1", "get", "clusters", groups=(group,), group=OURS, name=site.c))
    labelled = await there.get(NAMESPACES, space)
    assert labelled["metadata"]["labels"]["field.cattle.io/projectId"] == "p-xyz789"

    await there.patch(NAMESPACES, space, {"metadata": {"annotations": {"field.cattle.io/projectId": None}}})
    await until(lambda: cannot(there, "u-1", "create", "deployments", space, groups=(group,), group="apps"))
    # the alias of the hardening guide gives the same
    alias = {"projectName": "p-xyz789", "userName": "user-abc123", "roleTemplateName": "read-only"}
    alias_meta = {"name": "prb-developer", "namespace": f"{site.c}-p-xyz789"}
    await here.create(PROJECT_ROLE_BINDINGS, {"metadata": alias_meta, "spec": alias})
    await there.patch(NAMESPACES, space, {"metadata": {"annotations": annotation}})
    await until(lambda: can(there, "user-abc123", "list", "pods", space))
    made = (await here.list(PROJECT_ROLE_TEMPLATE_BINDINGS, f"{site.c}-p-xyz789")).items
    assert [one.user_name for one in made] == ["user-abc123"]
    await here.delete(PROJECT_ROLE_BINDINGS, "prb-developer", alias_meta["namespace"])
    await until(lambda: cannot(there, "user-abc123", "list", "pods", space))
    await here.delete(PROJECTS, "p-xyz789", site.c)
    await until(lambda: _is_gone(here, f"{site.c}-p-xyz789"), 60)
    assert not (await here.list(PROJECT_ROLE_TEMPLATE_BINDINGS, site.c)).items
    await until(lambda: _is_empty(there))


async def _is_gone(client: Client, namespace: str) -> bool:
    return await client.get_or_none(NAMESPACES, namespace) is None


async def test_global_roles(site: Site) -> None:
    here, there = site.here, site.there
    role = {
        "metadata": {"name": "cluster-viewer"},
        "rules": [{"apiGroups": [OURS], "resources": ["clusters"], "verbs": ["get", "list", "watch"]}],
        "inheritedClusterRoles": ["cluster-member"],
    }
    await here.create(GLOBAL_ROLES, role)
    binding = {"metadata": {"name": "grb-viewer"}, "globalRoleName": "cluster-viewer", "userName": "u-viewer"}
    await here.create(GLOBAL_ROLE_BINDINGS, binding)
    admin = {"metadata": {"name": "grb-admin"}, "globalRoleName": "admin", "userName": "u-admin"}
    await here.create(GLOBAL_ROLE_BINDINGS, admin)
    await until(lambda: can(here, "u-viewer", "list", "clusters", group=OURS))
    await until(lambda: can(there, "u-viewer", "list", "nodes"))
    await until(lambda: can(there, "u-admin", "delete", "nodes"))
    await until(lambda: can(here, "u-admin", "delete", "clusters", group=OURS))
    made = (await here.list(CLUSTER_ROLE_TEMPLATE_BINDINGS, site.c)).items
    assert [(one.user_name, one.role_template_name) for one in made] == [("u-viewer", "cluster-member")]
    for name in ("grb-viewer", "grb-admin"):
        await here.delete(GLOBAL_ROLE_BINDINGS, name)
    await until(lambda: _is_empty(there))
    assert not (await here.list(CLUSTER_ROLE_TEMPLATE_BINDINGS, site.c)).items
    await here.delete(GLOBAL_ROLES, "cluster-viewer")


async def test_creators_and_default_projects(site: Site) -> None:
    """What the creator is given once is not given again."""
    here, name = site.here, f"{site.c}-two"
    await site.record(name, **{"field.cattle.io/creatorId": "u-maker"})

    async def standard() -> list[str]:
        found = (await here.list(PROJECTS, name)).items
        return sorted(one.spec.display_name for one in found if one.status.backing_namespace)

    await until(lambda: _equals(standard, ["Default", "System"]))
    await until(lambda: can(here, "u-maker", "own", "clusters", group=OURS, name=name))
    made = (await here.list(CLUSTER_ROLE_TEMPLATE_BINDINGS, name)).items
    assert [one.metadata.name for one in made] == ["creator-cluster-owner"]

    async def noted() -> bool:
        record = await here.get(CLUSTERS, name)
        kinds = {one.type for one in record.status.conditions if one.status == "True"}
        return {"DefaultProjectCreated", "SystemProjectCreated", "CreatorMadeOwner"} <= kinds

    await until(noted)
    await here.delete(CLUSTER_ROLE_TEMPLATE_BINDINGS, "creator-cluster-owner", name)
    default = next(
        one for one in (await here.list(PROJECTS, name)).items if one.spec.display_name == "Default"
    )
    await here.delete(PROJECTS, default.metadata.name, name)
    await until(lambda: _equals(standard, ["System"]))
    await here.patch(CLUSTERS, name, {"metadata": {"labels": {"look": "again"}}})
    await asyncio.sleep(0.5)
    assert await standard() == ["System"]
    assert not (await here.list(CLUSTER_ROLE_TEMPLATE_BINDINGS, name)).items
    await here.delete(CLUSTERS, name)


async def _equals(call: Any, expected: Any) -> bool:
    return bool(await call() == expected)


async def test_a_binding_that_grants_nothing_says_why(site: Site) -> None:
    here = site.here
    await here.create(CLUSTER_ROLE_TEMPLATE_BINDINGS, crtb(site, "b-lost", "not-there", userName="u-1"))

    async def told() -> Any:
        found = await here.get(CLUSTER_ROLE_TEMPLATE_BINDINGS, "b-lost", site.c)
        return found.status.summary == "Error" and found.status.local_conditions[0].message

    assert "create not-there" in await until(told)
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
    await here.create(
        ROLE_TEMPLATES, {"metadata": {"name": "not-there"}, "context": "cluster", "rules": [rule]}
    )
    await until(lambda: can(site.there, "u-1", "get", "pods", "default"))
    await here.delete(CLUSTER_ROLE_TEMPLATE_BINDINGS, "b-lost", site.c)
    await here.delete(ROLE_TEMPLATES, "not-there")
    await until(lambda: _is_empty(site.there))


async def test_a_role_of_the_clusters_own_is_not_taken_over(site: Site) -> None:
    here, there = site.here, site.there
    theirs = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]
    await there.create(CLUSTERROLES, {"metadata": {"name": "theirs"}, "rules": theirs})
    everything = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    await here.create(
        ROLE_TEMPLATES, {"metadata": {"name": "theirs"}, "context": "cluster", "rules": everything}
    )
    await here.create(CLUSTER_ROLE_TEMPLATE_BINDINGS, crtb(site, "b-theirs", "theirs", userName="u-1"))

    async def told() -> bool:
        found = await here.get(CLUSTER_ROLE_TEMPLATE_BINDINGS, "b-theirs", site.c)
        return bool(found.status.summary_remote == "Error")

    await until(told)
    assert (await there.get(CLUSTERROLES, "theirs"))["rules"] == theirs
    await here.delete(CLUSTER_ROLE_TEMPLATE_BINDINGS, "b-theirs", site.c)
    await here.delete(ROLE_TEMPLATES, "theirs")
    await until(lambda: _is_empty(there))
    assert (await there.get(CLUSTERROLES, "theirs"))["rules"] == theirs
    await there.delete(CLUSTERROLES, "theirs")


async def test_a_cluster_that_was_away_loses_what_was_taken(site: Site) -> None:
    here, there = site.here, site.there
    await here.create(CLUSTER_ROLE_TEMPLATE_BINDINGS, crtb(site, "b-away", "nodes-view", userName="u-away"))
    await until(lambda: can(there, "u-away", "list", "nodes"))
    site.offline.add(site.c)
    await here.delete(CLUSTER_ROLE_TEMPLATE_BINDINGS, "b-away", site.c)
    later = crtb(site, "b-later", "nodes-view", userName="u-later")
    await here.create(CLUSTER_ROLE_TEMPLATE_BINDINGS, later)
    # it cannot be reached any more, at once, whatever it still holds
    await until(lambda: cannot(here, "u-away", "get", "clusters", group=OURS, name=site.c))

    async def waits() -> bool:
        found = await here.get(CLUSTER_ROLE_TEMPLATE_BINDINGS, "b-later", site.c)
        return (found.status.summary_local, found.status.summary_remote) == ("Completed", "InProgress")

    await until(waits)
    site.offline.clear()
    site.controller.enqueue(ObjectKey("", site.c))
    await until(lambda: cannot(there, "u-away", "list", "nodes"))
    await until(lambda: can(there, "u-later", "list", "nodes"))
    await here.delete(CLUSTER_ROLE_TEMPLATE_BINDINGS, "b-later", site.c)
    await until(lambda: _is_empty(there))


async def test_nothing_is_written_when_nothing_changed(site: Site) -> None:
    before: list[str] = []
    while before != site.written:
        before = list(site.written)
        await asyncio.sleep(2)
    for key in [cluster.key for cluster in site.clusters.list()]:
        site.controller.enqueue(ObjectKey("", key.name))
    await site.here.patch(CLUSTERS, site.c, {"metadata": {"labels": {"a": "b"}}})
    await asyncio.sleep(0.5)
    assert site.written == before


@pytest.mark.parametrize("name", ["view", "edit", "admin"])
async def test_native_roles_keep_their_rules(site: Site, name: str) -> None:
    before = await site.there.get(CLUSTERROLES, name)
    role = {"view": "read-only", "edit": "project-member", "admin": "project-owner"}[name]
    template = {"metadata": {"name": f"t-{name}"}, "context": "cluster", "roleTemplateNames": [role]}
    await site.here.create(ROLE_TEMPLATES, template)
    await site.here.create(
        CLUSTER_ROLE_TEMPLATE_BINDINGS, crtb(site, f"b-{name}", f"t-{name}", userName="u-1")
    )
    await until(lambda: can(site.there, "u-1", "get", "pods", "default"))
    after = await site.there.get(CLUSTERROLES, name)
    assert (after["rules"], after.get("aggregationRule")) == (before["rules"], before.get("aggregationRule"))
    await site.here.delete(CLUSTER_ROLE_TEMPLATE_BINDINGS, f"b-{name}", site.c)
    await site.here.delete(ROLE_TEMPLATES, f"t-{name}")
    await until(lambda: _is_empty(site.there))


async def test_new_users_get_their_roles_once_and_lose_all_when_they_go(site: Site) -> None:
    here, name = site.here, f"u-{site.c}"
    await here.create(USERS, {"metadata": {"name": name}, "username": name})
    create = {"group": OURS, "resource": "clusters", "verb": "create", "user": name}
    await until(lambda: can(here, **create))
    await until(lambda: can(here, name, "get", "users", group=OURS, name=name))
    assert not await can(here, name, "get", "users", group=OURS, name="u-other")
    (given,) = [one for one in (await here.list(GLOBAL_ROLE_BINDINGS)).items if one.user_name == name]
    assert given.global_role_name == "user"
    # what is taken away is not given again
    await here.delete(GLOBAL_ROLE_BINDINGS, given.metadata.name)
    await here.patch(USERS, name, {"description": "look again"})
    await until(lambda: cannot(here, **create))
    await asyncio.sleep(0.5)
    assert not await can(here, **create)
    await here.create(CLUSTER_ROLE_TEMPLATE_BINDINGS, crtb(site, "b-going", "nodes-view", userName=name))
    await until(lambda: can(site.there, name, "list", "nodes"))
    await here.delete(USERS, name)
    await until(lambda: cannot(site.there, name, "list", "nodes"))
    assert not (await here.list(CLUSTER_ROLE_TEMPLATE_BINDINGS, site.c)).items
    await until(lambda: cannot(here, name, "get", "users", group=OURS, name=name))
    assert await here.get_or_none(USERS, name) is None
