"""What must be held by those who write roles: all that these give, to everybody who has them. Pure (§3.13).

Objects are in their plain spelling (`apis/spelling.py`); `old` is None for a new one.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Final

from outrider.apis.management.global_role import GlobalRole
from outrider.apis.management.group import GROUP
from outrider.apis.management.role_template import CLUSTER, RoleTemplate
from outrider.features.rbac import gains
from outrider.features.rbac.escalation import FREE, Objection, Price, Right, changed, check_template
from outrider.features.rbac.gains import EVERYWHERE, HERE, REMOTE, Gain, Place
from outrider.features.rbac.names import Subject
from outrider.features.rbac.tree import Held, Templates
from outrider.features.rbac.world import Grant, World
from outrider.kube.rules import Rule

_TEMPLATE: Final = ("rules", "role_template_names", "external", "external_rules", "context")
_TEMPLATE_FLAGS: Final = ("cluster_creator_default", "project_creator_default")
_GLOBAL: Final = (
    "rules",
    "inherited_cluster_roles",
    "namespaced_rules",
    "inherited_namespaced_rules",
    "inherited_fleet_workspace_permissions",
)
_CREATORS: Final = Grant("", "", "", EVERYWHERE, EVERYWHERE, "", Subject("User", ""))
"""Stands for the bindings that creators of projects are given."""


def of_global_role(world: World, new: GlobalRole, old: GlobalRole | None) -> Price:
    """For what a global role says. Raises Objection."""
    fresh = new.new_user_default and not (old and old.new_user_default)
    if old is not None and not fresh and not changed(old, new, _GLOBAL):
        return FREE
    before = (old.inherited_cluster_roles if old else None) or ()
    for name in new.inherited_cluster_roles or ():
        if name not in before:
            check_template(world.templates, name, CLUSTER)
    given = gains.of_global_role(world.templates, new, world.templates.feared_rules)
    return Price(tuple(given), Right("escalate", "globalroles", new.metadata.name))


def of_template(world: World, new: RoleTemplate, old: RoleTemplate | None, native: Held | None) -> Price:
    """For what a role template says, to everybody who has it. `native` are the rules of its ClusterRole here, if any.

    Raises Objection.
    """
    fresh = any(getattr(new, flag) and not (old and getattr(old, flag)) for flag in _TEMPLATE_FLAGS)
    if old is not None and not fresh and not changed(old, new, _TEMPLATE):
        return FREE
    name, after = new.metadata.name, _with(world, new, native)
    if way := after.templates.cycle(name):
        raise Objection(f"circular inheritance is not allowed: {' → '.join(way)}; remove one of these")
    given = [Gain(Place(HERE), after.templates.feared_rules(name)), *_where_it_is_used(after, new)]
    right = Right("escalate", "roletemplates", name)
    if new.external_rules and (old is None or old.external_rules != new.external_rules):
        # They lower what others must hold to give this role
        rule = Rule(
            verbs=(right.verb,), api_groups=(GROUP,), resources=(right.resource,), resource_names=(name,)
        )
        given.append(Gain(Place(HERE), (rule,)))
    return Price(tuple(given), right)


def check_removal(world: World, template: str) -> None:
    """Whether a role template may go. Raises Objection while others inherit from it."""
    users = [
        f"RoleTemplate {name}"
        for name in world.names
        if (one := world.templates.get(name)) and template in (one.role_template_names or ())
    ]
    users += [
        f"GlobalRole {name}"
        for name, role in sorted(world.global_roles.items())
        if template in (role.inherited_cluster_roles or ())
    ]
    if users:
        raise Objection(
            f"role template {template} cannot be deleted while others inherit from it: take it out of"
            f" {', '.join(users[:10])}{' and others' if len(users) > 10 else ''} first"
        )


def _where_it_is_used(after: World, template: RoleTemplate) -> Iterator[Gain]:
    name, templates = template.metadata.name, after.templates
    told = templates.feared_rules
    for cluster in sorted(after.grants):
        for grant in after.grants[cluster]:
            if _inherits(templates, grant.template, name):
                yield from gains.of_part(templates, grant, name, told)
    for role in after.global_roles.values():
        if any(_inherits(templates, one, name) for one in role.inherited_cluster_roles or ()):
            yield from gains.in_cluster(templates, name, REMOTE, told)
    for default in map(templates.get, after.names):
        if default is None or not _inherits(templates, default.metadata.name, name):
            continue
        if default.cluster_creator_default:
            yield from gains.in_cluster(templates, name, REMOTE, told)
        if default.project_creator_default:
            grant = _CREATORS._replace(template=default.metadata.name)
            yield from gains.of_part(templates, grant, name, told)


def _inherits(templates: Templates, name: str, from_: str) -> bool:
    return any(one.metadata.name == from_ for one in templates.closure(name))


def _with(world: World, template: RoleTemplate, native: Held | None) -> World:
    """The world as it would be with this template."""
    after = copy.copy(world)
    after.templates = world.templates.having(template, native)
    after.names = sorted({*world.names, template.metadata.name})
    after.__dict__.pop("grants", None)  # computed anew: which bindings count may change with a context
    return after
