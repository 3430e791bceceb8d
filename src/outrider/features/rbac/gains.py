"""What role templates, and global roles, give to those who are bound to them; and where. Pure.

The same functions say what somebody would be given and what the giver holds, so that people with the same binding
can always give each other what they have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from outrider.apis.management.fleet_workspace import FLEET_WORKSPACES
from outrider.apis.management.global_role import GlobalRole
from outrider.apis.management.group import GROUP
from outrider.apis.management.policy_rule import PolicyRule
from outrider.features.rbac.global_roles import is_admin
from outrider.features.rbac.projection import promoted
from outrider.features.rbac.tree import EVERYTHING, Templates, as_rules
from outrider.features.rbac.world import Grant
from outrider.kube.rules import Rule, Rules

HERE: Final = ""
"""The management cluster, as far as its own objects are concerned."""
EVERYWHERE: Final = "*"
"""Every cluster."""
REMOTE: Final = "+"
"""Every cluster but the management cluster itself."""
WORKSPACES: Final = "fleet"
"""The workspaces of Fleet but the local one."""

Told = Callable[[str], Iterable[Rule]]


class Place(NamedTuple):
    """Where rules hold: in a cluster, in the namespaces of one of its projects, or in one namespace."""

    cluster: str
    project: str = ""
    namespace: str = ""

    def __str__(self) -> str:
        of = {HERE: "the management cluster", EVERYWHERE: "every cluster", REMOTE: "every other cluster"}
        cluster = of.get(self.cluster, f"cluster {self.cluster}")
        if self.cluster == WORKSPACES:
            return "the workspaces of Fleet"
        if self.project == EVERYWHERE:
            return "every project"
        if self.project:
            return f"project {self.project} of {cluster}"
        return f"namespace {self.namespace} of {cluster}" if self.namespace else cluster


class Gain(NamedTuple):
    """Rules, and where they hold."""

    place: Place
    rules: tuple[Rule, ...]


def of_binding(templates: Templates, name: str, cluster: str, project: str, told: Told) -> Iterator[Gain]:
    """What a binding gives, beginning with the way into the cluster. `told` says what a template allows.

    That members see the names of their project and of its namespaces is no gain: who may give a role in it sees them.
    """
    yield Gain(Place(cluster), (_on("clusters", cluster, "get"),))
    if project:
        yield from in_project(templates, name, cluster, project, told)
    else:
        yield from in_cluster(templates, name, cluster, told)


def of_part(templates: Templates, grant: Grant, part: str, told: Told) -> Iterator[Gain]:
    """What one template adds to a binding of another one, which inherits from it, or to one of its own."""
    if not grant.project:
        return in_cluster(templates, part, grant.cluster, told)
    whole = Rules(told(grant.template))
    return in_project(templates, part, grant.cluster, grant.project, told, whole=whole)


def in_cluster(templates: Templates, name: str, cluster: str, told: Told) -> Iterator[Gain]:
    """What a template gives that is bound in a cluster."""
    yield Gain(Place(cluster), tuple(told(name)))
    if templates.owns_cluster(name, cluster):
        yield Gain(Place(cluster), (_on("clusters", cluster, "*"),))


def in_project(
    templates: Templates, name: str, cluster: str, project: str, told: Told, *, whole: Rules | None = None
) -> Iterator[Gain]:
    """What a template gives that is bound in a project: some of it holds in the whole cluster.

    `whole` are the rules of the bound template, where this is another one that it inherits from.
    """
    inside, wide = Place(cluster, project), Place(cluster)
    rules = tuple(told(name))
    yield Gain(inside, rules)
    yield Gain(wide, tuple(as_rules(_promoted(templates, name))))
    if templates.owns_project(name, project):
        yield Gain(inside, (_on("projects", project, "*"),))
    own, all_ = Rules(rules), whole or Rules(rules)
    creates = own.allows("create", "", "namespaces")
    if creates:
        yield Gain(inside, (_of_namespaces("*"),))
        yield Gain(wide, (_of_namespaces("create"), _on("projects", project, "manage-namespaces")))
    # Who may make namespaces and set pod security may do the latter by a rule that holds in the whole cluster
    psa = "updatepsa", GROUP, "projects", project
    both = all_.allows("create", "", "namespaces") and all_.allows(*psa)
    if both and (creates or own.allows(*psa)):
        yield Gain(wide, (_on("projects", project, "updatepsa"),))


def of_global_role(templates: Templates, role: GlobalRole, told: Told) -> Iterator[Gain]:
    """What a global role gives."""
    if is_admin(role):
        yield Gain(Place(EVERYWHERE), EVERYTHING)
    yield Gain(Place(HERE), plain(role.rules))
    for namespace, rules in (role.namespaced_rules or {}).items():
        yield Gain(Place(HERE, namespace=namespace), plain(rules))
    for namespace, rules in (role.inherited_namespaced_rules or {}).items():
        yield Gain(Place(REMOTE, namespace=namespace), plain(rules))
    for name in dict.fromkeys(role.inherited_cluster_roles or ()):
        yield from of_binding(templates, name, REMOTE, "", told)
    if (fleet := role.inherited_fleet_workspace_permissions) is not None:
        yield Gain(Place(WORKSPACES), plain(fleet.resource_rules))
        verbs = fleet.workspace_verbs or ()
        kind = FLEET_WORKSPACES
        rule = Rule(verbs=verbs, api_groups=(kind.group,), resources=(kind.plural,))
        yield Gain(Place(WORKSPACES), (rule,))


def plain(rules: Iterable[PolicyRule] | None) -> tuple[Rule, ...]:
    """Rules as they are compared."""
    return tuple(as_rules(rules or ()))


def _promoted(templates: Templates, name: str) -> Iterator[PolicyRule]:
    for one in templates.closure(name):
        if not one.external:
            yield from promoted(one.rules or ())


def _of_namespaces(verb: str) -> Rule:
    return Rule(verbs=(verb,), api_groups=("",), resources=("namespaces",))


def _on(resource: str, name: str, verb: str) -> Rule:
    everyone = name in (EVERYWHERE, REMOTE)
    names = () if everyone else (name,)
    return Rule(verbs=(verb,), api_groups=(GROUP,), resources=(resource,), resource_names=names)
