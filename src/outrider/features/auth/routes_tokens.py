"""A user's own tokens (contract, auth-and-rbac §1.7).

Tokens are read and written with the server's own identity, after a check whose they are: no role lets a user
see the collection.
"""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from outrider.apis.management.token import TOKENS, Token
from outrider.apis.management.user import USERS, User
from outrider.apis.norman import NormanError
from outrider.features.auth import settings as names
from outrider.features.auth.arrival import Arrival
from outrider.features.auth.reconcile_tokens import USER_INDEX
from outrider.features.auth.requests import NO_CREDENTIAL, Caller, base_url, body_of, caller_of
from outrider.features.auth.routes_login import LoginRoutes
from outrider.features.auth.settings import AuthSettings
from outrider.features.auth.tokens import TokenIssuer, session_draft
from outrider.features.auth.verdicts import VerdictService
from outrider.features.auth.views import answer, collection, matches, token_view
from outrider.kit.clock import Clock
from outrider.kube.client import Client
from outrider.kube.meta import ObjectKey
from outrider.link.messages import Resolve
from outrider.runtime.store import Lister


class NewToken(msgspec.Struct, rename="camel"):
    """What is asked of a new token; ttl in ms."""

    ttl: int = 0
    description: str = ""
    cluster_id: str | None = None


class ReviewSpec(msgspec.Struct):
    """The token to review."""

    token: str = ""

    def __repr__(self) -> str:
        return "ReviewSpec(…)"


class Review(msgspec.Struct, rename="camel"):
    """authentication.k8s.io TokenReview, as far as it is read."""

    api_version: str = "authentication.k8s.io/v1"
    spec: ReviewSpec = msgspec.field(default_factory=ReviewSpec)


class TokenRoutes:
    """`/v3/tokens` and `/v3/tokenreview`."""

    def __init__(
        self,
        *,
        client: Client,
        tokens: Lister[Token],
        users: Lister[User],
        issuer: TokenIssuer,
        verdicts: VerdictService,
        login: LoginRoutes,
        arrival: Arrival,
        settings: AuthSettings,
        clock: Clock,
    ) -> None:
        self._client = client
        self._tokens = tokens
        self._users = users
        self._issuer = issuer
        self._verdicts = verdicts
        self._login = login
        self._arrival = arrival
        self._settings = settings
        self._clock = clock

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route("/v3/tokens", self.list_own, methods=["GET"]),
            Route("/v3/tokens", self.act, methods=["POST"]),
            Route("/v3/tokens/{name}", self.get, methods=["GET"]),
            Route("/v3/tokens/{name}", self.delete, methods=["DELETE"]),
            Route("/v3/tokenreview", self.review, methods=["POST"]),
        ]

    async def list_own(self, request: Request) -> Response:
        """GET /v3/tokens"""
        caller = caller_of(request, otherwise=NO_CREDENTIAL)
        own = self._tokens.index(USER_INDEX, caller.user)
        rows = [self._view(request, caller, token) for token in own if not token.is_deleting]
        query = request.query_params.multi_items()
        kept = [row for row in rows if matches(row, query)]
        return answer(
            collection("token", "tokens", kept, base=base_url(request), actions=("logout", "logoutAll"))
        )

    async def get(self, request: Request) -> Response:
        """GET /v3/tokens/<name>"""
        caller = caller_of(request, otherwise=NO_CREDENTIAL)
        return answer(self._view(request, caller, await self._own(caller, request.path_params["name"])))

    async def act(self, request: Request) -> Response:
        """POST /v3/tokens: create, or the action in the query"""
        action = request.query_params.get("action", "")
        if action in ("logout", "logoutAll"):
            return await self._login.logout(request)
        if action:
            raise NormanError(404, "tokens have the actions logout and logoutAll", code="ActionNotAvailable")
        return await self._create(request)

    async def _create(self, request: Request) -> Response:
        caller = caller_of(request, otherwise=NO_CREDENTIAL)
        wanted = await body_of(request, NewToken)
        issued = await self._issuer.derived(
            await self._parent(caller),
            ttl=wanted.ttl,
            description=wanted.description,
            cluster=wanted.cluster_id or "",
        )
        await self._arrival.of(self._tokens, issued.token.key)
        return answer(self._view(request, caller, issued.token) | {"token": issued.value}, 201)

    async def _parent(self, caller: Caller) -> Token:
        if caller.token:
            return await self._client.get(TOKENS, caller.token)
        # signed in by HTTP Basic with a password: what a session of the user would be
        user = self._users.get(ObjectKey("", caller.user))
        if user is None:
            user = await self._client.get(USERS, caller.user)
        return session_draft(user, ttl=0, description="")

    async def delete(self, request: Request) -> Response:
        """DELETE /v3/tokens/<name>"""
        caller = caller_of(request, otherwise=NO_CREDENTIAL)
        token = await self._own(caller, request.path_params["name"])
        if token.metadata.name == caller.token:
            raise NormanError(
                400, "Cannot delete token for current session. Use logout instead", code="InvalidAction"
            )
        await self._client.delete_if_exists(TOKENS, token.metadata.name, uid=token.metadata.uid)
        await self._arrival.of_end(self._tokens, token.key)
        return Response(status_code=204)

    async def _own(self, caller: Caller, name: str) -> Token:
        token = self._tokens.get(ObjectKey("", name))
        if token is None:
            token = await self._asked(name)
        # somebody else's is answered as if it were not there
        if token is None or token.user_id != caller.user or token.is_deleting:
            raise NormanError(404, f"token {name} not found")
        return token

    async def _asked(self, name: str) -> Token | None:
        try:
            return await self._client.get_or_none(TOKENS, name)
        except ValueError:
            return None

    async def review(self, request: Request) -> Response:
        """POST /v3/tokenreview"""
        caller = caller_of(request)
        review = await body_of(request, Review)
        verdict = await self._verdicts.resolve(
            Resolve(
                id=0,
                credential=f"Bearer {review.spec.token}",
                host=caller.claim.host,
                remote=caller.claim.remote,
            )
        )
        status: dict[str, Any] = {"authenticated": False}
        if verdict.status == 200 and verdict.identity is not None:
            identity = verdict.identity
            user = {"username": identity.user, "groups": identity.groups, "extra": identity.extra}
            status = {"authenticated": True, "user": user}
        return answer(
            {"apiVersion": review.api_version, "kind": "TokenReview", "spec": {}, "status": status}, 201
        )

    def _view(self, request: Request, caller: Caller, token: Token) -> dict[str, Any]:
        return token_view(
            token,
            base=base_url(request),
            current=caller.token,
            now=self._clock.now(),
            idle_minutes=self._settings.number(names.IDLE_TTL),
        )
