"""All tokens: those of management.cattle.io and those of ext.cattle.io, found and changed alike.

A token of ext.cattle.io is presented, and named in verdicts and claims, as `ext/<name>`; its key has the namespace of
its Secret.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from outrider.apis.ext.group import NAMESPACE
from outrider.apis.ext.token import BEARER_PREFIX
from outrider.apis.management.token import TOKENS, Token
from outrider.features.auth.token_secrets import Json, change_of, token_of
from outrider.kube.builtin import SECRETS
from outrider.kube.client import Client
from outrider.kube.meta import ObjectKey
from outrider.runtime.store import Items, Lister


def reference(token: Token) -> str:
    """How a token is named where both kinds can stand."""
    name = token.metadata.name
    return f"{BEARER_PREFIX}{name}" if token.metadata.namespace else name


def key_of(named: str) -> ObjectKey:
    """The key of a token by its reference."""
    name = named.removeprefix(BEARER_PREFIX)
    return ObjectKey(NAMESPACE if name != named else "", name)


class AllTokens(Lister[Token]):
    """Reads local copies of both; the indexes of both have the same names."""

    def __init__(self, plain: Lister[Token], secrets: Lister[Json]) -> None:
        self._plain = plain
        self._secrets = secrets

    def get(self, key: ObjectKey) -> Token | None:
        """A token."""
        if not key.namespace:
            return self._plain.get(key)
        secret = self._secrets.get(key)
        return token_of(secret) if secret is not None else None

    def list(self, namespace: str | None = None) -> Iterable[Token]:
        """All, or those of one namespace."""
        yield from self._plain.list(namespace)
        yield from map(token_of, self._secrets.list(namespace))

    def index(self, name: str, value: str) -> Items[Token]:
        """Those for which the index gave the value."""
        return [*self._plain.index(name, value), *map(token_of, self._secrets.index(name, value))]

    def named(self, name: str) -> Iterator[Token]:
        """Those of a name, of which each kind may have one."""
        for key in (ObjectKey("", name), ObjectKey(NAMESPACE, name)):
            if (token := self.get(key)) is not None:
                yield token


class TokenStore:
    """Asks the API server for tokens, and changes them. Raises KubeError."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def find(self, key: ObjectKey) -> Token | None:
        """A token as it is now; None where there is none, and for a name that none can have."""
        try:
            if not key.namespace:
                return await self._client.get_or_none(TOKENS, key.name)
            secret = await self._client.get_or_none(SECRETS, key.name, key.namespace)
        except ValueError:
            return None
        return token_of(secret) if secret is not None else None

    async def disable(self, token: Token) -> None:
        """Have it accepted no more. Raises Conflict when it was changed meanwhile."""
        version = {"metadata": {"resourceVersion": token.metadata.resource_version}}
        await self._patch(token.key, {"enabled": False} | version, change_of(enabled=False) | version)

    async def used(self, key: ObjectKey, when: str) -> None:
        """Write down when it was last accepted."""
        await self._patch(key, {"lastUsedAt": when}, change_of(used=when))

    async def seen(self, key: ObjectKey, when: str) -> None:
        """Write down when the user of its session was last active."""
        await self._patch(key, {"activityLastSeenAt": when}, change_of(seen=when))

    async def delete(self, token: Token, *, unchanged: bool = False) -> None:
        """Delete it, with `unchanged` only as it is known here. Raises Conflict."""
        kind: Any = SECRETS if token.metadata.namespace else TOKENS
        version = token.metadata.resource_version if unchanged else ""
        await self._client.delete_if_exists(
            kind, *_place(token.key), uid=token.metadata.uid, resource_version=version
        )

    async def _patch(self, key: ObjectKey, plain: Json, secret: Json) -> None:
        if key.namespace:
            await self._client.patch(SECRETS, key.name, secret, key.namespace)
        else:
            await self._client.patch(TOKENS, key.name, plain)


def _place(key: ObjectKey) -> tuple[str, str]:
    return key.name, key.namespace
