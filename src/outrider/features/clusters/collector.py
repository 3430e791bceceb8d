"""Removes what belongs to no cluster any more, however its record came to its end.

A record whose finalizers were taken away by hand leaves at once; its namespace, registrations and the tokens that
reached nothing else would stay. Everything is judged by one list of records that is younger than what it judges.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final

from outrider.apis.management.cluster import CLUSTERS
from outrider.apis.management.group import LOCAL_CLUSTER
from outrider.apis.management.registration_token import REGISTRATION_TOKENS, ClusterRegistrationToken
from outrider.apis.management.token import TOKENS
from outrider.features.clusters.tombstones import NAMESPACE, Tombstones
from outrider.kube.builtin import CONFIGMAPS, NAMESPACES
from outrider.kube.client import Client
from outrider.kube.errors import Conflict, KubeError
from outrider.kube.kind import Kind
from outrider.kube.meta import ObjectKey
from outrider.runtime.store import Lister

log = logging.getLogger(__name__)

_GROUP: Final = CLUSTERS.group


class Collector:
    """Looks every `interval` seconds, on the leader. What it removes it has seen in two rounds.

    So a bundle of objects that somebody creates one by one is not taken for leftovers in between.
    """

    def __init__(
        self,
        client: Client,
        *,
        registrations: Lister[ClusterRegistrationToken],
        tombstones: Tombstones,
        interval: float = 60.0,
    ) -> None:
        self._client = client
        self._registrations = registrations
        self._tombstones = tombstones
        self._interval = interval
        self._seen: set[str] = set()

    async def run(self) -> None:
        """Collect until cancelled."""
        while True:
            try:
                await self.collect()
            except KubeError as error:
                log.warning("what deleted clusters left cannot be collected: %s; trying again", error)
            await asyncio.sleep(self._interval)

    async def collect(self) -> None:
        """One round. Raises KubeError before anything was removed."""
        spaces = (await self._client.list(NAMESPACES)).items
        tokens = (await self._client.list(TOKENS)).items
        registrations = list(self._registrations.list())
        listed = await self._client.list(CLUSTERS)
        uids = {one.metadata.name: one.metadata.uid for one in listed.items}
        if listed.rejected or LOCAL_CLUSTER not in uids:
            # Of an incomplete list nothing follows
            log.warning("the list of clusters is not whole: nothing is collected")
            return
        orphans: list[tuple[Kind[Any], ObjectKey, str]] = [
            (NAMESPACES, ObjectKey("", one["metadata"]["name"]), one["metadata"]["uid"])
            for one in spaces
            if is_orphan(one["metadata"], uids) and not one["metadata"].get("deletionTimestamp")
        ]
        for one in registrations:
            if one.metadata.namespace not in uids and not one.is_deleting:
                orphans.append((REGISTRATION_TOKENS, one.key, one.metadata.uid))
        for token in tokens:
            if token.cluster_name and token.cluster_name not in uids and not token.is_deleting:
                orphans.append((TOKENS, token.key, token.metadata.uid))
        seen, self._seen = self._seen, {uid for _, _, uid in orphans}
        for kind, key, uid in orphans:
            if uid in seen:
                await self._delete(kind, key, uid)
        for name in self._tombstones.outdated():
            await self._client.delete_if_exists(CONFIGMAPS, name, NAMESPACE)

    async def _delete(self, kind: Kind[Any], key: ObjectKey, uid: str) -> None:
        try:
            if await self._client.delete_if_exists(kind, key.name, key.namespace, uid=uid):
                log.info("removed %s %s, which belonged to a cluster that is gone", kind.kind, key)
        except Conflict:
            return  # another one of that name by now


def is_orphan(metadata: Mapping[str, Any], uids: Mapping[str, str]) -> bool:
    """Whether an object was made for clusters of which none is there any more; `uids` of those that are, by name."""
    owners = list(_cluster_owners(metadata.get("ownerReferences") or []))
    return bool(owners) and all(uids.get(owner["name"]) != owner["uid"] for owner in owners)


def _cluster_owners(owners: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    for owner in owners:
        group = str(owner.get("apiVersion", "")).rpartition("/")[0]
        if (group, owner.get("kind")) == (_GROUP, CLUSTERS.kind) and owner.get("name") and owner.get("uid"):
            yield owner
