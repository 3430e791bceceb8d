"""What is computed grants what the contract says, and nothing else: random worlds against an oracle."""

from __future__ import annotations

import itertools
import os
from typing import Any

from hypothesis import HealthCheck, given, settings

from outrider.features.rbac.desired import cluster_entries
from outrider.features.rbac.explain import Question, concerns, reasons
from outrider.features.rbac.management import management_entries
from tests.unit.features.rbac import oracle
from tests.unit.features.rbac.evaluator import Cluster
from tests.unit.features.rbac.oracle import MANAGEMENT, Ask, Person
from tests.unit.features.rbac.worlds import (
    CLUSTERS,
    GROUPS,
    NAMESPACES,
    NATIVE,
    PROJECTS,
    USERS,
    objects,
    worlds,
)

PEOPLE = [Person(USERS[0], ()), Person(USERS[1], GROUPS[:1]), Person("eve", GROUPS), Person("nobody", ())]
INSIDE = [
    Ask(verb, group, resource, namespace, name)
    for namespace in NAMESPACES
    for verb, group, resource, name in [
        ("get", "", "pods", "x"),
        ("delete", "", "secrets", "y"),
        ("create", "apps", "pods", ""),
        ("get", "", "namespaces", namespace),
        ("delete", "", "namespaces", namespace),
    ]
]
WIDE = [
    Ask("get", "", "nodes", "", "x"),
    Ask("delete", "", "nodes", "", "y"),
    Ask("create", "", "namespaces"),
    Ask("get", "", "pods"),
    *(Ask("manage-namespaces", MANAGEMENT, "projects", "", name) for name in PROJECTS),
]
SETTINGS = settings(
    max_examples=int(os.environ.get("OUTRIDER_EXAMPLES", "80")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    database=None,
)


def projects_of(world: dict[str, Any], cluster: str) -> dict[str, str]:
    return {
        namespace: f"{cluster}:{project}"
        for (where, namespace), project in world["namespaces"].items()
        if where == cluster and project
    }


@SETTINGS
@given(world=worlds())
def test_clusters(world: dict[str, Any]) -> None:
    snapshot = objects(world)
    for cluster in CLUSTERS[1:]:
        entries = cluster_entries(snapshot, cluster)
        made = Cluster(entries, projects=projects_of(world, cluster), native=NATIVE)
        for person, ask in itertools.product(PEOPLE, [*INSIDE, *WIDE]):
            expected = oracle.may(world, person, cluster, ask)
            assert made.allows(person.user, person.groups, ask) == expected, (cluster, person, ask, expected)


@SETTINGS
@given(world=worlds())
def test_the_management_cluster(world: dict[str, Any]) -> None:
    entries = management_entries(objects(world))
    made = Cluster(entries, projects=projects_of(world, "local"), native=NATIVE)
    local = {one for one in PEOPLE if oracle.cluster_roles(world, one, "local")}
    for person, cluster in itertools.product(PEOPLE, (*CLUSTERS, "c-gone")):
        reach = Ask("get", MANAGEMENT, "clusters", "", cluster)
        if person not in local and not oracle.project_roles(world, person, "local"):
            # Otherwise roles in this cluster itself may allow it, too
            assert made.allows(person.user, person.groups, reach) == oracle.sees(world, person, cluster)
            own = Ask("own", MANAGEMENT, "clusters", "", cluster)
            assert made.allows(person.user, person.groups, own) == oracle.owns(world, person, cluster)
            for ask in (
                Ask("get", MANAGEMENT, "projects", cluster, "other"),
                Ask("get", MANAGEMENT, "nodes", cluster, "x"),
            ):
                expected = oracle.may_here(world, person, cluster, "", ask)
                assert made.allows(person.user, person.groups, ask) == expected, (cluster, person, ask)
            for project, (verb, group, resource) in itertools.product(
                PROJECTS,
                [("get", MANAGEMENT, "projectroletemplatebindings"), ("delete", "", "secrets")],
            ):
                ask = Ask(verb, group, resource, f"{cluster}-{project}", "x")
                expected = oracle.may_here(world, person, cluster, project, ask)
                assert made.allows(person.user, person.groups, ask) == expected, (cluster, person, ask)


@SETTINGS
@given(world=worlds())
def test_every_replica_computes_the_same(world: dict[str, Any]) -> None:
    backwards = world | {name: list(reversed(world[name])) for name in ("crtbs", "prtbs")}
    # Names of bindings are by position: what remains must not depend on the order of anything else
    first, second = objects(world), objects(world)
    assert cluster_entries(first, "c-1") == cluster_entries(second, "c-1")
    for person, ask in itertools.product(PEOPLE, INSIDE[:6]):
        made = Cluster(
            cluster_entries(objects(backwards), "c-1"), projects=projects_of(world, "c-1"), native=NATIVE
        )
        assert made.allows(person.user, person.groups, ask) == oracle.may(world, person, "c-1", ask)


@SETTINGS
@given(world=worlds())
def test_there_is_a_reason_for_what_is_allowed_and_for_nothing_else(world: dict[str, Any]) -> None:
    snapshot = objects(world)
    for cluster, ask in itertools.product(CLUSTERS[1:], [*INSIDE, *WIDE]):
        project = world["namespaces"].get((cluster, ask.namespace), "")
        if ask.namespace and not project:
            continue
        question = Question(ask.verb, ask.resource, group=ask.group, name=ask.name, project=project)
        found = list(reasons(snapshot, cluster, question))
        for person in PEOPLE:
            mine = [one for one in found if concerns(one, person.user, frozenset(person.groups))]
            assert bool(mine) == oracle.may(world, person, cluster, ask), (cluster, person, ask, mine)
