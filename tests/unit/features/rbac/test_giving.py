"""Whatever binding somebody is let make, it lets nobody do what they could not: random worlds, and an oracle.

The oracle (`oracle.py`) imports nothing of the code that it judges: it says what the giver and the receiver may do.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from outrider.features.rbac import escalation_bindings as bindings
from outrider.features.rbac.escalation import Objection
from outrider.features.rbac.holdings import Holdings
from outrider.kube.identity import Identity
from outrider.kube.rules import Rules
from tests.unit.features.rbac import oracle
from tests.unit.features.rbac.oracle import MANAGEMENT, Ask, Person
from tests.unit.features.rbac.worlds import CLUSTERS, GROUPS, NAMESPACES, PROJECTS, TEMPLATES, objects, worlds

GIVER = Person("ann", GROUPS[:1])
EVE = Person("eve", ())
INSIDE = [
    Ask(verb, group, resource, namespace, "x")
    for namespace in NAMESPACES
    for verb, group, resource in [
        ("get", "", "pods"),
        ("delete", "", "secrets"),
        ("create", "apps", "pods"),
        # not `get namespaces`: every member of a project may see its own, whatever their role says
        ("delete", "", "namespaces"),
    ]
]
WIDE = [
    Ask("get", "", "nodes", "", "x"),
    Ask("delete", "", "nodes", "", "y"),
    Ask("create", "", "namespaces"),
    Ask("get", "", "pods"),
    *(Ask("manage-namespaces", MANAGEMENT, "projects", "", name) for name in PROJECTS),
]
HERE = [
    Ask("get", MANAGEMENT, "projects", "", "other"),
    Ask("get", MANAGEMENT, "projectroletemplatebindings", "", "x"),
    Ask("delete", "", "secrets", "", "x"),
]
given_away = st.fixed_dictionaries(
    {
        "cluster": st.sampled_from(CLUSTERS[1:]),
        "project": st.sampled_from(["", *PROJECTS]),
        "template": st.sampled_from(TEMPLATES),
        "subject": st.just(("User", EVE.user)),
    }
)
SETTINGS = settings(
    max_examples=400, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
)


def is_let(world: dict[str, Any], offer: dict[str, Any]) -> bool:
    """Whether the giver may make the binding."""
    kind = "prtbs" if offer["project"] else "crtbs"
    with_it = objects({**world, "prtbs": [], "crtbs": [], "grbs": [], kind: [offer]})
    snapshot = objects(world)
    try:
        if offer["project"]:
            price = bindings.of_project_binding(snapshot, with_it.project_bindings[0], None)
        else:
            price = bindings.of_cluster_binding(snapshot, with_it.cluster_bindings[0], None)
    except Objection:
        return False
    held = Holdings(snapshot, Identity(GIVER.user, GIVER.groups), {"": Rules(())})
    return not list(held.lacks(price.gains))


def gained(world: dict[str, Any], offer: dict[str, Any]) -> list[tuple[Any, ...]]:
    """What the receiver may do with it, and the giver not."""
    kind = "prtbs" if offer["project"] else "crtbs"
    after = {**world, kind: [*world[kind], offer]}
    cluster = offer["cluster"]
    found: list[tuple[Any, ...]] = [
        (cluster, ask)
        for ask in [*INSIDE, *WIDE]
        if oracle.may(after, EVE, cluster, ask) and not oracle.may(world, GIVER, cluster, ask)
    ]
    found += [
        ("here", project, ask)
        for project, ask in itertools.product(("", *PROJECTS), HERE)
        if oracle.may_here(after, EVE, cluster, project, ask)
        and not oracle.may_here(world, GIVER, cluster, project, ask)
    ]
    if oracle.sees(after, EVE, cluster) and not oracle.sees(world, GIVER, cluster):
        found.append(("sees", cluster))
    if oracle.owns(after, EVE, cluster) and not oracle.owns(world, GIVER, cluster):
        found.append(("owns", cluster))
    return found


@SETTINGS
@given(world=worlds(), offer=given_away)
def test_nobody_gives_what_they_do_not_hold(world: dict[str, Any], offer: dict[str, Any]) -> None:
    let = is_let(world, offer)
    event("let" if let else "refused")
    if let:
        assert gained(world, offer) == []


@SETTINGS
@given(world=worlds(), offer=given_away)
def test_people_with_the_same_binding_can_give_it(world: dict[str, Any], offer: dict[str, Any]) -> None:
    kind, context = ("prtbs", "project") if offer["project"] else ("crtbs", "cluster")
    if world["templates"][offer["template"]]["context"] != context:
        return
    mine = {**offer, "subject": ("Group", GROUPS[0])}
    assert is_let({**world, kind: [*world[kind], mine]}, offer)


@pytest.mark.parametrize("project", ["", PROJECTS[0]])
def test_the_property_can_fail(project: str) -> None:
    """Somebody without anything, and a template that gives something: the oracle sees the difference."""
    template = {
        "context": "project" if project else "cluster",
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
        "inherits": [],
        "external": False,
    }
    empty = {**template, "rules": []}
    world = {
        "templates": {**dict.fromkeys(TEMPLATES, empty), "t-a": template},
        "native": {},
        "clusters": CLUSTERS,
        "projects": [(c, p) for c in CLUSTERS for p in PROJECTS],
        "namespaces": {(c, ns): PROJECTS[0] for c in CLUSTERS for ns in NAMESPACES},
        "crtbs": [],
        "prtbs": [],
        "grbs": [],
    }
    offer = {"cluster": "c-1", "project": project, "template": "t-a", "subject": ("User", EVE.user)}
    assert gained(world, offer)
    assert not is_let(world, offer)
