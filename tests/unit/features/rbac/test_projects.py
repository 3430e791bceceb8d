"""What projects bring into a cluster beside rights: quotas, isolation, membership; and what users come with."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from outrider.apis.management import (
    Cluster,
    ClusterRegistrationToken,
    ClusterRoleTemplateBinding,
    FleetWorkspace,
    GlobalRole,
    GlobalRoleBinding,
    Project,
    RoleTemplate,
    Setting,
)
from outrider.delivery.entries import Entry
from outrider.features.rbac.creators import Progress
from outrider.features.rbac.desired import cluster_entries
from outrider.features.rbac.management import management_entries
from outrider.features.rbac.surroundings import NodeNetwork, Surroundings, surroundings_of
from outrider.features.rbac.users import new_user_roles, user_binding
from outrider.features.rbac.world import World

C = "c-1"
SYSTEM = {"authz.management.cattle.io/system-project": "true"}
DEFAULT = {"authz.management.cattle.io/default-project": "true"}
READS_TOKENS = [
    {"apiGroups": ["management.cattle.io"], "resources": ["clusterregistrationtokens"], "verbs": ["get"]}
]


def project(name: str, labels: dict[str, str] | None = None, **spec: Any) -> Project:
    value = {
        "metadata": {"name": name, "namespace": C, "labels": labels or {}},
        "spec": {"clusterName": C, **spec},
        "status": {"backingNamespace": f"{C}-{name}"},
    }
    return msgspec.convert(value, Project)


def world(*projects: Project, around: Surroundings | None = None, **more: Any) -> World:
    known = {f"{C}:{one.metadata.name}": one for one in projects}
    spaces = [C, *(one.status.backing_namespace for one in projects)]
    return World(
        **{"templates": {}, **more}, clusters=("local", C), projects=known, namespaces=spaces, around=around
    )


def templates(entries: list[Entry], kind: str) -> dict[tuple[str, str], Entry]:
    return {
        (entry.project or entry.within, entry.ref.name): entry for entry in entries if entry.ref.kind == kind
    }


def test_a_quota_is_a_share_of_each_namespace() -> None:
    plain = project("p-plain")
    bounded = project(
        "p-bounded",
        resourceQuota={"limit": {"limitsCpu": "4", "pods": "", "requests.example.org/gpu": "2"}},
        namespaceDefaultResourceQuota={"limit": {"limitsCpu": "1", "requests.example.org/gpu": "0"}},
        containerDefaultResourceLimit={"limitsMemory": "64Mi"},
    )
    entries = cluster_entries(world(plain, bounded), C)
    quotas = templates(entries, "ResourceQuota")
    assert list(quotas) == [("c-1:p-bounded", "default-quota")]
    (quota,) = quotas.values()
    share = quota.share
    assert share is not None
    assert (share.total, share.default) == (
        {"limitsCpu": "4", "requests.example.org/gpu": "2"},
        {"limitsCpu": "1", "requests.example.org/gpu": "0"},
    )
    assert share.places["limitsCpu"] == "/spec/hard/limits.cpu"
    assert share.places["requests.example.org/gpu"] == "/spec/hard/requests.example.org~1gpu"
    assert quota.requires == ("expects", "share")
    limits = templates(entries, "LimitRange")
    known = [one.share.default for one in limits.values() if one.share is not None]
    assert known == [{}, {"limitsMemory": "64Mi"}]
    marks = templates(entries, "Namespace")
    assert marks["c-1:p-plain", "template"].share is None
    said = marks["c-1:p-bounded", "template"].share
    assert said is not None
    assert set(said.places.values()) == {""}
    (text,) = said.exceeds.values()
    conditions = {one["Type"]: one for one in json.loads(text)["Conditions"]}
    assert conditions["ResourceQuotaValidated"] == {
        "Type": "ResourceQuotaValidated",
        "Status": "False",
        "Message": "{reason}",
    }


def test_isolation() -> None:
    projects = (project("p-a"), project("p-b"), project("p-sys", SYSTEM))
    around = Surroundings(isolated=frozenset({C}), addresses={C: ("10.42.0.0/32",)})
    policies = templates(cluster_entries(world(*projects, around=around), C), "NetworkPolicy")
    assert sorted(policies) == [
        (f"{C}:{name}", policy) for name in ("p-a", "p-b") for policy in ("hn-nodes", "np-default")
    ]
    spec = policies[f"{C}:p-a", "np-default"].object["spec"]
    selectors = [one["namespaceSelector"]["matchLabels"] for one in spec["ingress"][0]["from"]]
    assert selectors == [{"field.cattle.io/projectId": name} for name in ("p-a", "p-sys")]
    assert not templates(cluster_entries(world(*projects), C), "NetworkPolicy")
    assert not templates(cluster_entries(world(*projects, around=around), "local"), "NetworkPolicy")


def test_every_isolated_project_is_named_in_the_management_cluster() -> None:
    projects = (project("p-a"), project("p-sys", SYSTEM))
    around = Surroundings(isolated=frozenset({C}))
    found = [
        entry.object
        for entry in management_entries(world(*projects, around=around))
        if entry.ref.kind == "ProjectNetworkPolicy"
    ]
    assert [(one["metadata"]["namespace"], one["spec"]["projectName"]) for one in found] == [
        (f"{C}-p-a", f"{C}:p-a"),
        (f"{C}-p-sys", f"{C}:p-sys"),
    ]
    assert not any(e.ref.kind == "ProjectNetworkPolicy" for e in management_entries(world(*projects)))


def test_membership() -> None:
    system, default = project("p-sys", SYSTEM), project("p-def", DEFAULT)
    around = Surroundings(
        system_namespaces=("kube-system",), leaving=frozenset({f"{C}:p-old", "c-2:p-other"})
    )
    found = templates(cluster_entries(world(system, default, around=around), C), "Namespace")
    assert found[f"{C}:p-sys", "members"].joining == ("kube-system",)
    assert found[f"{C}:p-def", "members"].joining == ("default",)
    assert found[f"{C}:p-old", "members"].leaving
    assert ("c-2:p-other", "members") not in found
    done = project("p-def", DEFAULT)
    condition = {"type": "DefaultNamespacesAssigned", "status": "True"}
    done.status = msgspec.convert({"backingNamespace": "x", "conditions": [condition]}, type(done.status))
    found = templates(cluster_entries(world(done, around=around), C), "Namespace")
    assert (f"{C}:p-def", "members") not in found


def test_who_reads_registration_tokens_reads_their_secrets() -> None:
    roles = {
        name: msgspec.convert(
            {"metadata": {"name": name}, "context": "cluster", "rules": rules}, RoleTemplate
        )
        for name, rules in (("reads", READS_TOKENS), ("not", []))
    }
    bindings = [
        msgspec.convert(
            {
                "metadata": {"name": f"b-{name}", "namespace": C},
                "clusterName": C,
                "roleTemplateName": name,
                "userName": f"u-{name}",
            },
            ClusterRoleTemplateBinding,
        )
        for name in roles
    ]
    around = Surroundings(token_secrets={C: ("crt-token-default",)})
    entries = management_entries(world(templates=roles, cluster_bindings=bindings, around=around))
    made = [
        entry.object for entry in entries if entry.object.get("roleRef", {}).get("name") == "crt-token-reader"
    ]
    assert [one["subjects"][0]["name"] for one in made] == ["u-reads"]
    (role,) = (entry.object for entry in entries if entry.ref.name == "crt-token-reader")
    assert role["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": ["crt-token-default"],
            "verbs": ["get"],
        }
    ]
    bare = management_entries(world(templates=roles, cluster_bindings=bindings))
    assert not any(entry.ref.name == "crt-token-reader" for entry in bare)


def test_workspaces() -> None:
    rules = [{"apiGroups": ["fleet.cattle.io"], "resources": ["gitrepos"], "verbs": ["get"]}]
    permissions = {"resourceRules": rules, "workspaceVerbs": ["get", "update"]}
    role = {"metadata": {"name": "gitops"}, "inheritedFleetWorkspacePermissions": permissions}
    binding = {"metadata": {"name": "grb-1", "uid": "u"}, "globalRoleName": "gitops", "userName": "u-1"}
    given = world(
        global_roles={"gitops": msgspec.convert(role, GlobalRole)},
        global_bindings=[msgspec.convert(binding, GlobalRoleBinding)],
        around=Surroundings(workspaces=("fleet-default", "team")),
    )
    entries = management_entries(given)
    found = {(entry.ref.kind, entry.ref.namespace, entry.ref.name): entry for entry in entries}
    assert found["ClusterRole", "", "gitops-fwcr"].object["rules"] == rules
    (rule,) = found["ClusterRole", "", "gitops-fwv"].object["rules"]
    assert (rule["resources"], rule["resourceNames"], rule["verbs"]) == (
        ["fleetworkspaces"],
        ["fleet-default", "team"],
        ["get", "update"],
    )
    for workspace in ("fleet-default", "team"):
        bound = found["RoleBinding", workspace, "grb-1"]
        assert (bound.object["roleRef"]["name"], bound.within) == ("gitops-fwcr", workspace)
    assert found["ClusterRoleBinding", "", "grb-1-fwv"].object["roleRef"]["name"] == "gitops-fwv"


def test_what_surrounds_roles() -> None:
    clusters = [
        msgspec.convert({"metadata": {"name": C}, "spec": {"enableNetworkPolicy": True}}, Cluster),
        msgspec.convert({"metadata": {"name": "c-2"}}, Cluster),
    ]
    nodes = [
        {"podCIDR": "10.42.1.0/24"},
        {"podCIDR": "fd00:1::/64"},
        {"podCIDR": "nonsense"},
        {},
    ]
    records = [
        msgspec.convert(
            {"metadata": {"name": str(n), "namespace": C}, "spec": {"internalNodeSpec": spec}}, NodeNetwork
        )
        for n, spec in enumerate(nodes)
    ]
    calico = {"nodeAnnotations": {"projectcalico.org/IPv4IPIPTunnelAddr": "192.168.9.1"}}
    records.append(
        msgspec.convert({"metadata": {"name": "x", "namespace": C}, "status": calico}, NodeNetwork)
    )
    records.append(
        msgspec.convert({"metadata": {"name": "y", "namespace": "c-2"}, "status": calico}, NodeNetwork)
    )
    token = {"metadata": {"name": "t", "namespace": C}, "status": {"tokenSecretName": "crt-token-t"}}
    going = {"metadata": {"name": "p", "namespace": C, "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    around = surroundings_of(
        clusters=clusters,
        nodes=records,
        projects=[msgspec.convert(going, Project), project("p-stays")],
        settings=[msgspec.convert({"metadata": {"name": "system-namespaces"}, "value": "b, a,,b"}, Setting)],
        workspaces=[
            msgspec.convert({"metadata": {"name": name}}, FleetWorkspace) for name in ("team", "fleet-local")
        ],
        registrations=[msgspec.convert(token, ClusterRegistrationToken)],
    )
    assert around == Surroundings(
        isolated=frozenset({C}),
        addresses={C: ("10.42.1.0/32", "192.168.9.1/32", "fd00:1::/128")},
        system_namespaces=("a", "b"),
        workspaces=("team",),
        leaving=frozenset({f"{C}:p"}),
        token_secrets={C: ("crt-token-t",)},
    )


def test_new_users() -> None:
    roles = [
        msgspec.convert({"metadata": {"name": name}, "newUserDefault": default}, GlobalRole)
        for name, default in (("user", True), ("user-base", False))
    ]
    progress = "authz.management.cattle.io/creator-role-bindings"
    assert new_user_roles({}, {}, roles) == Progress(required=("user",))
    # what was decided stays decided, and is finished
    half = {progress: '{"required":["a","b"],"created":["a"]}'}
    due = new_user_roles({}, half, roles)
    assert due is not None
    assert due.missing == ["b"]
    for done in ('{"required":["a"],"created":["a"]}', '{"required":[],"created":[]}', "nonsense"):
        assert new_user_roles({}, {progress: done}, roles) is None
    assert new_user_roles({"authz.management.cattle.io/bootstrapping": "admin-user"}, {}, roles) is None
    assert user_binding("u-1", "user")["metadata"]["name"] == user_binding("u-1", "user")["metadata"]["name"]
    entries = management_entries(world(people=["u-1"]))
    found = {entry.ref.name: entry.object for entry in entries}
    assert found["u-1-view"]["rules"][0]["resourceNames"] == ["u-1"]
    assert found["grb-u-1-view"]["subjects"][0]["name"] == "u-1"
