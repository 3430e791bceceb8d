"""Who may give what to whom: worked cases, on both sides of each rule."""

from __future__ import annotations

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
from outrider.apis.management.policy_rule import PolicyRule
from outrider.features.rbac import escalation_bindings as bindings
from outrider.features.rbac import escalation_roles as roles
from outrider.features.rbac.catalogue import builtin_roles
from outrider.features.rbac.escalation import FREE, Objection, Price
from outrider.features.rbac.holdings import Holdings
from outrider.features.rbac.world import World
from outrider.kube.identity import Identity
from outrider.kube.rules import Rule, Rules

Json = dict[str, Any]
OURS = "management.cattle.io"
ANN = Identity("ann", ("okta_group://dev", "system:authenticated"))


def rule(verbs: str, resources: str, group: str = "", *names: str) -> Json:
    found: Json = {"verbs": verbs.split(), "resources": resources.split(), "apiGroups": [group]}
    return found | ({"resourceNames": list(names)} if names else {})


def read(type_: Any, name: str, namespace: str = "", **fields: Any) -> Any:
    return msgspec.convert({"metadata": {"name": name, "namespace": namespace}, **fields}, type_)


def template(name: str, context: str, *rules: Json, **more: Any) -> RoleTemplate:
    found: RoleTemplate = read(RoleTemplate, name, context=context, rules=list(rules), **more)
    return found


def crtb(role: str, cluster: str = "c-1", **subject: str) -> ClusterRoleTemplateBinding:
    fields = {"clusterName": cluster, "roleTemplateName": role, **(subject or {"userName": "bob"})}
    found: ClusterRoleTemplateBinding = read(
        ClusterRoleTemplateBinding, f"{role}-{subject}", cluster, **fields
    )
    return found


def prtb(role: str, project: str = "c-1:p-1", **subject: str) -> ProjectRoleTemplateBinding:
    fields = {"projectName": project, "roleTemplateName": role, **(subject or {"userName": "bob"})}
    found: ProjectRoleTemplateBinding = read(
        ProjectRoleTemplateBinding, f"{role}-{subject}", project.replace(":", "-"), **fields
    )
    return found


def grb(role: str, **subject: str) -> GlobalRoleBinding:
    fields = {"globalRoleName": role, **(subject or {"userName": "bob"})}
    found: GlobalRoleBinding = read(GlobalRoleBinding, f"{role}-{subject}", **fields)
    return found


def world(*objects: Any, native: dict[str, list[Json]] | None = None) -> World:
    def all_of(kind: type) -> list[Any]:
        return [one for one in objects if isinstance(one, kind)]

    projects = {
        f"{c}:{p}": msgspec.convert(
            {
                "metadata": {"name": p, "namespace": c},
                "spec": {"clusterName": c},
                "status": {"backingNamespace": f"{c}-{p}"},
            },
            Project,
        )
        for c in ("c-1", "c-2", "local")
        for p in ("p-1", "p-2")
    }
    return World(
        templates={one.metadata.name: one for one in all_of(RoleTemplate)},
        clusters=["c-1", "c-2", "local"],
        global_roles={one.metadata.name: one for one in all_of(GlobalRole)},
        global_bindings=all_of(GlobalRoleBinding),
        cluster_bindings=all_of(ClusterRoleTemplateBinding),
        project_bindings=all_of(ProjectRoleTemplateBinding),
        projects=projects,
        namespaces=["c-1", "c-2", "local"],
        external={
            name: tuple(msgspec.convert(one, PolicyRule) for one in rules)
            for name, rules in (native or {}).items()
        },
    )


def lacks(held: World, price: Price, user: Identity = ANN, here: Json | None = None) -> set[str]:
    """What is missing, as `verb resource place`."""
    mine = {"": Rules([msgspec.convert(here, Rule)] if here else [])}
    found = set()
    for gain in Holdings(held, user, mine).lacks(price.gains):
        (missing,) = gain.rules
        what = missing.resources[0] if missing.resources else f"path {missing.non_resource_urls[0]}"
        found.add(f"{missing.verbs[0]} {what} in {gain.place}")
    return found


