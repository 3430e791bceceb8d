"""The cluster ``local``: its record at start, and its inventory, which needs no agent (contract: §1.7)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final
from uuid import uuid4

import msgspec

from outrider.apis.management.cluster import CLUSTERS
from outrider.apis.management.group import LOCAL_CLUSTER
from outrider.features.clusters.inventories import Inventories
from outrider.features.clusters.lifecycle import local_cluster
from outrider.kube.builtin import NODES
from outrider.kube.client import Client
from outrider.kube.errors import AlreadyExists, KubeError
from outrider.kube.transport import Request
from outrider.tunnel.reports import Health, InventoryDelta, NodeReport, VersionInfo
from outrider.tunnel.snapshot import Snapshot

log = logging.getLogger(__name__)

_HEALTHY: Final = 200
_LONGEST_MESSAGE: Final = 1024


class LocalCluster:
    """Keeps the record of ``local`` and looks at its cluster every `interval` seconds."""

    def __init__(
        self,
        client: Client,
        inventories: Inventories,
        changed: Callable[[str], None],
        *,
        embedded: bool,
        interval: float = 15.0,
    ) -> None:
        self._client = client
        self._inventories = inventories
        self._changed = changed
        self._embedded = embedded
        self._interval = interval

    async def run(self) -> None:
        """Create the record, then look and look again until cancelled."""
        await self.ensure()
        snapshot = Snapshot()
        snapshot.reporter = uuid4().hex
        try:
            while True:
                await self._look(snapshot)
                await asyncio.sleep(self._interval)
        finally:
            self._inventories.forget(LOCAL_CLUSTER, 0)

    async def ensure(self) -> None:
        """Create the record unless there is one."""
        try:
            await self._client.create(CLUSTERS, local_cluster(embedded=self._embedded))
        except AlreadyExists:
            return

    async def _look(self, snapshot: Snapshot) -> None:
        try:
            delta = await self._observe(snapshot)
        except (KubeError, msgspec.ValidationError) as error:
            delta = _delta(health=Health(ok=False, message=str(error)[:_LONGEST_MESSAGE]))
        snapshot.record(delta)
        snapshot.complete = True
        self._inventories.put(LOCAL_CLUSTER, snapshot)
        self._changed(LOCAL_CLUSTER)

    async def _observe(self, snapshot: Snapshot) -> InventoryDelta:
        version = msgspec.convert(await self._client.get_json("/version"), VersionInfo)
        ready = await self._client.raw(Request(method="GET", path="/readyz", headers=[], body=b""))
        message = "" if ready.status == _HEALTHY else ready.body[:_LONGEST_MESSAGE].decode(errors="replace")
        nodes = [node_report(node) for node in (await self._client.list(NODES)).items]
        return _delta(
            version=version,
            health=Health(ok=ready.status == _HEALTHY, message=message),
            nodes=[node for node in nodes if snapshot.nodes.get(node.name) != node],
            nodes_removed=sorted(set(snapshot.nodes) - {node.name for node in nodes}),
        )


def _delta(**fields: Any) -> InventoryDelta:
    return InventoryDelta(reporter="", sequence=0, digest="", **fields)


def node_report(node: dict[str, Any]) -> NodeReport:
    """A core Node as an agent would report it."""
    metadata = node.get("metadata", {})
    return NodeReport(
        name=metadata.get("name", ""),
        uid=metadata.get("uid", ""),
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
        spec=node.get("spec") or {},
        status=node.get("status") or {},
    )
