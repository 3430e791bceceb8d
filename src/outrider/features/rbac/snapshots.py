"""The world as the local copies have it: one snapshot for everything that is computed between two changes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Final, TypeVar

import msgspec

from outrider.apis.management.cluster import CLUSTERS, Cluster
from outrider.apis.management.cluster_role_template_binding import (
    CLUSTER_ROLE_TEMPLATE_BINDINGS,
    ClusterRoleTemplateBinding,
)
from outrider.apis.management.fleet_workspace import FLEET_WORKSPACES, FleetWorkspace
from outrider.apis.management.global_role import GLOBAL_ROLES, GlobalRole
from outrider.apis.management.global_role_binding import GLOBAL_ROLE_BINDINGS, GlobalRoleBinding
from outrider.apis.management.policy_rule import PolicyRule
from outrider.apis.management.project import PROJECTS, Project
from outrider.apis.management.project_role_template_binding import (
    PROJECT_ROLE_BINDINGS,
    PROJECT_ROLE_TEMPLATE_BINDINGS,
    ProjectRoleBinding,
    ProjectRoleTemplateBinding,
)
from outrider.apis.management.registration_token import REGISTRATION_TOKENS, ClusterRegistrationToken
from outrider.apis.management.role_template import ROLE_TEMPLATES, RoleTemplate
from outrider.apis.management.setting import SETTINGS, Setting
from outrider.apis.management.user import USERS, User
from outrider.apis.spelling import Spelled, plain
from outrider.features.rbac.standard import DEFAULT, is_assigned
from outrider.features.rbac.surroundings import (
    NODE_NETWORKS,
    SYSTEM_NAMESPACES,
    NodeNetwork,
    surroundings_of,
)
from outrider.features.rbac.world import World
from outrider.kube.client import Client
from outrider.kube.kind import Kind
from outrider.kube.meta import Object, ObjectKey, ObjectMeta
from outrider.runtime.informer import Event, Informer

log = logging.getLogger(__name__)

S = TypeVar("S", bound=Spelled)
O = TypeVar("O", bound=Object)  # noqa: E741


class NativeRole(msgspec.Struct):
    """A ClusterRole as far as it matters here."""

    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    rules: Annotated[tuple[PolicyRule, ...] | None, "what it allows"] = None


NATIVE_ROLES: Kind[NativeRole] = Kind(
    group="rbac.authorization.k8s.io",
    version="v1",
    plural="clusterroles",
    kind="ClusterRole",
    namespaced=False,
    type=NativeRole,
)
NAMESPACE_NAMES: Kind[Object] = Kind(
    group="",
    version="v1",
    plural="namespaces",
    kind="Namespace",
    namespaced=False,
    type=Object,
    metadata_only=True,
)


COPIED: Final[dict[str, Kind[Any]]] = {
    "clusters": CLUSTERS,
    "templates": ROLE_TEMPLATES,
    "global_roles": GLOBAL_ROLES,
    "global_bindings": GLOBAL_ROLE_BINDINGS,
    "cluster_bindings": CLUSTER_ROLE_TEMPLATE_BINDINGS,
    "project_bindings": PROJECT_ROLE_TEMPLATE_BINDINGS,
    "aliases": PROJECT_ROLE_BINDINGS,
    "projects": PROJECTS,
    "users": USERS,
    "namespaces": NAMESPACE_NAMES,
    "native_roles": NATIVE_ROLES,
    "nodes": NODE_NETWORKS,
    "settings": SETTINGS,
    "workspaces": FLEET_WORKSPACES,
    "registrations": REGISTRATION_TOKENS,
}
"""What a world is made of, by the names in `Copies`."""


class Copies(msgspec.Struct, frozen=True, kw_only=True):
    """The informers that a world is made of."""

    clusters: Informer[Cluster]
    templates: Informer[RoleTemplate]
    global_roles: Informer[GlobalRole]
    global_bindings: Informer[GlobalRoleBinding]
    cluster_bindings: Informer[ClusterRoleTemplateBinding]
    project_bindings: Informer[ProjectRoleTemplateBinding]
    aliases: Informer[ProjectRoleBinding]
    projects: Informer[Project]
    users: Informer[User]
    namespaces: Informer[Object]
    native_roles: Informer[NativeRole]
    nodes: Informer[NodeNetwork]
    settings: Informer[Setting]
    workspaces: Informer[FleetWorkspace]
    registrations: Informer[ClusterRegistrationToken]

    def all(self) -> list[Informer[Any]]:
        """Each of them."""
        return [getattr(self, field.name) for field in msgspec.structs.fields(self)]


class Snapshots:
    """Makes a world when one is asked for after a change, and hands out the same one until the next."""

    def __init__(self, copies: Copies) -> None:
        self._copies = copies
        self._world: World | None = None
        for informer in copies.all():
            informer.subscribe(self._role_changed if informer is copies.native_roles else self._changed)

    @property
    def world(self) -> World:
        """The world as of now."""
        if self._world is None:
            self._world = self._make()
        return self._world

    def is_external(self, name: str) -> bool:
        """Whether a role template takes its rules from the ClusterRole of that name."""
        template = self._copies.templates.get(ObjectKey("", name))
        said = None if template is None else template.spec or {"external": template.external}
        return bool(said and said.get("external"))

    def _changed(self, event: Event[Any]) -> None:
        if concerns(event):
            self._world = None

    def _role_changed(self, event: Event[NativeRole]) -> None:
        role = event.new or event.old
        if role is not None and self.is_external(role.metadata.name):
            self._changed(event)

    def _make(self) -> World:
        return world_of({name: list(getattr(self._copies, name).list()) for name in COPIED})


async def read_world(client: Client) -> World:
    """A world read once. Raises KubeError."""
    return world_of({name: (await client.list(kind)).items for name, kind in COPIED.items()})


def world_of(objects: Mapping[str, list[Any]]) -> World:
    """The world of some objects, by the names in `COPIED`."""
    templates = {one.metadata.name: one for one in _plain(objects["templates"])}
    return World(
        templates=templates,
        clusters=[one.metadata.name for one in _here(objects["clusters"])],
        global_roles={one.metadata.name: one for one in _plain(objects["global_roles"])},
        global_bindings=_plain(objects["global_bindings"]),
        cluster_bindings=_plain(objects["cluster_bindings"]),
        project_bindings=_plain(objects["project_bindings"]),
        aliases=_plain(objects["aliases"]),
        projects={f"{one.metadata.namespace}:{one.metadata.name}": one for one in _here(objects["projects"])},
        users={
            principal: user.metadata.name
            for user in _here(objects["users"])
            for principal in user.principal_ids or ()
        },
        namespaces=[one.metadata.name for one in _here(objects["namespaces"])],
        people=[one.metadata.name for one in _here(objects["users"])],
        external={
            one.metadata.name: one.rules or ()
            for one in objects["native_roles"]
            if one.metadata.name in templates and templates[one.metadata.name].external
        },
        around=surroundings_of(
            clusters=_here(objects["clusters"]),
            nodes=objects["nodes"],
            projects=objects["projects"],
            settings=objects["settings"],
            workspaces=_here(objects["workspaces"]),
            registrations=_here(objects["registrations"]),
        ),
    )


def concerns(event: Event[Any]) -> bool:
    """Whether an event is more than a change of what a world does not look at."""
    old, new = event.old, event.new
    return old is None or new is None or aspects(old) != aspects(new)


def aspects(obj: Any) -> tuple[object, ...]:
    """What a world looks at in an object: all but the status that is only reported."""
    metadata = obj.metadata
    look = _ASPECTS.get(type(obj))
    more: object = (metadata.generation, metadata.annotations) if look is None else look(obj)
    return (metadata.uid, metadata.deletion_timestamp is None, more)


def _of_project(project: Project) -> object:
    spec, quota = project.spec, project.spec.resource_quota
    if quota is not None and quota.used_limit:
        # What is used is written here by ourselves
        quota = msgspec.structs.replace(quota, used_limit=None)
        spec = msgspec.structs.replace(spec, resource_quota=quota)
    labels = project.metadata.labels
    return (spec, labels, project.status.backing_namespace, DEFAULT in labels and is_assigned(project))


def _of_setting(setting: Setting) -> object:
    matters = setting.metadata.name == SYSTEM_NAMESPACES
    return (setting.value, setting.default) if matters else None


_ASPECTS: Final[dict[type, Callable[[Any], object]]] = {
    Cluster: lambda one: bool(one.spec.enable_network_policy),
    NativeRole: lambda one: one.rules,
    Object: lambda one: None,
    Project: _of_project,
    User: lambda one: one.principal_ids,
    NodeNetwork: lambda one: one.address,
    Setting: _of_setting,
    FleetWorkspace: lambda one: None,
    ClusterRegistrationToken: lambda one: one.status.token_secret_name,
}


def _here(objects: Iterable[O]) -> list[O]:
    return [one for one in objects if not one.is_deleting]


def _plain(objects: Iterable[S]) -> list[S]:
    found: list[S] = []
    for one in _here(objects):
        try:
            found.append(plain(one))
        except msgspec.ValidationError as error:
            # It grants nothing rather than something else than it says
            log.error("%s %s cannot be read: %s", one.kind, one.key, error)  # noqa: TRY400
    return found
