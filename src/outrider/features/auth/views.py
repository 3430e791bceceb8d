"""Users and tokens as `/v3` shows them (contract, auth-and-rbac §0, §1.6, §1.14): pure functions."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.responses import Response

from outrider.apis.management.token import Token
from outrider.apis.management.user import User
from outrider.features.auth.judgement import token_ends
from outrider.kube.meta import Object

CREATOR = "field.cattle.io/creatorId"

_CONTROLS = frozenset({"limit", "marker", "sort", "order", "reverse", "action", "_", "csrf"})


def answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON response."""
    return Response(msgspec.json.encode(content), status, headers, media_type="application/json")


def token_view(token: Token, *, base: str, current: str, now: datetime, idle_minutes: int) -> dict[str, Any]:
    """A token without its secret. `current` names the token of this request."""
    ends = token_ends(token, idle_minutes=idle_minutes)
    principal = token.user_principal.metadata.name if token.user_principal is not None else ""
    return {
        **resource_view(token, "token", "tokens", base),
        "authProvider": token.auth_provider,
        "clusterId": token.cluster_name or None,
        "current": token.metadata.name == current,
        "description": token.description,
        "enabled": token.enabled is not False,
        "expired": ends is not None and now >= ends,
        "expiresAt": rfc3339(ends),
        "groupPrincipals": [group.metadata.name for group in token.group_principals or ()],
        "isDerived": token.is_derived,
        "lastUsedAt": token.last_used_at,
        "token": "",
        "ttl": token.ttl,
        "userId": token.user_id,
        "userPrincipal": principal,
    }


def user_view(user: User, *, base: str, me: str, may_set_password: bool = False) -> dict[str, Any]:
    """A user. `me` names the caller; actions are those that the caller may take."""
    view = resource_view(user, "user", "users", base)
    if may_set_password:
        view["actions"]["setpassword"] = f"{view['links']['self']}?action=setpassword"
    return view | {
        "description": user.description,
        "enabled": user.enabled is not False,
        "me": user.metadata.name == me,
        "mustChangePassword": user.must_change_password,
        "name": user.display_name,
        "principalIds": sorted({f"local://{user.metadata.name}", *(user.principal_ids or ())}),
        "state": "removing" if user.is_deleting else "active",
        "transitioning": "no",
        "transitioningMessage": "",
        "username": user.username,
    }


def resource_view(obj: Object, kind: str, plural: str, base: str) -> dict[str, Any]:
    """What every resource has: type, id, name, times, labels, annotations, links and actions."""
    meta = obj.metadata
    link = f"{base}/v3/{plural}/{meta.name}"
    created = meta.creation_timestamp
    return {
        "type": kind,
        "baseType": kind,
        "id": meta.name,
        "name": meta.name,
        "uuid": meta.uid,
        "created": rfc3339(created),
        "createdTS": int(created.timestamp() * 1000) if created is not None else None,
        "creatorId": meta.annotations.get(CREATOR),
        "annotations": meta.annotations,
        "labels": meta.labels,
        "links": {"self": link, "update": link, "remove": link},
        "actions": {},
    }


def collection(
    kind: str, plural: str, rows: Iterable[dict[str, Any]], *, base: str, actions: Iterable[str] = ()
) -> dict[str, Any]:
    """A list of resources."""
    link = f"{base}/v3/{plural}"
    return {
        "type": "collection",
        "resourceType": kind,
        "links": {"self": link},
        "createTypes": {kind: link},
        "actions": {action: f"{link}?action={action}" for action in actions},
        "pagination": {"limit": -1},
        "data": list(rows),
    }


def matches(row: Mapping[str, Any], query: Iterable[tuple[str, str]]) -> bool:
    """Whether a resource passes the filters of a list; one on a field that it does not have lets it pass."""
    return all(_passes(row, key, value) for key, value in query if key.lower() not in _CONTROLS)


def _passes(row: Mapping[str, Any], key: str, wanted: str) -> bool:
    field = key.removesuffix("_ne")
    if field not in row or isinstance(row[field], (dict, list)):
        return True
    return (_text(row[field]) == wanted) != (field != key)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def rfc3339(moment: datetime | None) -> str:
    """`2030-01-01T00:00:00Z`; empty for none."""
    if moment is None:
        return ""
    return moment.astimezone(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")
