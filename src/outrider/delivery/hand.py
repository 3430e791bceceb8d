"""Writes and removes single objects in a cluster, by server-side apply (KEP-555)."""

from __future__ import annotations

import logging
from typing import Any, Final

from outrider.delivery.discovery import Discovery
from outrider.delivery.entries import EXISTING, LABEL, UNCLAIMED, Entry, Ref, delivered
from outrider.delivery.index import Extra
from outrider.delivery.presence import MANAGER, Presence, mark
from outrider.kube.client import Client
from outrider.kube.errors import ApiError, Conflict, Invalid, KubeError, NotFound
from outrider.kube.kind import Kind

log = logging.getLogger(__name__)

_RBAC: Final = "rbac.authorization.k8s.io"
# A binding's role cannot be changed, and nothing is lost by making it anew
_REPLACEABLE: Final = {(_RBAC, "RoleBinding"), (_RBAC, "ClusterRoleBinding")}
# The agent lives in one of them and keeps its memory there; a cluster cannot live without the others
KEPT_NAMESPACES: Final = frozenset(
    {"cattle-system", "default", "kube-system", "kube-public", "kube-node-lease"}
)
"""Namespaces that are never deleted."""

_LONGEST: Final = 400


class Hand:
    """Applies with `manager` as its name for the fields that it sets; the client must be of that manager."""

    def __init__(self, client: Client, *, manager: str = MANAGER) -> None:
        self._client = client
        self._manager = manager
        self.discovery = Discovery(client)

    async def apply(self, entry: Entry, *, uid: str = "") -> int:
        """Make the object as it is wanted; returns its mark. With `uid` only that very object is touched.

        Raises KubeError, ValueError.
        """
        ref, obj = entry.ref, delivered(entry)
        if uid:
            obj["metadata"]["uid"] = uid
        try:
            kind = await self.discovery.kind(entry.api_version, ref.kind)
            if entry.expects:
                obj["metadata"] |= await self._meet(entry.expects, kind, ref)
            try:
                made = await self._client.apply(kind, obj)
            except Invalid:
                if (ref.group, ref.kind) not in _REPLACEABLE:
                    raise
                await self._client.delete_if_exists(kind, ref.name, ref.namespace)
                made = await self._client.apply(kind, obj)
        except NotFound:
            self.discovery.forget(entry.api_version, ref.kind)
            raise
        return mark(made, self._manager)

    async def _meet(self, expects: str, kind: Kind[Presence], ref: Ref) -> dict[str, str]:
        """What to add to the metadata so that the object is the one that was looked at. Raises ValueError."""
        found = await self._client.get_or_none(kind, ref.name, ref.namespace)
        if found is None:
            if expects == EXISTING:
                raise ValueError(f"{ref.kind} {ref.name} does not exist in this cluster: create it")
            return {}
        if expects == UNCLAIMED and LABEL not in found.metadata.labels and not mark(found, self._manager):
            raise ValueError(
                f"{ref.kind} {ref.name} exists in this cluster and belongs to somebody else: it stays as it is"
            )
        return {"uid": found.metadata.uid}

    async def remove(self, ref: Ref, extra: Extra) -> None:
        """Take the object away, or with `release` only our fields in it. Raises KubeError, ValueError.

        An object that has neither our label nor fields of ours is somebody else's by now and stays.
        """
        try:
            kind = await self.discovery.kind(extra.api_version, ref.kind)
            found = await self._client.get(kind, ref.name, ref.namespace)
        except NotFound:
            return
        if LABEL not in found.metadata.labels and not mark(found, self._manager):
            log.info("%s %s is no longer ours; it stays", ref.kind, ref.name)
            return
        if extra.release or (ref.rank == 0 and ref.name in KEPT_NAMESPACES):
            await self._release(kind, ref, found)
        elif not found.metadata.deletion_timestamp:
            await self._delete(kind, ref, found)

    async def _delete(self, kind: Kind[Presence], ref: Ref, found: Presence) -> None:
        try:
            await self._client.delete(kind, ref.name, ref.namespace, uid=found.metadata.uid)
        except (NotFound, Conflict):
            return  # gone, or another one of that name by now

    async def _release(self, kind: Kind[Presence], ref: Ref, found: Presence) -> None:
        metadata: dict[str, Any] = {"name": ref.name, "uid": found.metadata.uid}
        if ref.namespace:
            metadata["namespace"] = ref.namespace
        try:
            # Applying nothing drops every field that only we own, the label included
            await self._client.apply(kind, {"metadata": metadata})
        except Invalid:
            # It cannot be without some of our fields: it keeps them all, but is ours no longer
            labels = {"metadata": {"labels": {LABEL: None}}}
            await self._client.patch(kind, ref.name, labels, ref.namespace)
        except (NotFound, Conflict):
            return


def words(ref: Ref, error: Exception) -> str:
    """An error for a report; an API server may quote what it refuses, and that must be no secret."""
    if ref.kind == "Secret" and isinstance(error, ApiError):
        return f"the API server answered {error.code} {error.reason}"
    return words_of(error)


def words_of(error: Exception) -> str:
    """An error that quotes nothing secret, for a report."""
    text = str(error) if isinstance(error, (KubeError, ValueError)) else "an internal error; see the log"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
