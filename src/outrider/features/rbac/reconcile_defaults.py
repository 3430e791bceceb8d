"""Gives every cluster, once, its projects `Default` and `System` and the bindings of its creator."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from outrider.apis.management.cluster import CLUSTERS, Cluster
from outrider.apis.management.cluster_role_template_binding import CLUSTER_ROLE_TEMPLATE_BINDINGS
from outrider.apis.management.group import CREATOR_ID
from outrider.apis.management.project import PROJECTS
from outrider.features.rbac.creators import PROGRESS, creator_binding, progress
from outrider.features.rbac.world import World
from outrider.kit.clock import Clock
from outrider.kube import conditions as c
from outrider.kube.client import Client
from outrider.kube.errors import AlreadyExists
from outrider.kube.meta import Condition, ObjectKey
from outrider.runtime.controller import DONE, Result
from outrider.runtime.store import Lister

_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"


class _Standard(NamedTuple):
    name: str
    label: str
    condition: str


STANDARD: Final = (
    _Standard("Default", "authz.management.cattle.io/default-project", "DefaultProjectCreated"),
    _Standard("System", "authz.management.cattle.io/system-project", "SystemProjectCreated"),
)
_OF_CREATORS: Final = ("CreatorMadeOwner", "InitialRolesPopulated")


class DefaultsReconciler:
    """One cluster at a time, as soon as it has its namespace. What somebody removes later is not made again."""

    def __init__(
        self, client: Client, clusters: Lister[Cluster], world: Callable[[], World], clock: Clock
    ) -> None:
        self._client = client
        self._clusters = clusters
        self._world = world
        self._clock = clock

    async def reconcile(self, key: ObjectKey) -> Result:
        """Make what was never made."""
        cluster = self._clusters.get(key)
        if cluster is None or cluster.is_deleting or not is_ready(cluster):
            return DONE
        for standard in STANDARD:
            if not c.is_true(cluster.status.conditions, standard.condition):
                with contextlib.suppress(AlreadyExists):
                    await self._client.create(PROJECTS, standard_project(cluster, standard))
        cluster = await self._keep_creator(cluster)
        await self._note(cluster)
        return DONE

    async def _keep_creator(self, cluster: Cluster) -> Cluster:
        name, annotations = cluster.metadata.name, cluster.metadata.annotations
        world = self._world()
        templates = (world.templates.get(one) for one in world.names)
        state = progress(annotations, [one for one in templates if one and one.cluster_creator_default])
        for template in state.missing:
            with contextlib.suppress(AlreadyExists):
                binding = creator_binding(annotations, template, name)
                await self._client.create(CLUSTER_ROLE_TEMPLATE_BINDINGS, binding | {"clusterName": name})
        done = msgspec.structs.replace(state, created=state.required).to_json()
        if annotations.get(PROGRESS) == done or not annotations.get(CREATOR_ID):
            return cluster
        return await self._patch(cluster, {"annotations": {PROGRESS: done}}, {})

    async def _note(self, cluster: Cluster) -> None:
        found: list[Condition] = list(cluster.status.conditions)
        for kind in (*(one.condition for one in STANDARD), *_OF_CREATORS):
            found = c.set_condition(found, kind, "True", now=self._clock.now())
        if found != cluster.status.conditions:
            await self._patch(cluster, {}, {"conditions": c.to_json(found)}, subresource="status")

    async def _patch(
        self, cluster: Cluster, metadata: dict[str, Any], status: dict[str, Any], *, subresource: str = ""
    ) -> Cluster:
        patch: dict[str, Any] = {
            "metadata": metadata | {"resourceVersion": cluster.metadata.resource_version}
        }
        if status:
            patch["status"] = status
        return await self._client.patch(CLUSTERS, cluster.metadata.name, patch, subresource=subresource)


def is_ready(cluster: Cluster) -> bool:
    """Whether the cluster has its namespace."""
    return c.is_true(cluster.status.conditions, "BackingNamespaceCreated")


def same_start(old: Cluster, new: Cluster) -> bool:
    """Whether nothing changed that these defaults depend on."""
    return (is_ready(old), old.metadata.annotations, old.is_deleting) == (
        is_ready(new),
        new.metadata.annotations,
        new.is_deleting,
    )


def standard_project(cluster: Cluster, standard: _Standard) -> dict[str, Any]:
    """One of the two projects; its name follows from the cluster, so that nobody makes it twice."""
    digest = hashlib.sha256(f"{cluster.metadata.uid}/{standard.name}".encode()).digest()
    letters = "".join(_LETTERS[byte % len(_LETTERS)] for byte in digest[:5])
    creator = cluster.metadata.annotations.get(CREATOR_ID)
    return {
        "metadata": {
            "name": f"p-{letters}",
            "namespace": cluster.metadata.name,
            "labels": {standard.label: "true"},
            "annotations": {CREATOR_ID: creator} if creator else {},
        },
        "spec": {
            "clusterName": cluster.metadata.name,
            "displayName": standard.name,
            "description": f"{standard.name} project created for the cluster",
        },
    }
