"""What this feature wants in clusters, as a contribution to their desired state; and which changes concern it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

from outrider.apis.management.cluster import Cluster
from outrider.apis.management.group import LOCAL_CLUSTER
from outrider.delivery.assembly import Contribution
from outrider.features.rbac.desired import cluster_entries
from outrider.features.rbac.management import management_entries
from outrider.features.rbac.snapshots import Copies, Snapshots, concerns
from outrider.features.rbac.surroundings import SYSTEM_NAMESPACES
from outrider.features.rbac.world import World
from outrider.kube.meta import Object, ObjectKey
from outrider.runtime.controller import Source
from outrider.runtime.informer import Event, Informer

_LOCAL = ObjectKey("", LOCAL_CLUSTER)


class Told(NamedTuple):
    """The hash of a set, and the world that it was computed from."""

    hash: str
    world: World


class RoleObjects:
    """ClusterRoles, bindings and templates, in every cluster and in the management cluster."""

    def __init__(self, copies: Copies, snapshots: Snapshots) -> None:
        self._copies = copies
        self._snapshots = snapshots
        self._told: dict[str, Told] = {}
        everywhere: tuple[Informer[Any], ...] = (
            copies.templates,
            copies.global_roles,
            copies.global_bindings,
        )
        of_clusters: tuple[Informer[Any], ...] = (copies.cluster_bindings, copies.projects, copies.nodes)
        here: tuple[Informer[Any], ...] = (
            copies.aliases,
            copies.namespaces,
            copies.workspaces,
            copies.registrations,
        )
        self._sources: list[Source[Any, ObjectKey]] = [
            *(_Concerning(one, lambda _: self._all()) for one in everywhere),
            *(_Concerning(one, lambda obj: _cluster(obj.metadata.namespace)) for one in of_clusters),
            _Concerning(copies.project_bindings, lambda obj: _cluster(project_cluster(obj))),
            *(_Concerning(one, lambda _: (_LOCAL,)) for one in here),
            _Concerning(copies.clusters, lambda one: _cluster(one.metadata.name)),
            _Concerning(
                copies.settings, lambda one: self._all() if one.metadata.name == SYSTEM_NAMESPACES else ()
            ),
            # Most users and ClusterRoles play no part, and every cluster would be computed anew for each
            _Concerning(copies.users, lambda _: self._all() if snapshots.world.needs_users else (_LOCAL,)),
            _Concerning(
                copies.native_roles,
                lambda one: self._all() if snapshots.is_external(one.metadata.name) else (),
            ),
        ]

    @property
    def sources(self) -> Sequence[Source[Any, ObjectKey]]:
        """What the objects are made of."""
        return self._sources

    async def contribute(self, cluster: Cluster) -> Contribution:
        """The objects; never refuses."""
        world, name = self._snapshots.world, cluster.metadata.name
        entries = management_entries(world) if name == LOCAL_CLUSTER else cluster_entries(world, name)
        return Contribution(entries, told=partial(self._note, name, world))

    def told(self, cluster: str) -> Told | None:
        """What was last made of a world for a cluster."""
        return self._told.get(cluster)

    def _note(self, cluster: str, world: World, hash_: str) -> None:
        self._told[cluster] = Told(hash_, world)

    def _all(self) -> Iterable[ObjectKey]:
        return [cluster.key for cluster in self._copies.clusters.list()]


class _Concerning(Source[Any, ObjectKey]):
    """Leaves out what changes nothing that is computed, such as the statuses that we write ourselves."""

    def keys(self, event: Event[Any]) -> set[ObjectKey]:
        """Return the keys that ``event`` concerns."""
        return super().keys(event) if concerns(event) else set()


def _cluster(name: str) -> tuple[ObjectKey, ...]:
    return (ObjectKey("", name), _LOCAL)


def project_cluster(binding: Object) -> str:
    """The cluster of the project that a binding speaks of, in either spelling; empty where it does not say."""
    said = getattr(binding, "project_name", "") or (getattr(binding, "spec", None) or {}).get(
        "projectName", ""
    )
    return str(said).partition(":")[0]
