"""Tokens as clients see them, and JSON answers (contract, auth-and-rbac §1.2, §1.6)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.responses import Response

from outrider.apis.management.token import Token
from outrider.features.auth.judgement import token_ends


def answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON response."""
    return Response(msgspec.json.encode(content), status, headers, media_type="application/json")


def token_fields(token: Token, *, current: str, now: datetime, idle_minutes: int) -> dict[str, Any]:
    """What is shown of a token beside what is stored. `current` names the token of this request.

    The secret is there only in the answer to its creation: what is stored is a hash, or nothing to be shown.
    """
    ends = token_ends(token, idle_minutes=idle_minutes)
    principal = token.user_principal.metadata.name if token.user_principal is not None else ""
    return {
        "token": token.token if token.token.startswith(f"{token.metadata.name}:") else "",
        "authProvider": token.auth_provider,
        "clusterId": token.cluster_name or None,
        "current": token.metadata.name == current,
        "enabled": token.enabled is not False,
        "expired": ends is not None and now >= ends,
        "expiresAt": rfc3339(ends),
        "groupPrincipals": [group.metadata.name for group in token.group_principals or ()],
        "isDerived": token.is_derived,
        "lastUsedAt": token.last_used_at,
        "userId": token.user_id,
        "userPrincipal": principal,
    }


def rfc3339(moment: datetime | None) -> str:
    """`2030-01-01T00:00:00Z`; empty for none."""
    if moment is None:
        return ""
    return moment.astimezone(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")
