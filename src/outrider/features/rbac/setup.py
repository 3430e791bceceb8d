"""Builds the feature: the only place that constructs its parts and registers them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from outrider.apis.admission import Guard
from outrider.apis.management.binding_status import Binding
from outrider.apis.management.cluster import Cluster
from outrider.apis.management.cluster_role_template_binding import CLUSTER_ROLE_TEMPLATE_BINDINGS
from outrider.apis.management.fleet_workspace import FLEET_WORKSPACES
from outrider.apis.management.global_role import GLOBAL_ROLES
from outrider.apis.management.global_role_binding import GLOBAL_ROLE_BINDINGS
from outrider.apis.management.group import LOCAL_CLUSTER
from outrider.apis.management.project import PROJECTS, Project
from outrider.apis.management.project_role_template_binding import (
    PROJECT_ROLE_BINDINGS,
    PROJECT_ROLE_TEMPLATE_BINDINGS,
    ProjectRoleTemplateBinding,
)
from outrider.apis.management.registration_token import REGISTRATION_TOKENS
from outrider.apis.management.role_template import ROLE_TEMPLATES
from outrider.apis.management.setting import SETTINGS
from outrider.apis.management.user import USERS
from outrider.features.rbac.conditions import OF_GLOBAL_ROLES, OF_TEMPLATES, Words
from outrider.features.rbac.contributor import RoleObjects, project_cluster
from outrider.features.rbac.door import RoleGuards, rules_of
from outrider.features.rbac.effects import Effects
from outrider.features.rbac.reconcile_bindings import (
    BindingReconciler,
    ClustersOf,
    cluster_of,
    cluster_of_project,
    clusters_of_role,
    is_pending,
    same_reports,
)
from outrider.features.rbac.reconcile_defaults import DefaultsReconciler, same_start
from outrider.features.rbac.reconcile_global_roles import GlobalRoleReconciler
from outrider.features.rbac.reconcile_global_roles import is_pending as is_pending_role
from outrider.features.rbac.reconcile_isolation import IsolationReconciler, same_isolation
from outrider.features.rbac.reconcile_projects import ProjectReconciler
from outrider.features.rbac.reconcile_usage import UsageReconciler, same_usage
from outrider.features.rbac.reconcile_users import UserReconciler
from outrider.features.rbac.snapshots import NAMESPACE_NAMES, NATIVE_ROLES, Copies, Snapshots
from outrider.features.rbac.surroundings import NODE_NETWORKS
from outrider.kit.clock import Clock
from outrider.kube.client import Client
from outrider.kube.meta import ObjectKey
from outrider.runtime.controller import Controller, Source
from outrider.runtime.informer import Event, Informer
from outrider.runtime.manager import Manager

B = TypeVar("B", bound=Binding)
_CLUSTER = "cluster"


class RbacFeature:
    """What others get of this feature: what it wants in clusters (`objects`), and its guards at the door."""

    def __init__(self, objects: RoleObjects, guards: list[Guard]) -> None:
        self.objects = objects
        self.guards = guards


def build(client: Client, manager: Manager, clusters: Informer[Cluster], clock: Clock) -> RbacFeature:
    """Construct the feature and register its informers and controllers with the manager."""
    copies = _copies(client, clusters)
    for informer in copies.all():
        manager.add_informer(informer)
    snapshots = Snapshots(copies)
    objects = RoleObjects(copies, snapshots)
    effects = Effects(clusters, objects)

    def world() -> Any:
        return snapshots.world

    def projects(cluster: Cluster) -> Iterable[Project]:
        return copies.projects.list(cluster.metadata.name)

    def bindings(
        name: str,
        informer: Informer[B],
        clusters_of: ClustersOf[B],
        words: Words,
        concerned: Callable[[Cluster], Iterable[B]],
    ) -> None:
        reconciler = BindingReconciler(
            client,
            informer.kind,
            informer,
            world=world,
            clusters_of=clusters_of,
            effects=effects,
            words=words,
            clock=clock,
        )
        reports = _When(clusters, same_reports, lambda one: [b.key for b in concerned(one) if is_pending(b)])
        manager.add_controller(
            Controller(name, reconciler, workers=4, sources=[Source(informer), reports], clock=clock)
        )

    bindings(
        "global role bindings",
        copies.global_bindings,
        clusters_of_role,
        OF_GLOBAL_ROLES,
        lambda _: copies.global_bindings.list(),
    )
    bindings(
        "cluster role bindings",
        copies.cluster_bindings,
        cluster_of,
        OF_TEMPLATES,
        lambda one: copies.cluster_bindings.list(_place(one)),
    )
    bindings(
        "project role bindings",
        copies.project_bindings,
        cluster_of_project,
        OF_TEMPLATES,
        lambda one: _in_projects(copies.project_bindings, one),
    )
    bindings(
        "aliases of project role bindings",
        copies.aliases,
        cluster_of_project,
        OF_TEMPLATES,
        lambda _: copies.aliases.list(),
    )
    manager.add_controller(
        Controller(
            "users",
            UserReconciler(client, copies.users, world),
            workers=2,
            sources=[Source(copies.users)],
            clock=clock,
        )
    )
    manager.add_controller(
        Controller(
            "projects",
            ProjectReconciler(client, copies.projects, world, effects, clock),
            workers=4,
            sources=[
                Source(copies.projects),
                _When(clusters, same_usage, lambda one: [p.key for p in projects(one) if p.is_deleting]),
            ],
            clock=clock,
        )
    )
    manager.add_controller(
        Controller(
            "defaults of clusters",
            DefaultsReconciler(client, clusters, world, clock),
            workers=2,
            sources=[_When(clusters, same_start, lambda one: [one.key])],
            clock=clock,
        )
    )
    manager.add_controller(
        Controller(
            "usage of projects",
            UsageReconciler(client, copies.projects, effects, clock),
            workers=2,
            sources=[
                Source(copies.projects),
                _When(clusters, same_usage, lambda one: [p.key for p in projects(one)]),
            ],
            clock=clock,
        )
    )
    manager.add_controller(
        Controller(
            "isolation of projects",
            IsolationReconciler(client, clusters, effects),
            workers=1,
            sources=[_When(clusters, same_isolation, lambda one: [one.key])],
            clock=clock,
        )
    )
    roles = GlobalRoleReconciler(client, copies.global_roles, world=world, effects=effects, clock=clock)
    waiting = _When(
        clusters,
        same_reports,
        lambda _: [one.key for one in copies.global_roles.list() if is_pending_role(one)],
    )
    manager.add_controller(
        Controller(
            "global roles", roles, workers=2, sources=[Source(copies.global_roles), waiting], clock=clock
        )
    )
    door = RoleGuards(client, world, lambda name: rules_of(copies.native_roles.get(ObjectKey("", name))))
    return RbacFeature(objects, door.guards())


def _copies(client: Client, clusters: Informer[Cluster]) -> Copies:
    return Copies(
        clusters=clusters,
        templates=Informer(client, ROLE_TEMPLATES),
        global_roles=Informer(client, GLOBAL_ROLES),
        global_bindings=Informer(client, GLOBAL_ROLE_BINDINGS),
        cluster_bindings=Informer(client, CLUSTER_ROLE_TEMPLATE_BINDINGS),
        project_bindings=Informer(
            client,
            PROJECT_ROLE_TEMPLATE_BINDINGS,
            indexes={_CLUSTER: lambda one: (project_cluster(one),)},
        ),
        aliases=Informer(client, PROJECT_ROLE_BINDINGS),
        projects=Informer(client, PROJECTS),
        users=Informer(client, USERS),
        namespaces=Informer(client, NAMESPACE_NAMES),
        native_roles=Informer(client, NATIVE_ROLES),
        nodes=Informer(client, NODE_NETWORKS),
        settings=Informer(client, SETTINGS),
        workspaces=Informer(client, FLEET_WORKSPACES),
        registrations=Informer(client, REGISTRATION_TOKENS),
    )


class _When(Source[Cluster, ObjectKey]):
    """Tells of clusters of which more changed than `same` looks at."""

    def __init__(
        self,
        informer: Informer[Cluster],
        same: Callable[[Cluster, Cluster], bool],
        keys: Callable[[Cluster], Iterable[ObjectKey]],
    ) -> None:
        super().__init__(informer, keys)
        self._same = same

    def keys(self, event: Event[Cluster]) -> set[ObjectKey]:
        """Return the keys that ``event`` concerns."""
        if event.old is not None and event.new is not None and self._same(event.old, event.new):
            return set()
        return super().keys(event)


def _place(cluster: Cluster) -> str | None:
    """The namespace whose bindings a report concerns; reports of `local` concern all."""
    return None if cluster.metadata.name == LOCAL_CLUSTER else cluster.metadata.name


def _in_projects(
    bindings: Informer[ProjectRoleTemplateBinding], cluster: Cluster
) -> Iterable[ProjectRoleTemplateBinding]:
    name = cluster.metadata.name
    return bindings.list() if name == LOCAL_CLUSTER else bindings.index(_CLUSTER, name)