PODS = template("pods", "cluster", rule("get list", "pods"))
P_PODS = template("p-pods", "project", rule("get", "pods"))
SECRETS = template("secrets", "cluster", rule("get", "secrets"))
BOTH = template("both", "cluster", roleTemplateNames=["pods", "secrets"])


def test_who_has_a_role_can_give_it_and_nothing_beyond() -> None:
    held = world(PODS, SECRETS, BOTH, crtb("pods", userName="ann"))
    assert lacks(held, bindings.of_cluster_binding(held, crtb("pods"), None)) == set()
    missing = {"get secrets in cluster c-1"}
    assert lacks(held, bindings.of_cluster_binding(held, crtb("secrets"), None)) == missing
    # what is inherited counts as what is said
    assert lacks(held, bindings.of_cluster_binding(held, crtb("both"), None)) == missing
    assert lacks(held, bindings.of_cluster_binding(held, crtb("pods", "c-2"), None)) == {
        "get clusters in cluster c-2",
        "get pods in cluster c-2",
        "list pods in cluster c-2",
    }


def test_a_group_holds_for_its_members_only() -> None:
    held = world(PODS, crtb("pods", groupPrincipalName="okta_group://dev"))
    price = bindings.of_cluster_binding(held, crtb("pods", groupName="anybody"), None)
    assert lacks(held, price) == set()
    assert lacks(held, price, Identity("ann", ("okta_group://ops",)))


@pytest.mark.parametrize("project", ["c-1:p-2", "c-2:p-1"])
def test_a_role_in_one_project_gives_nothing_in_another(project: str) -> None:
    held = world(P_PODS, prtb("p-pods", userName="ann"))
    assert lacks(held, bindings.of_project_binding(held, prtb("p-pods"), None)) == set()
    assert lacks(held, bindings.of_project_binding(held, prtb("p-pods", project), None))


def test_a_role_in_the_cluster_holds_in_its_projects_and_not_the_other_way_round() -> None:
    held = world(PODS, P_PODS, crtb("pods", userName="ann"))
    assert lacks(held, bindings.of_project_binding(held, prtb("p-pods"), None)) == set()
    held = world(PODS, P_PODS, prtb("p-pods", userName="ann"))
    assert "get pods in cluster c-1" in lacks(held, bindings.of_cluster_binding(held, crtb("pods"), None))


def test_an_alias_is_judged_as_what_it_stands_for() -> None:
    held = world(P_PODS)
    fields = {"projectName": "c-1:p-1", "roleTemplateName": "p-pods", "userName": "bob"}
    alias = read(ProjectRoleBinding, "x", "c-1-p-1", **fields)
    assert lacks(held, bindings.of_project_binding(held, alias, None))
    held = world(P_PODS, prtb("p-pods", userName="ann"))
    assert lacks(held, bindings.of_project_binding(held, alias, None)) == set()


def test_what_a_project_role_gives_in_the_whole_cluster_must_be_held_there() -> None:
    # everything in a project's namespaces is nothing outside of them
    everything = template("all", "project", rule("*", "*", "*"))
    wide = template("wide", "project", rule("get", "nodes persistentvolumes pods"))
    held = world(everything, wide, prtb("all", userName="ann"))
    missing = lacks(held, bindings.of_project_binding(held, prtb("wide"), None))
    assert missing == {"get nodes in cluster c-1", "get persistentvolumes in cluster c-1"}


def test_making_namespaces_brings_more_than_it_says() -> None:
    makes = template("makes", "project", rule("create", "namespaces"))
    wide = template("wide", "cluster", rule("create", "namespaces"))
    held = world(makes, wide, crtb("wide", userName="ann"))
    assert lacks(held, bindings.of_project_binding(held, prtb("makes"), None)) == {
        "* namespaces in project p-1 of cluster c-1",
        "manage-namespaces projects in cluster c-1",
    }


