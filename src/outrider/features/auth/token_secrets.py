"""Tokens of ext.cattle.io as they are kept: Secrets in `cattle-tokens` (contract, auth-and-rbac §1.11). Pure.

To everything that judges, counts and deletes tokens they are `Token`s like those of management.cattle.io, told apart
by their namespace.
"""

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from outrider.apis.ext.group import KIND_LABEL as WHAT_LABEL
from outrider.apis.ext.group import NAMESPACE
from outrider.apis.ext.group import USER_LABEL as OWNER_LABEL
from outrider.apis.ext.token import SESSION, TOKEN
from outrider.apis.management.principal import Principal
from outrider.apis.management.token import KIND_LABEL, USER_LABEL, Token
from outrider.kube.meta import ObjectMeta

SELECTOR = f"{WHAT_LABEL}={TOKEN}"

Json = dict[str, Any]

_UNREADABLE = 1
"""Milliseconds that a token lives whose lifetime cannot be read."""


def token_of(secret: Mapping[str, Any]) -> Token:
    """The token in a Secret; what cannot be read of it makes it one that nobody can use."""
    data = texts(secret)
    metadata = msgspec.convert(secret.get("metadata") or {}, ObjectMeta)
    kind, owner = data.get("kind", ""), data.get("user-id", "")
    labels = metadata.labels | {USER_LABEL: owner, KIND_LABEL: kind}
    principal = principal_of(data)
    return Token(
        metadata=msgspec.structs.replace(metadata, labels=labels),
        token=data.get("hash", ""),
        user_principal=principal,
        user_id=owner,
        auth_provider=principal.provider if principal is not None else "",
        ttl=ttl_of(data),
        last_used_at=data.get("last-used-at") or None,
        activity_last_seen_at=data.get("last-activity-seen") or None,
        is_derived=kind != SESSION,
        description=data.get("description", ""),
        cluster_name=data.get("cluster", ""),
        enabled=data.get("enabled", "true") == "true",
    )


def texts(secret: Mapping[str, Any]) -> dict[str, str]:
    """The values of a Secret that are text."""
    found: dict[str, str] = {}
    for key, value in (secret.get("data") or {}).items():
        try:
            found[key] = base64.b64decode(value or "", validate=True).decode()
        except (binascii.Error, ValueError):
            continue
    return found


def principal_of(data: Mapping[str, str]) -> Principal | None:
    """Who signed in."""
    try:
        return msgspec.json.decode(data.get("principal", ""), type=Principal)
    except (msgspec.MsgspecError, RecursionError):
        return None


def ttl_of(data: Mapping[str, str]) -> int:
    """Milliseconds that it lives; 0 for ever."""
    text = data.get("ttl", "")
    return max(0, int(text)) if text.isascii() and text.isdigit() and len(text) < 16 else _UNREADABLE


def secret_of(token: Token, *, uid: str, marks: Json, now: str) -> Json:
    """The Secret that keeps a token; `marks` are labels and annotations of its owner's, `uid` the object's own."""
    kind = token.metadata.labels.get(KIND_LABEL, "")
    labels = {WHAT_LABEL: TOKEN, OWNER_LABEL: token.user_id, KIND_LABEL: kind}
    metadata = {
        "name": token.metadata.name,
        "namespace": NAMESPACE,
        "labels": marks["labels"] | labels,
        "annotations": marks["annotations"],
    }
    data = {
        "cluster": token.cluster_name,
        "description": token.description,
        "enabled": _word(token.enabled is not False),
        "hash": token.token,
        "kind": kind,
        "kube-uid": uid,
        "last-activity-seen": "",
        "last-update-time": now,
        "last-used-at": "",
        "principal": msgspec.json.encode(token.user_principal).decode(),
        "ttl": str(token.ttl),
        "user-id": token.user_id,
    }
    return {"metadata": metadata, "type": "Opaque", "data": encoded(data)}


def change_of(*, enabled: bool | None = None, used: datetime | str = "", seen: str = "") -> Json:
    """The patch that writes down what is given."""
    values = {
        "enabled": _word(enabled) if enabled is not None else "",
        "last-used-at": str(used),
        "last-activity-seen": seen,
    }
    return {"data": encoded({key: value for key, value in values.items() if value})}


def encoded(values: Mapping[str, str]) -> dict[str, str]:
    """Values as a Secret holds them."""
    return {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}


def _word(value: bool) -> str:
    return "true" if value else "false"
