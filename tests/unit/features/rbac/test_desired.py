"""Golden names and shapes: what a few bindings bring, object by object."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import msgspec
import pytest

from outrider.apis.management import (
    ClusterRoleTemplateBinding,
    GlobalRole,
    GlobalRoleBinding,
    Project,
    ProjectRoleBinding,
    ProjectRoleTemplateBinding,
    RoleTemplate,
)
from outrider.delivery.entries import Entry
from outrider.features.rbac.builtin import created
from outrider.features.rbac.catalogue import builtin_roles
from outrider.features.rbac.desired import cluster_entries
from outrider.features.rbac.management import management_entries
from outrider.features.rbac.names import RoleRef, Subject, admin_name, binding_name, h10, safe_concat
from outrider.features.rbac.world import Refusal, World

BUILTIN = {
    role.name: msgspec.convert(created(role), RoleTemplate)
    for role in builtin_roles()
    if role.kind.kind == "RoleTemplate"
}
C = "c-m-abcdefgh"
PROJECT = msgspec.convert(
    {
        "metadata": {"name": "p-xyz78", "namespace": C},
        "spec": {"clusterName": C},
        "status": {"backingNamespace": f"{C}-p-xyz78"},
    },
    Project,
)


def crtb(name: str = "crtb-john-ops", role: str = "custom-cluster-ops", **subject: str) -> Any:
    value = {"metadata": {"name": name, "namespace": C}, "clusterName": C, "roleTemplateName": role}
    return msgspec.convert(value | (subject or {"userName": "u-abc123"}), ClusterRoleTemplateBinding)


def prtb(name: str = "platform", role: str = "project-member", **subject: str) -> Any:
    value = {
        "metadata": {"name": name, "namespace": C, "uid": "1"},
        "projectName": f"{C}:p-xyz78",
        "roleTemplateName": role,
    }
    subject = subject or {"groupPrincipalName": "okta_group://platform-engineering"}
    return msgspec.convert(value | subject, ProjectRoleTemplateBinding)


OPS = msgspec.convert(
    {
        "metadata": {"name": "custom-cluster-ops"},
        "context": "cluster",
        "roleTemplateNames": ["nodes-manage", "projects-view"],
        "rules": [
            {"apiGroups": ["management.cattle.io"], "resources": ["clusterevents"], "verbs": ["get", "list"]}
        ],
    },
    RoleTemplate,
)


def world(**more: Any) -> World:
    standard: dict[str, Any] = {
        "templates": BUILTIN | {"custom-cluster-ops": OPS},
        "clusters": [C, "local"],
        "projects": {f"{C}:p-xyz78": PROJECT},
        "namespaces": [C, f"{C}-p-xyz78", "local", "cattle-global-data"],
    }
    return World(**standard | more)


def by_name(entries: list[Entry]) -> dict[str, Any]:
    return {f"{one.object['kind']}/{one.object['metadata']['name']}": one.object for one in entries}


def test_the_patterns_of_the_seed() -> None:
    entries = cluster_entries(world(cluster_bindings=[crtb()]), C)
    found = by_name(entries)
    ref, subject = RoleRef("ClusterRole", "custom-cluster-ops-aggregator"), Subject("User", "u-abc123")
    roles = {name for name in found if name.startswith("ClusterRole/")}
    assert roles == {
        f"ClusterRole/{name}"
        for name in (
            "custom-cluster-ops",
            "custom-cluster-ops-aggregator",
            "nodes-manage",
            "nodes-manage-aggregator",
            "projects-view",
            "projects-view-aggregator",
            "view",
            "view-aggregator",
        )
    }
    selectors = found["ClusterRole/custom-cluster-ops-aggregator"]["aggregationRule"]["clusterRoleSelectors"]
    assert [one["matchLabels"]["management.cattle.io/aggregates"] for one in selectors] == [
        "custom-cluster-ops",
        "nodes-manage-aggregator",
        "projects-view-aggregator",
    ]
    view = next(one for one in entries if one.object["metadata"]["name"] == "view")
    assert ("rules" in view.object, view.expects, view.release) == (False, "existing", True)
    binding = found[f"ClusterRoleBinding/{binding_name('crb', '', ref, subject)}"]
    assert binding["metadata"]["labels"] == {"authz.cluster.cattle.io/crtb-owner-crtb-john-ops": "true"}
    assert binding["roleRef"]["name"] == "custom-cluster-ops-aggregator"
    bindings = [name for name in found if name.startswith("ClusterRoleBinding/")]
    assert len(bindings) == 1


def test_a_bare_external_role_is_bound_as_it_is() -> None:
    found = by_name(cluster_entries(world(cluster_bindings=[crtb(role="cluster-admin")]), C))
    assert [name for name in found if name.startswith("ClusterRole/")] == []
    (binding,) = [one for name, one in found.items() if name.startswith("ClusterRoleBinding/")]
    assert binding["roleRef"]["name"] == "cluster-admin"


def test_a_template_edit_changes_one_role_and_no_binding() -> None:
    bindings = [crtb(f"b-{n}", userName=f"user-{n}") for n in range(100)]
    before = by_name(cluster_entries(world(cluster_bindings=bindings), C))
    edited = msgspec.structs.replace(OPS, rules=())
    after = by_name(
        cluster_entries(
            world(cluster_bindings=bindings, templates=BUILTIN | {"custom-cluster-ops": edited}), C
        )
    )
    more = msgspec.structs.replace(OPS, rules=(*(OPS.rules or ()), *(BUILTIN["nodes-view"].rules or ())))
    wider = by_name(
        cluster_entries(world(cluster_bindings=bindings, templates=BUILTIN | {"custom-cluster-ops": more}), C)
    )
    assert {name for name in before if before[name] != wider.get(name)} == {"ClusterRole/custom-cluster-ops"}
    assert {name for name in before if before[name] != after.get(name)} == {
        "ClusterRole/custom-cluster-ops",
        "ClusterRole/custom-cluster-ops-aggregator",
    }


def test_a_group_in_a_project() -> None:
    entries = cluster_entries(world(project_bindings=[prtb()]), C)
    templates = {one.object["metadata"]["name"]: one for one in entries if one.project}
    assert {one.project for one in templates.values()} == {f"{C}:p-xyz78"}
    mine = [one.object for one in templates.values() if one.object["kind"] == "RoleBinding"]
    roles = {one["roleRef"]["name"]: one["subjects"] for one in mine}
    group = {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "Group",
        "name": "okta_group://platform-engineering",
    }
    assert roles == {"project-member-aggregator": [group], "p-xyz78-namespaces-edit": [group]}
    assert templates["template"].object["metadata"]["labels"] == {"field.cattle.io/projectId": "p-xyz78"}
    found = by_name(entries)
    promoted = found["ClusterRole/project-member-promoted"]["rules"]
    assert {
        "apiGroups": [""],
        "resources": ["persistentvolumes"],
        "verbs": ["get", "list", "watch"],
    } in promoted
    assert found["ClusterRoleBinding/p-xyz78-namespaces-manage"]["subjects"] == [group]


def test_two_bindings_of_the_same_are_one_object_with_both_owners() -> None:
    found = by_name(cluster_entries(world(cluster_bindings=[crtb("one"), crtb("two")]), C))
    (binding,) = [one for name, one in found.items() if name.startswith("ClusterRoleBinding/")]
    assert set(binding["metadata"]["labels"]) == {
        "authz.cluster.cattle.io/crtb-owner-one",
        "authz.cluster.cattle.io/crtb-owner-two",
    }


def test_membership_here() -> None:
    given = world(cluster_bindings=[crtb(role="cluster-owner")], project_bindings=[prtb()])
    found = by_name(management_entries(given))
    owner = found[f"ClusterRole/{C}-clusterowner"]
    rule = {
        "apiGroups": ["management.cattle.io"],
        "resources": ["clusters"],
        "resourceNames": [C],
        "verbs": ["*"],
    }
    assert owner["rules"] == [rule]
    assert owner["metadata"]["annotations"] == {"cluster.cattle.io/name": C}
    assert found[f"ClusterRole/{C}-clustermember"]["rules"] == [rule | {"verbs": ["get"]}]
    member = found["Role/p-xyz78-projectmember"]
    assert (member["metadata"]["namespace"], member["rules"][0]["verbs"]) == (C, ["get"])
    ref, subject = RoleRef("ClusterRole", f"{C}-clusterowner"), Subject("User", "u-abc123")
    binding = found[f"ClusterRoleBinding/{binding_name('crb', '', ref, subject)}"]
    assert binding["metadata"]["labels"] == {f"{C}_crtb-john-ops": "true"}
    here = {
        (one["metadata"]["namespace"], one["roleRef"]["name"])
        for one in found.values()
        if one["kind"] == "RoleBinding"
    }
    assert here == {
        (C, "cluster-owner-cluster-mgmt-aggregator"),
        (f"{C}-p-xyz78", "cluster-owner-project-mgmt-aggregator"),
        (f"{C}-p-xyz78", "project-member-project-mgmt-aggregator"),
        (C, "p-xyz78-projectmember"),
    }


def test_a_service_account_of_a_cluster_is_nobody_here() -> None:
    given = world(project_bindings=[prtb(serviceAccount="kube-system:builder")])
    assert not any("clustermember" in name for name in by_name(management_entries(given)))
    subjects = [
        one.object["subjects"] for one in cluster_entries(given, C) if one.object["kind"] == "RoleBinding"
    ]
    assert {"kind": "ServiceAccount", "name": "builder", "namespace": "kube-system"} in subjects[0]


def test_an_alias_becomes_the_binding_it_stands_for() -> None:
    value = {
        "metadata": {"name": "prb-developer", "namespace": "project-id", "uid": "u"},
        "projectName": "p-xyz78",
        "userName": "user-abc123",
        "roleTemplateName": "project-member",
    }
    found = by_name(management_entries(world(aliases=[msgspec.convert(value, ProjectRoleBinding)])))
    (made,) = [one for name, one in found.items() if name.startswith("ProjectRoleTemplateBinding/")]
    assert made["metadata"]["namespace"] == f"{C}-p-xyz78"
    assert (made["projectName"], made["userName"]) == (f"{C}:p-xyz78", "user-abc123")


def test_global_roles() -> None:
    role = {
        "metadata": {"name": "support"},
        "rules": [{"apiGroups": ["management.cattle.io"], "resources": ["clusters"], "verbs": ["get"]}],
        "namespacedRules": {
            name: [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]}]
            for name in ("cattle-global-data", "not-there")
        },
        "inheritedClusterRoles": ["cluster-member", "project-owner", "not-there"],
    }
    binding = {
        "metadata": {"name": "grb-1", "uid": "u-1"},
        "globalRoleName": "support",
        "groupPrincipalName": "okta_group://support",
    }
    given = world(
        global_roles={"support": msgspec.convert(role, GlobalRole)},
        global_bindings=[msgspec.convert(binding, GlobalRoleBinding)],
    )
    entries = management_entries(given)
    found = by_name(entries)
    assert found["ClusterRole/cattle-globalrole-support"]["rules"] == role["rules"]
    bound = found["ClusterRoleBinding/cattle-globalrolebinding-grb-1"]
    assert bound["metadata"]["labels"]["authz.management.cattle.io/grb-owner"] == "grb-1"
    assert found["RoleBinding/grb-1-cattle-global-data"]["roleRef"]["name"] == "support-cattle-global-data"
    # what is in a namespace is made once that is there
    within = {entry.ref.name: entry.within for entry in entries if entry.within}
    assert within == {
        f"{one}-{place}": place for one in ("support", "grb-1") for place in role["namespacedRules"]
    }
    (made,) = [one for name, one in found.items() if name.startswith("ClusterRoleTemplateBinding/")]
    assert (made["clusterName"], made["roleTemplateName"]) == (C, "cluster-member")
    assert made["metadata"]["ownerReferences"][0]["uid"] == "u-1"


def test_administrators_are_so_in_every_cluster() -> None:
    admin = {"metadata": {"name": "admin"}}
    binding = {"metadata": {"name": "g", "uid": "u"}, "globalRoleName": "admin", "userName": "user-ann"}
    given = world(
        global_roles={"admin": msgspec.convert(admin, GlobalRole)},
        global_bindings=[msgspec.convert(binding, GlobalRoleBinding)],
    )
    for cluster in (C, "local"):
        found = by_name(cluster_entries(given, cluster))
        assert found["ClusterRoleBinding/globaladmin-user-ann"]["roleRef"]["name"] == "cluster-admin"


@pytest.mark.parametrize(
    ("binding", "why"),
    [
        (crtb(role="nothing"), "create nothing"),
        (crtb(role="project-owner"), "is not of context cluster"),
        (crtb(userPrincipalName="github_user://1"), "no user has principal 'github_user://1'"),
        (prtb(role="cluster-owner"), "is not of context project"),
    ],
)
def test_why_a_binding_grants_nothing(binding: Any, why: str) -> None:
    with pytest.raises(Refusal, match=why):
        world().judge(binding)


def test_a_binding_in_a_wrong_namespace_grants_nothing() -> None:
    stray = crtb()
    stray.metadata.namespace = "other"
    assert world(cluster_bindings=[stray]).grants == {}


def test_names() -> None:
    assert safe_concat("a", "b") == "a-b"
    long = "x" * 70
    digest = hashlib.sha256(long.encode()).hexdigest()
    assert safe_concat(long) == f"{'x' * 57}-{digest[:5]}"
    dashed = "x" * 56 + "-" + "x" * 20
    digest = hashlib.sha256(dashed.encode()).hexdigest()
    assert safe_concat(dashed) == f"{'x' * 56}-{digest[:6]}"
    assert len(safe_concat(long)) == len(safe_concat(dashed)) == 63
    assert safe_concat("x" * 63) == "x" * 63
    assert h10("a") == base64.b32encode(hashlib.sha256(b"a").digest()).decode().lower()[:10]
    ref = RoleRef("ClusterRole", "r")
    assert binding_name("crb", "", ref, Subject("User", "u")) == f"crb-{h10('ClusterRolerUseru')}"
    assert admin_name(Subject("Group", "okta_group://x")) == f"globaladmin-u-{h10('okta_group://x')}"


@pytest.mark.parametrize("user", ["u/../x", "A B", "ü", "x" * 300, "-a"])
def test_any_user_has_a_name_that_the_api_takes(user: str) -> None:
    name = admin_name(Subject("User", user)).removeprefix("globaladmin-")
    assert len(name) == 32
    assert set(name) <= set("0123456789abcdef")
