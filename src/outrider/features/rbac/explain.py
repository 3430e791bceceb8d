"""Which bindings grant something in a cluster, and through which roles. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from outrider.apis.management.group import GROUP
from outrider.features.rbac.global_roles import bound, is_admin
from outrider.features.rbac.names import Subject
from outrider.features.rbac.projection import promoted
from outrider.features.rbac.tree import Templates, as_rules
from outrider.features.rbac.world import Grant, World


class Question(NamedTuple):
    """A verb on a resource of a cluster; with `project`, in the namespaces of that project, else everywhere."""

    verb: str
    resource: str
    group: str = ""
    name: str = ""
    project: str = ""


class Reason(NamedTuple):
    """A binding that grants it, to whom, and the roles from the one that is bound to the one that says so."""

    binding: str
    subject: Subject
    roles: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.subject.kind} {self.subject.name}: {self.binding} gives {' → '.join(self.roles)}"


def reasons(world: World, cluster: str, question: Question) -> Iterator[Reason]:
    """All bindings that grant it. What people hold by the cluster's own bindings is not known here."""
    for binding, given, subject in bound(world):
        if is_admin(given):
            yield Reason(f"GlobalRoleBinding {binding.metadata.name}", subject, (given.metadata.name,))
    for grant in world.grants.get(cluster, []):
        if grant.project and question.project and grant.project != question.project:
            continue
        roles = _path(world.templates, grant, question, grant.template, ())
        if roles or (roles := _implied(world.templates, grant, question)):
            yield Reason(_binding(grant), grant.subject, roles)


def concerns(reason: Reason, user: str, groups: frozenset[str]) -> bool:
    """Whether a reason is one for this user."""
    subject = reason.subject
    return (
        subject.name == user if subject.kind == "User" else subject.kind == "Group" and subject.name in groups
    )


def _binding(grant: Grant) -> str:
    kind = "ProjectRoleTemplateBinding" if grant.project else "ClusterRoleTemplateBinding"
    return f"{kind} {grant.namespace}/{grant.name}"


def _path(
    templates: Templates, grant: Grant, question: Question, name: str, seen: tuple[str, ...]
) -> tuple[str, ...]:
    """The way down to a role that says so, the shortest first at each step; empty when none does."""
    template = templates.get(name)
    if template is None or name in seen:
        return ()
    inside = not grant.project or grant.project == question.project
    own = (
        templates.own_rules(template)
        if inside
        else ()
        if template.external
        else promoted(template.rules or ())
    )
    if as_rules(own).allows(question.verb, question.group, question.resource, question.name):
        return (*seen, name)
    for parent in templates.parents(template):
        if found := _path(templates, grant, question, parent.metadata.name, (*seen, name)):
            return found
    return ()


def _implied(templates: Templates, grant: Grant, question: Question) -> tuple[str, ...]:
    """What members of a project may do with its namespaces, whatever else their role says."""
    if not grant.project:
        return ()
    creates = templates.rules(grant.template).allows("create", "", "namespaces")
    if (question.group, question.resource) == ("", "namespaces"):
        here = grant.project == question.project
        if (here and (creates or question.verb == "get")) or (creates and question.verb == "create"):
            return (grant.template,)
    manages = (question.verb, question.group, question.resource) == ("manage-namespaces", GROUP, "projects")
    if manages and creates and not question.project and question.name == grant.project:
        return (grant.template,)
    return ()
