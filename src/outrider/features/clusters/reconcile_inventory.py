"""Writes what agents report: the cluster's status and the mirror of its nodes (contract: clusters §1.5, §4.5).

Runs on every replica; of those that have a tunnel to a cluster the first by name writes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from outrider.apis.management.cluster import CLUSTERS, Cluster
from outrider.apis.management.cluster_status import ClusterStatus
from outrider.apis.management.node import NODES, Node
from outrider.features.clusters.inventories import Inventories
from outrider.features.clusters.inventory import PROVIDER_LABEL, next_status, spec_for_driver
from outrider.features.clusters.nodes import compare, settled, spec_patch
from outrider.features.clusters.settings import ClusterSettings
from outrider.features.clusters.status import write_status
from outrider.kit.clock import Clock
from outrider.kube.client import Client
from outrider.kube.errors import AlreadyExists, NotFound
from outrider.kube.meta import ObjectKey
from outrider.kube.patches import merge_patch
from outrider.runtime.controller import DONE, Result, requeue
from outrider.runtime.store import Lister
from outrider.tunnel.snapshot import Snapshot

_WRITERS: Final = 8


class InventoryReconciler:
    """One cluster at a time; `writes(cluster)` says whether this replica is the one to write.

    `pause` is the least time between two writes for one cluster, in seconds; changes of health and version and
    the first report are written at once.
    """

    def __init__(
        self,
        client: Client,
        *,
        clusters: Lister[Cluster],
        nodes: Lister[Node],
        inventories: Inventories,
        writes: Callable[[str], bool],
        settings: ClusterSettings,
        clock: Clock,
        pause: float = 10.0,
    ) -> None:
        self._client = client
        self._clusters = clusters
        self._nodes = nodes
        self._inventories = inventories
        self._writes = writes
        self._settings = settings
        self._clock = clock
        self._pause = pause
        self._written: dict[str, float] = {}
        self._urgent: dict[str, object] = {}

    async def reconcile(self, key: ObjectKey) -> Result:
        """Bring one cluster's status and nodes up to date with what is known here."""
        name = key.name
        cluster, snapshot = self._clusters.get(key), self._inventories.of(name)
        if cluster is None or cluster.is_deleting or snapshot is None or not self._writes(name):
            self._forget(name)
            return DONE
        urgent = (snapshot.health, snapshot.version, cluster.status.connected)
        wait = self._written.get(name, -self._pause) + self._pause - self._clock.monotonic()
        if wait > 0 and self._urgent.get(name) == urgent:
            return requeue(wait)
        await self._write_nodes(name, snapshot)
        await self._write_cluster(cluster, next_status(cluster, snapshot, self._clock.now()))
        self._written[name], self._urgent[name] = self._clock.monotonic(), urgent
        return DONE

    def _forget(self, name: str) -> None:
        self._written.pop(name, None)
        self._urgent.pop(name, None)

    async def _write_cluster(self, cluster: Cluster, status: ClusterStatus) -> None:
        spec = spec_for_driver(cluster, status)
        label = {PROVIDER_LABEL: status.provider} if status.provider else {}
        if spec or any(cluster.metadata.labels.get(key) != value for key, value in label.items()):
            metadata = {"resourceVersion": cluster.metadata.resource_version, "labels": label}
            patch: dict[str, Any] = {"metadata": metadata, **({"spec": spec} if spec else {})}
            cluster = await self._client.patch(CLUSTERS, cluster.metadata.name, patch)
        await write_status(self._client, cluster, status, self._clock.now())

    async def _write_nodes(self, cluster: str, snapshot: Snapshot) -> None:
        changes = compare(
            cluster,
            snapshot.nodes.values(),
            snapshot.usage,
            self._nodes.list(cluster),
            ignored_name=self._settings.value("ignore-node-name"),
        )
        slots = asyncio.Semaphore(_WRITERS)

        async def within(work: Awaitable[None]) -> None:
            async with slots:
                await work

        try:
            async with asyncio.TaskGroup() as group:
                for node in changes.create:
                    group.create_task(within(self._create(node)))
                for old, wanted in changes.update:
                    group.create_task(within(self._update(old, wanted)))
                for node in changes.delete:
                    group.create_task(within(self._delete(node)))
        except ExceptionGroup as errors:
            # The first failure has cancelled the rest
            raise errors.exceptions[0] from None

    async def _create(self, node: Node) -> None:
        try:
            made = await self._client.create(NODES, msgspec.structs.replace(node, status=type(node.status)()))
        except AlreadyExists:
            # The local copy is behind: the next round sees it
            return
        await self._patch_status(made, node)

    async def _update(self, old: Node, wanted: Node) -> None:
        if spec := spec_patch(old, wanted):
            with contextlib.suppress(NotFound):
                await self._client.patch(NODES, old.metadata.name, {"spec": spec}, old.metadata.namespace)
        if settled(old.status) != settled(wanted.status):
            await self._patch_status(old, wanted)

    async def _patch_status(self, old: Node, wanted: Node) -> None:
        changes = merge_patch(msgspec.to_builtins(old.status), msgspec.to_builtins(wanted.status))
        with contextlib.suppress(NotFound):
            await self._client.patch(
                NODES, old.metadata.name, {"status": changes}, old.metadata.namespace, subresource="status"
            )

    async def _delete(self, node: Node) -> None:
        await self._client.delete_if_exists(
            NODES, node.metadata.name, node.metadata.namespace, uid=node.metadata.uid
        )


def is_writer(replicas: list[str], replica: str) -> bool:
    """Whether `replica` writes for a cluster that `replicas` (sorted) have a tunnel to: the first does.

    Without any, the set is not published yet, or the cluster is ``local``: whoever has an inventory writes.
    """
    return not replicas or replicas[0] == replica
