"""Tokens of ext.cattle.io/v1: views over Secrets, each user's their own (contract, auth-and-rbac §1.11)."""

from __future__ import annotations

import contextlib
from typing import Any, Final
from uuid import uuid4

import msgspec

from outrider.apis.ext.backed import Backed, kept_marks, replaced_marks, shown_metadata
from outrider.apis.ext.group import NAMESPACE
from outrider.apis.ext.served import Caller, Json, Served
from outrider.apis.ext.token import (
    BEARER_PREFIX,
    EXT_TOKENS,
    TOKEN,
    TokenPrincipal,
    TokenSpec,
    TokenStatus,
)
from outrider.apis.ext.token import Token as ServedToken
from outrider.apis.management.cluster import CLUSTERS
from outrider.apis.management.principal import Principal
from outrider.apis.management.token import KIND_LABEL, Token
from outrider.features.auth import settings as names
from outrider.features.auth.access import cluster_access
from outrider.features.auth.judgement import token_ends
from outrider.features.auth.secrets import hash_secret, new_secret, random_text
from outrider.features.auth.served_access import Gatekeeper
from outrider.features.auth.settings import AuthSettings
from outrider.features.auth.token_secrets import encoded, secret_of, texts, token_of
from outrider.features.auth.ttl import FOREVER, token_ttl
from outrider.features.auth.views import rfc3339
from outrider.kit.clock import Clock
from outrider.kube.builtin import SECRETS
from outrider.kube.client import Client
from outrider.kube.errors import AlreadyExists, ApiError, BadRequest, Forbidden, Invalid
from outrider.kube.meta import ObjectMeta

_NAME_ATTEMPTS: Final = 8
_SETTLED: Final = ("user_id", "cluster_name", "kind", "user_principal")
"""Fields of the spec that no update changes."""


