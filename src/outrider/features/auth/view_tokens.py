"""A user's own tokens in `/v3` (contract, auth-and-rbac §1.7).

Tokens are read and written with the server's own identity, after a check whose they are: no role lets a user
see the collection.
"""

from collections.abc import Sequence

import msgspec

from outrider.apis.management.token import TOKENS, Token
from outrider.apis.management.user import USERS, User
from outrider.apis.norman import NormanError, Unauthenticated
from outrider.apis.views.call import Call
from outrider.apis.views.view import Access, Action, Field, Invocation, Json, Result, View
from outrider.features.auth import settings as names
from outrider.features.auth.arrival import Arrival
from outrider.features.auth.reconcile_tokens import USER_INDEX
from outrider.features.auth.requests import NO_CREDENTIAL
from outrider.features.auth.routes_login import LoginRoutes
from outrider.features.auth.settings import AuthSettings
from outrider.features.auth.stored_tokens import TokenStore, key_of
from outrider.features.auth.tokens import TokenIssuer, session_draft
from outrider.features.auth.view_users import taken
from outrider.features.auth.views import token_fields
from outrider.kit.clock import Clock
from outrider.kube.client import Client
from outrider.kube.meta import ObjectKey
from outrider.runtime.store import Lister

_READ = Field(access=Access.READ)


class NewToken(msgspec.Struct, rename="camel"):
    """What is asked of a new token; ttl in ms."""

    ttl: int = 0
    description: str = ""
    cluster_name: str = ""


class OwnTokens:
    """The tokens of whoever asks, and no others."""

    def __init__(
        self,
        *,
        client: Client,
        tokens: Lister[Token],
        users: Lister[User],
        issuer: TokenIssuer,
        arrival: Arrival,
    ) -> None:
        self._client = client
        self._store = TokenStore(client)
        self._tokens = tokens
        self._users = users
        self._issuer = issuer
        self._arrival = arrival

    async def list(self, call: Call) -> Sequence[Json]:
        """All of them."""
        own = self._tokens.index(USER_INDEX, call.user)
        return [_plain(token) for token in own if not token.is_deleting]

    async def get(self, call: Call, key: ObjectKey) -> Json:
        """One of them. Raises NormanError 404, for somebody else's as well."""
        return _plain(await self._own(call, key.name))

    async def create(self, call: Call, draft: Json) -> Json:
        """An API key of the caller's, with its secret, which nothing shows again."""
        wanted = taken(draft, NewToken)
        issued = await self._issuer.derived(
            await self._parent(call),
            ttl=wanted.ttl,
            description=wanted.description,
            cluster=wanted.cluster_name,
        )
        await self._arrival.of(self._tokens, issued.token.key)
        return _plain(issued.token) | {"token": issued.value}

    async def update(self, call: Call, old: Json, patch: Json) -> Json:
        """Never: what a token may do was settled when it was made."""
        raise NormanError(405, "tokens are not changed: make a new one")

    async def delete(self, call: Call, old: Json) -> Json | None:
        """One of them, but not the one in use."""
        metadata = old["metadata"]
        if metadata["name"] == call.token:
            raise NormanError(
                400, "Cannot delete token for current session. Use logout instead", code="InvalidAction"
            )
        await self._client.delete_if_exists(TOKENS, metadata["name"], uid=metadata["uid"])
        await self._arrival.of_end(self._tokens, ObjectKey("", metadata["name"]))
        return None

    def allows(self, call: Call, verb: str, key: ObjectKey | None) -> bool:
        """Everything that one does with what is one's own; the one in use is not deleted."""
        return verb != "delete" or key is None or key.name != call.token

    async def _parent(self, call: Call) -> Token:
        if call.token:
            parent = await self._store.find(key_of(call.token))
            if parent is None:
                raise Unauthenticated(NO_CREDENTIAL)
            return parent
        # signed in by HTTP Basic with a password: what a session of the user would be
        user = self._users.get(ObjectKey("", call.user))
        if user is None:
            user = await self._client.get(USERS, call.user)
        return session_draft(user, ttl=0, description="")

    async def _own(self, call: Call, name: str) -> Token:
        token = self._tokens.get(ObjectKey("", name))
        if token is None:
            token = await self._asked(name)
        # somebody else's is answered as if it were not there
        if token is None or token.user_id != call.user or token.is_deleting:
            raise NormanError(404, f"token {name} not found")
        return token

    async def _asked(self, name: str) -> Token | None:
        try:
            return await self._client.get_or_none(TOKENS, name)
        except ValueError:
            return None


class TokenViews:
    """The view of tokens."""

    def __init__(self, *, own: OwnTokens, login: LoginRoutes, settings: AuthSettings, clock: Clock) -> None:
        self._own = own
        self._login = login
        self._settings = settings
        self._clock = clock

    def views(self) -> list[View]:
        """The view."""
        return [
            View(
                kind=TOKENS,
                type="token",
                plural="tokens",
                names={"clusterName": "clusterId"},
                fields={
                    "token": _READ,
                    "clusterId": Field(access=Access.CREATE, type="reference[cluster]"),
                    "description": Field(access=Access.CREATE, absent=""),
                    "ttl": Field(access=Access.CREATE, absent=0),
                    "userPrincipal": Field(access=Access.READ, type="reference[principal]"),
                    "groupPrincipals": Field(access=Access.READ, type="array[reference[principal]]"),
                    **dict.fromkeys(
                        (
                            "authProvider",
                            "current",
                            "enabled",
                            "expired",
                            "expiresAt",
                            "isDerived",
                            "lastUsedAt",
                            "userId",
                        ),
                        _READ,
                    ),
                },
                hidden=frozenset({"providerInfo", "activityLastSeenAt"}),
                generate_name="token-",
                methods=frozenset({"GET", "POST", "DELETE"}),
                collection_actions=(
                    Action(name="logout", run=self._logout, open=True),
                    Action(name="logoutAll", run=self._logout, open=True),
                ),
                store=self._own,
                compute=self._compute,
                stateless=True,
                refusal=NO_CREDENTIAL,
            )
        ]

    def _compute(self, stored: Json, call: Call) -> Json:
        return token_fields(
            msgspec.convert(stored, Token),
            current=call.token,
            now=self._clock.now(),
            idle_minutes=self._settings.number(names.IDLE_TTL),
        )

    async def _logout(self, asked: Invocation) -> Result:
        call = asked.call
        if not call.user and call.problem != "Expired":
            raise Unauthenticated(NO_CREDENTIAL)
        return Result(body={}, headers=await self._login.sign_out(call.token))


def _plain(token: Token) -> Json:
    return TOKENS.encode(token)