def test_who_owns_what_gives_no_more_than_they_hold() -> None:
    owner = template("owner", "project", rule("own", "projects", OURS))
    held = world(owner, P_PODS, prtb("owner", userName="ann"))
    assert lacks(held, bindings.of_project_binding(held, prtb("owner"), None)) == set()
    assert lacks(held, bindings.of_project_binding(held, prtb("p-pods"), None))


def test_external_roles_are_judged_by_what_they_hold() -> None:
    plain = template("admin", "project", external=True)
    stated = template("admin", "project", external=True, externalRules=[rule("get", "pods")])
    native = {"admin": [rule("*", "secrets")]}
    me = prtb("p-pods", userName="ann")
    for held, missing in (
        (world(plain, P_PODS, me, native=native), {"* secrets in project p-1 of cluster c-1"}),
        (world(stated, P_PODS, me, native=native), set()),
    ):
        assert lacks(held, bindings.of_project_binding(held, prtb("admin"), None)) == missing
    # nobody knows what it holds: then it is taken to hold everything, and to give its holders nothing
    held = world(plain, P_PODS, me, prtb("admin", userName="ann"))
    price = bindings.of_project_binding(held, prtb("admin"), None)
    assert "* * in project p-1 of cluster c-1" in lacks(held, price)


def test_service_accounts_are_somebody_in_their_own_cluster_only() -> None:
    account = Identity("system:serviceaccount:web:bot", ())
    held = world(P_PODS, prtb("p-pods", "local:p-1", serviceAccount="web:bot"))
    assert lacks(held, bindings.of_project_binding(held, prtb("p-pods", "local:p-1"), None), account) == set()
    held = world(P_PODS, prtb("p-pods", serviceAccount="web:bot"))
    assert lacks(held, bindings.of_project_binding(held, prtb("p-pods"), None), account)