class ServedTokens:
    """Creates, shows, changes and deletes them."""

    def __init__(
        self, *, client: Client, gatekeeper: Gatekeeper, settings: AuthSettings, clock: Clock
    ) -> None:
        self._client = client
        self._gatekeeper = gatekeeper
        self._settings = settings
        self._clock = clock
        self._backed = Backed(
            client, EXT_TOKENS, SECRETS, TOKEN, show=self._show, oversees=gatekeeper.oversees
        )

    def served(self) -> Served:
        """The declaration."""
        backed = self._backed
        return Served(
            kind=EXT_TOKENS,
            create=self._create,
            get=backed.get,
            select=backed.select,
            watch=backed.watch,
            update=self._update,
            delete=backed.delete,
        )

    async def _create(self, caller: Caller, sent: Json, *, dry_run: bool) -> Json:
        user = await self._gatekeeper.user(caller)
        parent = await self._gatekeeper.token(caller)
        wanted = msgspec.convert(sent, ServedToken).spec
        if wanted.user_id not in ("", user.metadata.name):
            raise BadRequest("unable to create token for other user")
        cluster = await self._scope(caller, wanted.cluster_name, parent.cluster_name)
        secret = new_secret()
        draft = Token(
            metadata=ObjectMeta(labels={KIND_LABEL: wanted.kind}),
            token=hash_secret(secret),
            user_id=user.metadata.name,
            user_principal=parent.user_principal,
            ttl=self._lifetime(wanted.ttl),
            description=wanted.description,
            cluster_name=cluster,
            enabled=wanted.enabled,
        )
        stored = await self._store(draft, kept_marks(sent), dry_run=dry_run)
        shown = self._show(stored, caller)
        bearer = f"{BEARER_PREFIX}{stored['metadata']['name']}:{secret}"
        shown["status"] |= {"value": secret, "bearerToken": bearer}
        return shown

    async def _scope(self, caller: Caller, wanted: str, limit: str) -> str:
        if limit and wanted not in ("", limit):
            raise Forbidden(f"the token in use reaches cluster {limit} only")
        cluster = wanted or limit
        if not cluster:
            return ""
        if not await self._gatekeeper.may(caller, cluster_access(cluster)):
            raise Forbidden(f"not allowed to access cluster {cluster}")
        try:
            found = await self._client.get_or_none(CLUSTERS, cluster)
        except ValueError:
            found = None
        if found is None:
            raise BadRequest(f"cluster {cluster} not found")
        return cluster

    def _lifetime(self, wanted: int) -> int:
        return token_ttl(
            wanted,
            default_minutes=self._settings.number(names.DEFAULT_TTL),
            max_minutes=self._settings.number(names.MAX_TTL),
        )

    async def _store(self, draft: Token, marks: Json, *, dry_run: bool) -> Json:
        now = self._clock.now()
        uid = str(uuid4())
        for _ in range(_NAME_ATTEMPTS):
            draft.metadata.name = f"token-{random_text(5)}"
            secret = secret_of(draft, uid=uid, marks=marks, now=rfc3339(now))
            if dry_run:
                secret["metadata"]["creationTimestamp"] = rfc3339(now)
                return secret
            # five characters collide now and then
            with contextlib.suppress(AlreadyExists):
                return await self._client.create(SECRETS, secret)
        raise ApiError("no free name for a token: try again", code=500, reason="InternalError")

    async def _update(self, caller: Caller, old: Json, sent: Json, *, dry_run: bool) -> Json:
        stored = await self._backed.backing(caller, old["metadata"]["name"])
        held = msgspec.convert(old, ServedToken).spec
        wanted = msgspec.convert(sent, ServedToken).spec
        _check_update(held, wanted)
        values = {
            "description": wanted.description,
            "enabled": "false" if wanted.enabled is False else "true",
            "ttl": str(wanted.ttl),
            "last-update-time": rfc3339(self._clock.now()),
        }
        marks = kept_marks(sent, stored)
        if dry_run:
            data = stored["data"] | encoded(values)
            return self._show({"metadata": stored["metadata"] | marks, "data": data}, caller)
        version = {"resourceVersion": old["metadata"]["resourceVersion"]}
        patch = {"metadata": version | replaced_marks(stored, marks), "data": encoded(values)}
        changed = await self._client.patch(SECRETS, stored["metadata"]["name"], patch, NAMESPACE)
        return self._show(changed, caller)

    def _show(self, stored: Json, caller: Caller) -> Json:
        token, data = token_of(stored), texts(stored)
        ends = token_ends(token, idle_minutes=self._settings.number(names.IDLE_TTL))
        status = TokenStatus(
            current=caller.token == token.metadata.name and caller.user == token.user_id,
            expired=ends is not None and self._clock.now() >= ends,
            expires_at=rfc3339(ends),
            last_update_time=data.get("last-update-time", ""),
            last_used_at=data.get("last-used-at", ""),
            last_activity_seen=data.get("last-activity-seen", ""),
        )
        spec = TokenSpec(
            user_id=token.user_id,
            user_principal=_principal(token.user_principal),
            kind=data.get("kind", ""),
            description=token.description,
            ttl=token.ttl,
            enabled=token.enabled,
            cluster_name=token.cluster_name,
        )
        return {
            "apiVersion": EXT_TOKENS.api_version,
            "kind": EXT_TOKENS.kind,
            "metadata": shown_metadata(stored, data.get("kube-uid") or token.metadata.uid),
            "spec": msgspec.to_builtins(spec),
            "status": msgspec.to_builtins(status),
        }


def _check_update(held: TokenSpec, wanted: TokenSpec) -> None:
    for field in _SETTLED:
        given: Any = getattr(wanted, field)
        # what is left out stays; a principal or owner cannot be taken away
        if given and given != getattr(held, field):
            wire = dict(zip(TokenSpec.__struct_fields__, TokenSpec.__struct_encode_fields__, strict=True))[
                field
            ]
            raise Invalid(f"spec.{wire}: Invalid value: field is immutable")
    longer = held.ttl != FOREVER and (wanted.ttl <= 0 or wanted.ttl > held.ttl)
    if longer or wanted.ttl < 0:
        raise Invalid("spec.ttl: Invalid value: a token's lifetime can only be reduced")


def _principal(held: Principal | None) -> TokenPrincipal | None:
    if held is None:
        return None
    shared = {field: getattr(held, field) for field in TokenPrincipal.__struct_fields__ if field != "name"}
    return TokenPrincipal(name=held.metadata.name, **shared)
