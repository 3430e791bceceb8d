"""A snapshot of all that is said about who may do what, and which of it counts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Final, NamedTuple

from outrider.apis.management.cluster_role_template_binding import ClusterRoleTemplateBinding
from outrider.apis.management.global_role import GlobalRole
from outrider.apis.management.global_role_binding import GlobalRoleBinding
from outrider.apis.management.project import Project
from outrider.apis.management.project_role_template_binding import (
    ProjectRoleBinding,
    ProjectRoleTemplateBinding,
)
from outrider.apis.management.role_template import CLUSTER, PROJECT, RoleTemplate
from outrider.features.rbac.names import Subject
from outrider.features.rbac.surroundings import Surroundings
from outrider.features.rbac.tree import Held, Templates

_LOCAL_PRINCIPAL: Final = "local://"

ProjectBinding = ProjectRoleTemplateBinding | ProjectRoleBinding
AnyBinding = GlobalRoleBinding | ClusterRoleTemplateBinding | ProjectBinding


class Refusal(Exception):
    """A binding grants nothing; the text says why and what to do."""


class Grant(NamedTuple):
    """A binding that counts: `project` is empty for one of the whole cluster."""

    kind: str
    namespace: str
    name: str
    cluster: str
    project: str
    template: str
    subject: Subject

    @property
    def project_id(self) -> str:
        """``<cluster>:<project>``."""
        return f"{self.cluster}:{self.project}"


class World:
    """Objects in their plain spelling (`apis/spelling.py`); those that are being deleted are left out.

    `clusters` are names. `projects` is by ``<cluster>:<project>``. `users` has
    user names by principal, `people` all names.
    `namespaces` are those of the management cluster, and `external` the rules of its own ClusterRoles.
    """

    def __init__(
        self,
        *,
        templates: Mapping[str, RoleTemplate],
        clusters: Iterable[str] = (),
        global_roles: Mapping[str, GlobalRole] | None = None,
        global_bindings: Sequence[GlobalRoleBinding] = (),
        cluster_bindings: Sequence[ClusterRoleTemplateBinding] = (),
        project_bindings: Sequence[ProjectRoleTemplateBinding] = (),
        aliases: Sequence[ProjectRoleBinding] = (),
        projects: Mapping[str, Project] | None = None,
        users: Mapping[str, str] | None = None,
        namespaces: Iterable[str] = (),
        external: Mapping[str, Held] | None = None,
        people: Iterable[str] = (),
        around: Surroundings | None = None,
    ) -> None:
        self.templates = Templates(templates, external or {})
        self.names = sorted(templates)
        self.clusters = frozenset(clusters)
        self.global_roles = global_roles or {}
        self.global_bindings = global_bindings
        self.cluster_bindings = cluster_bindings
        self.project_bindings = project_bindings
        self.aliases = aliases
        self.projects = projects or {}
        self.users = users or {}
        self.namespaces = frozenset(namespaces)
        self.people = sorted(people)
        self.around = around or Surroundings()

    @cached_property
    def grants(self) -> dict[str, list[Grant]]:
        """The bindings that count, by cluster."""
        found: dict[str, list[Grant]] = {}
        bindings: list[ClusterRoleTemplateBinding | ProjectBinding] = [
            *self.cluster_bindings,
            *self.project_bindings,
        ]
        for binding in bindings:
            try:
                grant = self.judge(binding)
            except Refusal:
                continue
            found.setdefault(grant.cluster, []).append(grant)
        return found

    @cached_property
    def projects_of(self) -> dict[str, list[Project]]:
        """The projects of each cluster."""
        found: dict[str, list[Project]] = {}
        for project in self.projects.values():
            found.setdefault(project.spec.cluster_name, []).append(project)
        return found

    @cached_property
    def needs_users(self) -> bool:
        """Whether any binding names a user by a principal alone."""
        return any(one.user_principal_name and not one.user_name for one in self.bindings)

    @cached_property
    def generations(self) -> dict[str, int]:
        """The generation of each binding and global role that was looked at, by uid."""
        known = (*self.bindings, *self.global_roles.values())
        return {one.metadata.uid: one.metadata.generation for one in known}

    @property
    def bindings(self) -> list[AnyBinding]:
        """All of them, whether they count or not."""
        return [*self.global_bindings, *self.cluster_bindings, *self.project_bindings, *self.aliases]

    def judge(self, binding: ClusterRoleTemplateBinding | ProjectBinding) -> Grant:
        """What the binding grants. Raises Refusal."""
        if isinstance(binding, ClusterRoleTemplateBinding):
            cluster, project, context, kind = binding.cluster_name, "", CLUSTER, "crtb"
            if cluster != binding.metadata.namespace:
                raise Refusal("clusterName and namespace must be the same value")
        else:
            cluster, project = self.project_of(binding)
            context, kind = PROJECT, "prtb"
        if cluster not in self.clusters:
            raise Refusal(f"specified cluster {cluster} not found")
        template = self.templates.get(binding.role_template_name)
        if template is None:
            raise Refusal(f"the referenced role template was not found: create {binding.role_template_name}")
        if template.context != context:
            raise Refusal(f"role template {binding.role_template_name} is not of context {context}")
        metadata, subject = binding.metadata, self.subject(binding)
        return Grant(
            kind, metadata.namespace, metadata.name, cluster, project, template.metadata.name, subject
        )

    def project_of(self, binding: ProjectBinding) -> tuple[str, str]:
        """Cluster and project that a binding speaks of. Raises Refusal."""
        cluster, colon, project = binding.project_name.partition(":")
        if colon:
            if binding.project_name not in self.projects:
                raise Refusal(f"project {binding.project_name} not found")
            return cluster, project
        named = [one for one in self.projects.values() if one.metadata.name == binding.project_name]
        here = [one for one in named if one.status.backing_namespace == binding.metadata.namespace]
        if len(here or named) != 1:
            raise Refusal(f"{len(named)} projects are called {binding.project_name}: write cluster:project")
        found = (here or named)[0]
        return found.spec.cluster_name, found.metadata.name

    def subject(self, binding: AnyBinding) -> Subject:
        """Whom the binding speaks of. Raises Refusal while that is not known."""
        group = binding.group_principal_name or getattr(binding, "group_name", "")
        if group:
            return Subject("Group", group)
        namespace, colon, account = getattr(binding, "service_account", "").partition(":")
        if colon:
            return Subject("ServiceAccount", account, namespace)
        user = binding.user_name or self._user(binding.user_principal_name)
        if not user:
            raise Refusal(f"no user has principal {binding.user_principal_name!r}")
        return Subject("User", user)

    def _user(self, principal: str) -> str:
        if principal.startswith(_LOCAL_PRINCIPAL):
            return principal.removeprefix(_LOCAL_PRINCIPAL)
        return self.users.get(principal, "")
