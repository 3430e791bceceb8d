"""Who may do what, said a second time: an oracle that knows nothing of the code that it judges.

It works on the plain words that a random world is made of (see `worlds.py`), straight from the contract: no
ClusterRoles, no aggregation, no bindings, only people, templates and projects.
"""

from __future__ import annotations

from typing import Any, NamedTuple

Rule = dict[str, Any]
World = dict[str, Any]

WIDE = {("", "nodes"), ("", "persistentvolumes"), ("storage.k8s.io", "storageclasses")}
MANAGEMENT = "management.cattle.io"
HERE_CLUSTER = {
    (MANAGEMENT, "projects"),
    (MANAGEMENT, "clusterroletemplatebindings"),
    (MANAGEMENT, "nodes"),
}
HERE_PROJECT = {(MANAGEMENT, "projectroletemplatebindings"), ("", "secrets")}


class Person(NamedTuple):
    user: str
    groups: tuple[str, ...]


class Ask(NamedTuple):
    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""


def says(rule: Rule, ask: Ask) -> bool:
    return (
        bool({ask.verb, "*"} & set(rule["verbs"]))
        and bool({ask.group, "*"} & set(rule["apiGroups"]))
        and bool({ask.resource, "*"} & set(rule["resources"]))
        and (not rule.get("resourceNames") or ask.name in rule["resourceNames"])
    )


def tree(world: World, name: str, seen: frozenset[str] = frozenset()) -> list[Rule]:
    """All rules of a template; those of external ones are the native roles'."""
    template = world["templates"].get(name)
    if template is None or name in seen:
        return []
    own = world["native"].get(name, []) if template["external"] else template["rules"]
    more = [rule for parent in template["inherits"] for rule in tree(world, parent, seen | {name})]
    return [*own, *more]


def visible(world: World, name: str, seen: frozenset[str] = frozenset()) -> list[Rule]:
    """The same without external ones."""
    template = world["templates"].get(name)
    if template is None or name in seen:
        return []
    own = [] if template["external"] else template["rules"]
    more = [rule for parent in template["inherits"] for rule in visible(world, parent, seen | {name})]
    return [*own, *more]


def concerns(binding: dict[str, Any], person: Person) -> bool:
    kind, name = binding["subject"]
    return name == person.user if kind == "User" else name in person.groups


def cluster_roles(world: World, person: Person, cluster: str) -> list[str]:
    return [
        one["template"]
        for one in world["crtbs"]
        if one["cluster"] == cluster
        and cluster in world["clusters"]
        and concerns(one, person)
        and world["templates"].get(one["template"], {}).get("context") == "cluster"
    ]


def project_roles(world: World, person: Person, cluster: str) -> list[tuple[str, str]]:
    return [
        (one["project"], one["template"])
        for one in world["prtbs"]
        if one["cluster"] == cluster
        and (cluster, one["project"]) in world["projects"]
        and cluster in world["clusters"]
        and concerns(one, person)
        and world["templates"].get(one["template"], {}).get("context") == "project"
    ]


def makes_namespaces(world: World, template: str) -> bool:
    ask = Ask("create", "", "namespaces")
    return any(says(rule, ask) for rule in tree(world, template) if not rule.get("resourceNames"))


def is_administrator(world: World, person: Person) -> bool:
    return any(concerns(one, person) and one["role"] == "admin" for one in world["grbs"])


def may(world: World, person: Person, cluster: str, ask: Ask) -> bool:
    """In a cluster. `ask.namespace` is one of `world["namespaces"]`, or empty for what is cluster-wide."""
    if is_administrator(world, person):
        return True
    if any(says(rule, ask) for name in cluster_roles(world, person, cluster) for rule in tree(world, name)):
        return True
    for project, name in project_roles(world, person, cluster):
        inside = ask.namespace and world["namespaces"].get((cluster, ask.namespace)) == project
        if inside and any(says(rule, ask) for rule in tree(world, name)):
            return True
        itself = inside and (ask.group, ask.resource) == ("", "namespaces")
        if itself and (makes_namespaces(world, name) or ask.verb == "get"):
            return True
        if ask.namespace:
            continue
        if makes_namespaces(world, name) and ask[:3] == ("create", "", "namespaces"):
            return True
        if (ask.group, ask.resource) in WIDE and any(
            says(rule, ask) and ask.resource in rule["resources"] for rule in visible(world, name)
        ):
            return True
        if makes_namespaces(world, name) and ask == Ask(
            "manage-namespaces", MANAGEMENT, "projects", "", project
        ):
            return True
    return False


def sees(world: World, person: Person, cluster: str) -> bool:
    """Whether the cluster may be reached, if it is there."""
    return is_administrator(world, person) or bool(
        cluster_roles(world, person, cluster) or project_roles(world, person, cluster)
    )


def owns(world: World, person: Person, cluster: str) -> bool:
    ask = Ask("own", MANAGEMENT, "clusters", "", cluster)
    return is_administrator(world, person) or any(
        any(says(rule, ask) for rule in tree(world, name)) for name in cluster_roles(world, person, cluster)
    )


def may_here(world: World, person: Person, cluster: str, project: str, ask: Ask) -> bool:
    """In the management cluster, in the namespace of a cluster, or of a project when there is one."""
    if is_administrator(world, person):
        return True
    resources = HERE_PROJECT if project else HERE_CLUSTER
    if (ask.group, ask.resource) not in resources:
        return False
    names = cluster_roles(world, person, cluster)
    if project:
        names += [name for where, name in project_roles(world, person, cluster) if where == project]
    return any(
        says(rule, ask) for name in names for rule in tree(world, name) if not rule.get("resourceNames")
    )