@pytest.mark.parametrize(
    ("binding", "said"),
    [
        (crtb("gone"), "the referenced role template was not found: create gone first"),
        (crtb("locked"), "referenced role locked is locked and cannot be assigned"),
        (crtb("p-pods"), "its context is not cluster"),
        (crtb("pods", "c-9"), "specified cluster c-9 not found"),
        (prtb("pods"), "its context is not project"),
        (prtb("p-pods", "c-1:p-9"), "project c-1:p-9 not found"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_nobody_may_bind(binding: Any, said: str) -> None:
    held = world(PODS, P_PODS, template("locked", "cluster", locked=True))
    judge: Any = (
        bindings.of_cluster_binding
        if isinstance(binding, ClusterRoleTemplateBinding)
        else bindings.of_project_binding
    )
    with pytest.raises(Objection, match=said):
        judge(held, binding, None)


def test_only_a_subject_or_more_time_makes_a_change_a_grant() -> None:
    held = world(PODS)
    old = crtb("pods", userPrincipalName="github_user://1")
    assert bindings.of_cluster_binding(held, old, old) is FREE
    named = msgspec.structs.replace(old, user_name="bob")
    assert lacks(held, bindings.of_cluster_binding(held, named, old))


class Timed(ClusterRoleTemplateBinding, kw_only=True):
    """A binding that ends."""

    expires_at: str = ""


@pytest.mark.parametrize(
    ("before", "after", "more"),
    [
        ("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", False),
        ("2026-01-02T00:00:00Z", "2026-01-02T01:00:00+02:00", False),
        ("2026-01-02T00:00:00Z", "2026-01-02T00:00:01Z", True),
        ("2026-01-02T00:00:00Z", "", True),
        ("", "2026-01-02T00:00:00Z", False),
        ("", "", False),
    ],
)
def test_the_end_of_a_binding_may_come_sooner_and_not_later(before: str, after: str, more: bool) -> None:
    old, new = (read(Timed, "b", "c-1", userName="bob", expiresAt=end) for end in (before, after))
    assert bindings.grants_more(old, new) is more


# Global roles


def role(name: str, **fields: Any) -> GlobalRole:
    found: GlobalRole = read(GlobalRole, name, **fields)
    return found


def test_a_global_role_gives_what_its_writer_holds_here_and_in_every_cluster() -> None:
    viewer = role("viewer", rules=[rule("get", "settings", OURS)], inheritedClusterRoles=["pods"])
    held = world(PODS, crtb("pods", "c-1", userName="ann"), crtb("pods", "c-2", userName="ann"))
    # to hold it in each cluster that there is now is not to hold it in all that there will be
    everywhere = {f"{what} in every other cluster" for what in ("get clusters", "get pods", "list pods")}
    price = roles.of_global_role(held, viewer, None)
    assert lacks(held, price) == everywhere | {"get settings in the management cluster"}
    settings = rule("get", "settings", OURS)
    assert lacks(held, price, here=settings) == everywhere
    mine = world(PODS, viewer, grb("viewer", userName="ann"))
    assert lacks(mine, roles.of_global_role(mine, viewer, None), here=settings) == set()


def test_namespaces_of_a_global_role_are_judged_one_by_one() -> None:
    given = role("ns", namespacedRules={"a": [rule("get", "secrets")], "b": [rule("get", "secrets")]})
    held = world()
    here = {"": Rules(()), "a": Rules([msgspec.convert(rule("get", "secrets"), Rule)])}
    missing = list(Holdings(held, ANN, here).lacks(roles.of_global_role(held, given, None).gains))
    assert [str(one.place) for one in missing] == ["namespace b of the management cluster"]
    remote = role("remote", inheritedNamespacedRules={"a": [rule("get", "pods")]})
    assert lacks(held, roles.of_global_role(held, remote, None)) == {
        "get pods in namespace a of every other cluster"
    }
    mine = world(remote, grb("remote", userName="ann"))
    assert lacks(mine, roles.of_global_role(mine, remote, None)) == set()


def test_a_role_that_makes_administrators_takes_one() -> None:
    everything = [rule("*", "*", "*"), {"nonResourceURLs": ["*"], "verbs": ["*"]}]
    boss = role("boss", rules=everything)
    held = world(boss)
    # all rights on the management cluster are not all rights in all clusters
    missing = lacks(held, roles.of_global_role(held, boss, None), here=rule("*", "*", "*"))
    assert missing == {
        "* * in every cluster",
        "* path * in every cluster",
        "* path * in the management cluster",
    }
    assert lacks(held, bindings.of_global_binding(held, grb("boss"), None))


def test_fleet_permissions_are_grants_too() -> None:
    fleet = {"resourceRules": [rule("*", "gitrepos", "fleet.cattle.io")], "workspaceVerbs": ["delete"]}
    given = role("fleet", inheritedFleetWorkspacePermissions=fleet)
    held = world()
    assert lacks(held, roles.of_global_role(held, given, None)) == {
        "* gitrepos in the workspaces of Fleet",
        "delete fleetworkspaces in the workspaces of Fleet",
    }
    mine = world(given, grb("fleet", userName="ann"))
    assert lacks(mine, roles.of_global_role(mine, given, None)) == set()


@pytest.mark.parametrize(
    ("named", "said"), [("gone", "was not found"), ("locked", "is locked"), ("p-pods", "not cluster")]
)
def test_what_no_global_role_may_inherit(named: str, said: str) -> None:
    held = world(P_PODS, template("locked", "cluster", locked=True))
    old = role("r")
    new = role("r", inheritedClusterRoles=[named])
    for former in (None, old):
        with pytest.raises(Objection, match=said):
            roles.of_global_role(held, new, former)
    # what it inherits already stays
    assert roles.of_global_role(held, role("r", inheritedClusterRoles=[named], displayName="x"), new) is FREE
    given = world(P_PODS, template("locked", "cluster", locked=True), new)
    with pytest.raises(Objection, match=said):
        bindings.of_global_binding(given, grb("r"), None)


def test_a_role_for_all_new_users_is_given_to_them() -> None:
    old, new = role("r", rules=[rule("get", "users", OURS)]), role("r", rules=[rule("get", "users", OURS)])
    new.new_user_default = True
    held = world(old)
    assert lacks(held, roles.of_global_role(held, new, old)) == {"get users in the management cluster"}
    assert roles.of_global_role(held, old, new) is FREE


def test_nobody_binds_a_global_role_that_is_not_there() -> None:
    with pytest.raises(Objection, match="restricted-admin was not found"):
        bindings.of_global_binding(world(), grb("restricted-admin"), None)


# Role templates

WIDER = template("pods", "cluster", rule("get list", "pods"), rule("get", "secrets"))
MINE = {"verbs": ["*"], "apiGroups": [""], "resources": ["*"]}


def test_a_template_gives_no_more_than_its_writer_holds_here() -> None:
    held = world()
    price = roles.of_template(held, SECRETS, None, None)
    assert lacks(held, price) == {"get secrets in the management cluster"}
    assert lacks(held, price, here=MINE) == set()
    inheriting = roles.of_template(
        world(SECRETS), template("x", "", roleTemplateNames=["secrets"]), None, None
    )
    assert lacks(held, inheriting) == {"get secrets in the management cluster"}


def test_an_edit_is_a_grant_to_everybody_who_has_it() -> None:
    upper = template("upper", "cluster", roleTemplateNames=["pods"])
    viewer = role("viewer", inheritedClusterRoles=["upper"])
    for bound, place in (
        (crtb("pods"), "cluster c-1"),
        (crtb("upper", "c-2"), "cluster c-2"),
        (viewer, "every other cluster"),
    ):
        held = world(PODS, upper, bound)
        missing = lacks(held, roles.of_template(held, WIDER, PODS, None), here=MINE)
        assert f"get secrets in {place}" in missing
        same = msgspec.structs.replace(PODS, display_name="Pods", locked=True)
        assert roles.of_template(held, same, PODS, None) is FREE


def test_an_edit_in_a_project_that_reaches_the_whole_cluster() -> None:
    wide = template("p-pods", "project", rule("get", "pods nodes"))
    held = world(P_PODS, prtb("p-pods"), prtb("p-pods", userName="ann"))
    missing = lacks(held, roles.of_template(held, wide, P_PODS, None), here=MINE)
    assert missing == {"get nodes in project p-1 of cluster c-1", "get nodes in cluster c-1"}


def test_a_template_that_bindings_wait_for_is_given_as_it_is_made() -> None:
    waits = world(crtb("pods"))
    assert "get pods in cluster c-1" in lacks(waits, roles.of_template(waits, PODS, None, None), here=MINE)
    hidden = template("pods", "", rule("get", "pods"))
    sleeping = world(hidden, crtb("pods"))
    woken = template("pods", "cluster", rule("get", "pods"))
    assert lacks(sleeping, roles.of_template(sleeping, woken, hidden, None), here=MINE) == {
        "get pods in cluster c-1"
    }


def test_a_template_that_turns_external_brings_the_clusters_own_role() -> None:
    held = world(PODS, crtb("pods"))
    external = template("pods", "cluster", external=True)
    native = (msgspec.convert(rule("*", "nodes"), PolicyRule),)
    assert "* nodes in cluster c-1" in lacks(held, roles.of_template(held, external, PODS, native), here=MINE)
    assert "* * in cluster c-1" in lacks(held, roles.of_template(held, external, PODS, None), here=MINE)


def test_external_rules_take_the_right_to_escalate() -> None:
    held = world()
    lowered = template("x", "cluster", external=True, externalRules=[rule("get", "pods")])
    missing = lacks(held, roles.of_template(held, lowered, None, ()), here=MINE)
    assert missing == {"escalate roletemplates in the management cluster"}


def test_a_default_for_creators_is_given_to_all_of_them() -> None:
    default = template("pods", "cluster", rule("get", "pods"), clusterCreatorDefault=True)
    held = world(PODS)
    assert lacks(held, roles.of_template(held, default, PODS, None), here=MINE) == {
        "get pods in every other cluster"
    }
    of_projects = template("p-pods", "project", rule("get", "pods"), projectCreatorDefault=True)
    held = world(P_PODS)
    assert lacks(held, roles.of_template(held, of_projects, P_PODS, None), here=MINE) == {
        "get pods in every project"
    }
    upper = template("upper", "project", projectCreatorDefault=True, roleTemplateNames=["p-pods"])
    held = world(P_PODS, upper)
    wider = template("p-pods", "project", rule("get", "secrets"))
    assert "get secrets in every project" in lacks(
        held, roles.of_template(held, wider, P_PODS, None), here=MINE
    )


@pytest.mark.parametrize("length", [1, 2, 3, 40, 3000])
def test_circles_of_any_length_are_found(length: int) -> None:
    chain = [
        template(f"t-{n}", "cluster", roleTemplateNames=[f"t-{n + 1}"] if n + 1 < length else [])
        for n in range(length)
    ]
    held = world(*chain)
    last = template(f"t-{length - 1}", "cluster", roleTemplateNames=["t-0"])
    with pytest.raises(Objection, match="circular inheritance is not allowed: t-"):
        roles.of_template(held, last, chain[-1], None)


def test_two_ways_to_one_template_are_no_circle() -> None:
    left, right = (template(name, "cluster", roleTemplateNames=["pods"]) for name in ("left", "right"))
    held = world(PODS, left, right)
    top = template("top", "cluster", roleTemplateNames=["left", "right", "gone"])
    assert roles.of_template(held, top, None, None).gains


def test_a_template_stays_while_others_inherit_from_it() -> None:
    upper = template("upper", "cluster", roleTemplateNames=["pods"])
    held = world(PODS, upper, role("viewer", inheritedClusterRoles=["pods"]))
    with pytest.raises(Objection, match="take it out of RoleTemplate upper, GlobalRole viewer first"):
        roles.check_removal(held, "pods")
    roles.check_removal(held, "upper")


# Built-in roles


def catalogue() -> list[Any]:
    found = []
    for one in builtin_roles():
        kind = one.kind.type
        found.append(read(kind, one.name, **one.fields, **one.choices))
    return found


CATALOGUE = catalogue()
CLUSTER_ROLES = [one.metadata.name for one in CATALOGUE if getattr(one, "context", "") == "cluster"]


@pytest.mark.parametrize("name", CLUSTER_ROLES)
def test_a_cluster_owner_gives_every_role_of_the_cluster(name: str) -> None:
    everything = [rule("*", "*", "*"), {"nonResourceURLs": ["*"], "verbs": ["*"]}]
    native = dict.fromkeys(("cluster-admin", "admin", "edit", "view"), everything)
    held = world(*CATALOGUE, crtb("cluster-owner", userName="ann"), native=native)
    assert lacks(held, bindings.of_cluster_binding(held, crtb(name), None)) == set()
    assert lacks(held, bindings.of_cluster_binding(held, crtb(name, "c-2"), None))


def test_an_administrator_gives_everything_everywhere() -> None:
    held = world(*CATALOGUE, PODS, grb("admin", userName="ann"))
    assert lacks(held, bindings.of_cluster_binding(held, crtb("cluster-owner", "c-2"), None)) == set()
    admin = bindings.of_global_binding(held, grb("admin"), None)
    assert lacks(held, admin, here=rule("*", "*", "*")) == {"* path * in the management cluster"}
    assert lacks(held, bindings.of_cluster_binding(held, crtb("cluster-owner", "local"), None)) == set()
