"""Activity in sessions: ext.cattle.io/v1 UserActivity, named after the session's token (contract, §1.13)."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from outrider.apis.ext.backed import not_found
from outrider.apis.ext.served import Caller, Json, Served
from outrider.apis.ext.user_activity import (
    USER_ACTIVITIES,
    UserActivity,
    UserActivitySpec,
    UserActivityStatus,
)
from outrider.apis.management.token import Token
from outrider.features.auth import settings as names
from outrider.features.auth.judgement import parse_time, token_ends
from outrider.features.auth.served_access import Gatekeeper
from outrider.features.auth.settings import AuthSettings
from outrider.features.auth.stored_tokens import TokenStore
from outrider.features.auth.tokens import is_session
from outrider.features.auth.ttl import expires_at
from outrider.features.auth.views import rfc3339
from outrider.kit.clock import Clock
from outrider.kube.client import Client
from outrider.kube.errors import BadRequest, Forbidden


class ServedActivities:
    """Shows and records when the user of a session was last active."""

    def __init__(
        self, *, client: Client, gatekeeper: Gatekeeper, settings: AuthSettings, clock: Clock
    ) -> None:
        self._store = TokenStore(client)
        self._gatekeeper = gatekeeper
        self._settings = settings
        self._clock = clock

    def served(self) -> Served:
        """The declaration."""
        return Served(kind=USER_ACTIVITIES, get=self._get, update=self._update)

    async def _get(self, caller: Caller, name: str) -> Json:
        return self._shown(await self._session(caller, name))

    async def _update(self, caller: Caller, old: Json, sent: Json, *, dry_run: bool) -> Json:
        token = await self._session(caller, old["metadata"]["name"])
        asked = msgspec.convert(sent, UserActivity).spec.seen_at
        seen, now = parse_time(asked) if asked else None, self._clock.now()
        if asked and seen is None:
            raise BadRequest("spec.seenAt is not a time (RFC 3339)")
        seen = min(seen or now, now)
        before = parse_time(token.activity_last_seen_at)
        if before is not None and seen <= before:
            return self._shown(token)
        if not dry_run:
            await self._store.seen(token.key, rfc3339(seen))
        return self._shown(msgspec.structs.replace(token, activity_last_seen_at=rfc3339(seen)))

    async def _session(self, caller: Caller, name: str) -> Token:
        """The session of that name, which is theirs and alive. Raises ApiError."""
        current = await self._gatekeeper.token(caller)
        token = await self._gatekeeper.find_token(name, caller.user)
        if token is None:
            raise not_found(USER_ACTIVITIES, name)
        if token.auth_provider != current.auth_provider:
            raise Forbidden("auth provider mismatch")
        if token.user_principal != current.user_principal:
            raise Forbidden("user principal mismatch")
        if not is_session(token):
            raise Forbidden("not a session token")
        if token.enabled is False:
            raise Forbidden("token is disabled")
        self._check_time(token)
        return token

    def _check_time(self, token: Token) -> None:
        now = self._clock.now()
        ends = expires_at(token.metadata.creation_timestamp, token.ttl)
        if ends is not None and now >= ends:
            raise Forbidden("token is expired")
        idle = token_ends(token, idle_minutes=self._settings.number(names.IDLE_TTL))
        if idle is not None and now >= idle:
            raise Forbidden("session idle timeout expired")

    def _shown(self, token: Token) -> Json:
        seen = parse_time(token.activity_last_seen_at)
        idle = timedelta(minutes=self._settings.number(names.IDLE_TTL))
        created = token.metadata.creation_timestamp
        spec = UserActivitySpec(seen_at=rfc3339(seen) or None)
        status = UserActivityStatus(expires_at=rfc3339(seen + idle) if seen is not None else "")
        return {
            "apiVersion": USER_ACTIVITIES.api_version,
            "kind": USER_ACTIVITIES.kind,
            "metadata": {
                "name": token.metadata.name,
                "creationTimestamp": rfc3339(created) or None,
            },
            "spec": msgspec.to_builtins(spec),
            "status": msgspec.to_builtins(status),
        }
