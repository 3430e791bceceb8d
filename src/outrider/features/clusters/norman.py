"""Clusters and registrations as `/v3` shows them (contract: clusters §4.2, §2.1); pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from outrider.apis.management.cluster import Cluster
from outrider.apis.management.group import CREATOR_ID, LOCAL_CLUSTER
from outrider.apis.management.registration_token import ClusterRegistrationToken
from outrider.apis.state import State, evaluate
from outrider.features.clusters.registration import format_time
from outrider.kube.meta import Object

_LINKED: Final = ("nodes", "projects", "namespaces", "clusterRegistrationTokens", "subscribe")
_CONTROLS: Final = frozenset(
    {"limit", "marker", "sort", "order", "reverse", "action", "_", "csrf", "removed_null", "system"}
)


def cluster_view(cluster: Cluster, *, base: str, node_count: int, now: datetime) -> dict[str, Any]:
    """A cluster, flat: spec and status beside what every resource has."""
    link = f"{base}/v3/clusters/{cluster.metadata.name}"
    links = {"self": link, "update": link, **{name: f"{link}/{name.lower()}" for name in _LINKED}}
    if cluster.metadata.name != LOCAL_CLUSTER:
        links["remove"] = link
    status = msgspec.to_builtins(cluster.status)
    for hidden in ("state", "serviceAccountTokenSecret"):
        status.pop(hidden, None)
    spec = msgspec.to_builtins(cluster.spec)
    return {
        **spec,
        **status,
        **_common(cluster, "cluster", evaluate(cluster, cluster.status.conditions, now)),
        "id": cluster.metadata.name,
        "name": cluster.spec.display_name,
        "internal": cluster.spec.internal,
        "driver": cluster.status.driver,
        "provider": cluster.status.provider,
        "connected": bool(cluster.status.connected),
        "conditions": status.get("conditions", []),
        "componentStatuses": status.get("componentStatuses", []),
        "nodeCount": node_count,
        "links": links,
        "actions": {name: f"{link}?action={name}" for name in ("generateKubeconfig",)},
    }


def registration_view(registration: ClusterRegistrationToken, *, base: str, now: datetime) -> dict[str, Any]:
    """A registration whose commands were filled in before (`view.with_token`)."""
    metadata = registration.metadata
    identifier = f"{metadata.namespace}:{metadata.name}"
    link = f"{base}/v3/clusterregistrationtokens/{identifier}"
    status = registration.status
    state = evaluate(registration, status.conditions, now, fresh_is_initializing=False)
    return {
        **_common(registration, "clusterRegistrationToken", state),
        "id": identifier,
        "name": metadata.name,
        "namespaceId": metadata.namespace,
        "clusterId": registration.spec.cluster_name,
        "ttl": registration.spec.ttl,
        "gracePeriod": registration.spec.grace_period,
        "token": status.token,
        "command": status.command,
        "insecureCommand": status.insecure_command,
        "manifestUrl": status.manifest_url,
        "nodeCommand": status.node_command,
        "insecureNodeCommand": status.insecure_node_command,
        "windowsNodeCommand": status.windows_node_command,
        "insecureWindowsNodeCommand": status.insecure_windows_node_command,
        "expiresAt": status.expires_at or None,
        "gracePeriodExpiresAt": status.grace_period_expires_at or None,
        "links": {"self": link, "remove": link},
        "actions": {},
    }


def collection(kind: str, plural: str, items: list[dict[str, Any]], *, base: str) -> dict[str, Any]:
    """The envelope of a list."""
    link = f"{base}/v3/{plural}"
    return {
        "type": "collection",
        "resourceType": kind,
        "links": {"self": link},
        "createTypes": {kind: link},
        "actions": {},
        "pagination": {"limit": 1000, "total": len(items)},
        "sort": {"order": "asc", "reverse": f"{link}?order=desc"},
        "filters": {},
        "data": items,
    }


def matches(view: Mapping[str, Any], query: Iterable[tuple[str, str]]) -> bool:
    """Whether a resource passes the filters of a query: equality and `_ne`; all must hold.

    A filter on a field that the type does not have drops nothing; an empty value means "has none".
    """
    return all(_passes(view, key, value) for key, value in query if key not in _CONTROLS)


def _passes(view: Mapping[str, Any], key: str, value: str) -> bool:
    field, negated = (key.removesuffix("_ne"), True) if key.endswith("_ne") else (key, False)
    if field not in view:
        return True
    held = view[field]
    text = str(held).lower() if isinstance(held, bool) else ("" if held is None else str(held))
    return (text == value) != negated


def _common(obj: Object, kind: str, state: State) -> dict[str, Any]:
    metadata = obj.metadata
    created = metadata.creation_timestamp
    removed = format_time(metadata.deletion_timestamp)
    return {
        "type": kind,
        "baseType": kind,
        "uuid": metadata.uid,
        "created": format_time(created),
        "createdTS": int(created.timestamp() * 1000) if created else None,
        "creatorId": metadata.annotations.get(CREATOR_ID),
        "labels": metadata.labels,
        "annotations": metadata.annotations,
        "state": state.name,
        "transitioning": state.norman_transitioning,
        "transitioningMessage": state.message,
        **({"removed": removed} if removed else {}),
    }
