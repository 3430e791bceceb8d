"""Remembers deleted clusters for a while, so that an agent that comes back is told from a stranger.

A tombstone is a ConfigMap in `cattle-system`: hashes of the registration tokens that were good, and the uid of the
cluster's namespace `kube-system`. It is written only for a record that was seen on its way out. Whatever else
makes records vanish (a restored backup, a CRD that is gone) leaves agents alone: they are refused like strangers.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from outrider.apis.management.cluster import CLUSTERS, Cluster
from outrider.features.clusters import registration as reg
from outrider.features.clusters.lifecycle import UID_ANNOTATION
from outrider.kit.clock import Clock
from outrider.kube.builtin import CONFIGMAPS, CRDS
from outrider.kube.client import Client
from outrider.kube.errors import AlreadyExists
from outrider.runtime.store import Lister

log = logging.getLogger(__name__)

NAMESPACE: Final = "cattle-system"
LABEL: Final = "outrider.io/removed-cluster"
SELECTOR: Final = f"{LABEL}=true"
CREDENTIAL_INDEX: Final = "credential"
_CRD: Final = f"{CLUSTERS.plural}.{CLUSTERS.group}"


class Tombstone(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a deleted cluster: its id and name, the record's uid, that of kube-system, hashes."""

    cluster: str
    record: str
    kube_system: str
    credentials: tuple[str, ...]
    removed_at: datetime | None
    display_name: str = ""


def config_map(cluster: Cluster, tokens: Iterable[str], now: datetime) -> dict[str, Any]:
    """The tombstone as an object."""
    metadata = cluster.metadata
    hashes = sorted({reg.token_hash(token) for token in tokens})
    return {
        "metadata": {
            "name": f"removed-{metadata.name}-{metadata.uid[:8]}",
            "namespace": NAMESPACE,
            "labels": {LABEL: "true"},
        },
        "data": {
            "cluster": metadata.name,
            "displayName": cluster.spec.display_name[:253],
            "record": metadata.uid,
            "kubeSystem": metadata.annotations.get(UID_ANNOTATION, ""),
            "credentials": ",".join(hashes),
            "removedAt": reg.format_time(now),
        },
    }


def read(obj: dict[str, Any]) -> Tombstone:
    """The tombstone in an object; what is missing is empty."""
    data = obj.get("data") or {}
    return Tombstone(
        cluster=data.get("cluster", ""),
        record=data.get("record", ""),
        kube_system=data.get("kubeSystem", ""),
        credentials=credentials_in(obj),
        removed_at=reg.parse_time(data.get("removedAt", "")),
        display_name=data.get("displayName", ""),
    )


def credentials_in(obj: dict[str, Any]) -> tuple[str, ...]:
    """What the informer of tombstones files one under (index `CREDENTIAL_INDEX`)."""
    text = (obj.get("data") or {}).get("credentials", "")
    return tuple(one for one in text.split(",") if one)


class Tombstones:
    """`copies` has index `CREDENTIAL_INDEX`. Of those older than `age`, and of more than `limit`, the oldest go."""

    def __init__(
        self,
        client: Client,
        copies: Lister[dict[str, Any]],
        clusters: Lister[Cluster],
        clock: Clock,
        *,
        age: timedelta = timedelta(days=90),
        limit: int = 1000,
    ) -> None:
        self._client = client
        self._copies = copies
        self._clusters = clusters
        self._clock = clock
        self._age = age
        self._limit = limit

    async def bury(self, cluster: Cluster, tokens: Iterable[str]) -> None:
        """Remember a cluster that is being deleted; one whose agent never said who it is leaves no trace."""
        draft = config_map(cluster, tokens, self._clock.now())
        if draft["data"]["kubeSystem"] and draft["data"]["credentials"]:
            with contextlib.suppress(AlreadyExists):
                await self._client.create(CONFIGMAPS, draft)

    async def records_stand(self) -> bool:
        """Whether records vanish one by one, not all of them with their definition. Raises KubeError."""
        definition = await self._client.get_or_none(CRDS, _CRD)
        return definition is not None and not definition["metadata"].get("deletionTimestamp")

    async def find(self, token: str, kube_system: str) -> Tombstone | None:
        """The deleted cluster whose own agent shows `token` now. Raises KubeError when that cannot be told.

        None as soon as anything speaks for a living one: the same cluster under another record, or the record.
        """
        if not kube_system or not reg.well_formed(token):
            return None
        for copy in self._copies.index(CREDENTIAL_INDEX, reg.token_hash(token)):
            found = read(copy)
            if found.kube_system == kube_system and await self._counts(copy["metadata"]["name"], found):
                return found
        return None

    def outdated(self) -> list[str]:
        """Names of those to forget."""
        found = [(read(copy).removed_at, copy["metadata"]["name"]) for copy in self._copies.list()]
        since = self._clock.now() - self._age
        dated = sorted((moment, name) for moment, name in found if moment is not None and moment > since)
        kept = {name for _, name in dated[-self._limit :]}
        return sorted(name for _, name in found if name not in kept)

    async def _counts(self, name: str, found: Tombstone) -> bool:
        if any(self._stands_for(one, found) for one in self._clusters.list()):
            return False
        if await self._client.get_or_none(CONFIGMAPS, name, NAMESPACE) is None:
            return False
        record = await self._client.get_or_none(CLUSTERS, found.cluster)
        alive = record is not None and record.metadata.uid == found.record and not record.is_deleting
        return not alive and await self.records_stand()

    def _stands_for(self, cluster: Cluster, found: Tombstone) -> bool:
        same = cluster.metadata.annotations.get(UID_ANNOTATION) == found.kube_system
        return same and not cluster.is_deleting
