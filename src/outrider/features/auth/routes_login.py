"""Signing in and out (contract, auth-and-rbac §1.1, §1.2, §1.8)."""

from collections.abc import Callable

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from outrider.apis.norman import NormanError, retry_later
from outrider.features.auth import cookies
from outrider.features.auth.errors import AuthenticationFailed, Busy, TooManyAttempts, UserDisabled
from outrider.features.auth.judgement import EXPIRED
from outrider.features.auth.login import LocalPasswords
from outrider.features.auth.requests import NO_CREDENTIAL, base_url, body_of
from outrider.features.auth.stored_tokens import TokenStore, key_of
from outrider.features.auth.tokens import LOCAL_PROVIDER, IssuedToken, TokenIssuer
from outrider.features.auth.views import answer, rfc3339, token_fields
from outrider.kit.clock import Clock
from outrider.kube.client import Client
from outrider.link.claims import claim_of

_KUBECONFIG = "kubeconfig"
_TYPE = "localProvider"


class Credentials(msgspec.Struct, rename="camel"):
    """What a client signs in with."""

    username: str = ""
    password: str = ""
    description: str = ""
    response_type: str = ""
    type: str = ""

    def __repr__(self) -> str:
        return "Credentials(…)"


class LoginRoutes:
    """The endpoints that need no identity, and logout."""

    def __init__(
        self,
        *,
        client: Client,
        passwords: LocalPasswords,
        issuer: TokenIssuer,
        providers: Callable[[], frozenset[str]],
        v3_public: Callable[[], bool],
        clock: Clock,
    ) -> None:
        self._store = TokenStore(client)
        self._passwords = passwords
        self._issuer = issuer
        self._providers = providers
        self._v3_public = v3_public
        self._clock = clock

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route("/v3-public/authProviders", self.list_old, methods=["GET"]),
            Route("/v3-public/authProviders/{name}", self.get_old, methods=["GET"]),
            Route("/v3-public/localProviders/local", self.login_old, methods=["POST"]),
            Route("/v3-public/localProviders/local", self.get_local, methods=["GET"]),
            Route("/v1-public/authproviders", self.list_new, methods=["GET"]),
            Route("/v1-public/login", self.login_new, methods=["POST"]),
            Route("/v1/logout", self.logout, methods=["POST"]),
        ]

    async def list_old(self, request: Request) -> Response:
        """GET /v3-public/authProviders"""
        base = self._old_base(request)
        rows = [_provider(base)] if LOCAL_PROVIDER in self._providers() else []
        link = f"{base}/v3-public/authProviders"
        return answer(
            {"type": "collection", "resourceType": "authProvider", "links": {"self": link}, "data": rows}
        )

    async def get_old(self, request: Request) -> Response:
        """GET /v3-public/authProviders/<name>"""
        if request.path_params["name"] != LOCAL_PROVIDER:
            raise NormanError(404, "no such auth provider")
        return await self.get_local(request)

    async def get_local(self, request: Request) -> Response:
        """GET /v3-public/localProviders/local"""
        base = self._old_base(request)
        self._need_provider()
        return answer(_provider(base))

    async def list_new(self, request: Request) -> Response:
        """GET /v1-public/authproviders"""
        enabled = LOCAL_PROVIDER in self._providers()
        return answer({"data": [{"id": LOCAL_PROVIDER, "type": _TYPE, **_LOGOUT}] if enabled else []})

    async def login_old(self, request: Request) -> Response:
        """POST /v3-public/localProviders/local?action=login"""
        self._old_base(request)
        if request.query_params.get("action") != "login":
            raise NormanError(404, "the only action here is login", code="ActionNotAvailable")
        return await self._login(request, await body_of(request, Credentials))

    async def login_new(self, request: Request) -> Response:
        """POST /v1-public/login"""
        credentials = await body_of(request, Credentials)
        if credentials.type != _TYPE:
            raise NormanError(422, "unknown type of auth provider", code="InvalidBodyContent", field="type")
        return await self._login(request, credentials)

    async def _login(self, request: Request, credentials: Credentials) -> Response:
        claim = claim_of(request.scope)
        if cookies.is_foreign(request, claim.host):
            raise NormanError(403, "a page of another site may not sign in here")
        self._need_provider()
        kind, _, cluster = credentials.response_type.partition("_")
        if kind not in ("", "json", "cookie", _KUBECONFIG) or (cluster and kind != _KUBECONFIG):
            raise NormanError(422, "unknown responseType", code="InvalidOption", field="responseType")
        issued = await self._issue(credentials, kind, cluster, claim.remote)
        if kind == "cookie":
            response = Response(status_code=200)
            cookies.set_session(response, issued.value, seconds=issued.token.ttl // 1000)
            return response
        return answer(self._view(issued, base_url(request)), 201)

    async def _issue(self, credentials: Credentials, kind: str, cluster: str, remote: str) -> IssuedToken:
        try:
            user = await self._passwords.authenticate(
                credentials.username, credentials.password, remote=remote
            )
        except AuthenticationFailed as error:
            raise NormanError(401, str(error)) from None
        except UserDisabled as error:
            raise NormanError(403, str(error)) from None
        except TooManyAttempts as error:
            raise retry_later(429, str(error), error.retry_after) from None
        except Busy as error:
            raise retry_later(503, str(error), 2.0, code="ServerError") from None
        if kind == _KUBECONFIG:
            return await self._issuer.kubeconfig(user, cluster=cluster, description=credentials.description)
        return await self._issuer.session(user, description=credentials.description)

    def _view(self, issued: IssuedToken, base: str) -> dict[str, object]:
        token = issued.token
        name, created = token.metadata.name, token.metadata.creation_timestamp
        return {
            "type": "token",
            "baseType": "token",
            "id": name,
            "name": name,
            "created": rfc3339(created),
            "createdTS": int(created.timestamp() * 1000) if created is not None else None,
            "description": token.description,
            "ttl": token.ttl,
            "links": {"self": f"{base}/v3/tokens/{name}"},
            "actions": {},
            **token_fields(token, current="", now=self._clock.now(), idle_minutes=0),
            "token": issued.value,
        }

    async def logout(self, request: Request) -> Response:
        """POST /v1/logout: deletes the token of this request and clears the cookies."""
        claim = claim_of(request.scope)
        if claim.identity is None and claim.code != EXPIRED:
            text = claim.message if claim.code else NO_CREDENTIAL
            return PlainTextResponse(text, 401)
        response = answer({})
        for name, value in await self.sign_out(claim.token):
            response.headers.append(name, value)
        return response

    async def sign_out(self, token: str) -> tuple[tuple[str, str], ...]:
        """Delete a token; returns the headers that make a browser forget it."""
        if token:
            found = await self._store.find(key_of(token))
            if found is not None:
                await self._store.delete(found)
        cleared = Response()
        cookies.clear(cleared)
        named = (("set-cookie", value) for key, value in cleared.raw_headers if key == b"set-cookie")
        return tuple((key, value.decode("latin-1")) for key, value in named)

    def _old_base(self, request: Request) -> str:
        if not self._v3_public():
            raise NormanError(404, "not found")
        return base_url(request)

    def _need_provider(self) -> None:
        if LOCAL_PROVIDER not in self._providers():
            raise NormanError(404, "this auth provider is disabled")


_LOGOUT = {"logoutAllSupported": False, "logoutAllEnabled": False, "logoutAllForced": False}


def _provider(base: str) -> dict[str, object]:
    link = f"{base}/v3-public/localProviders/local"
    return {
        "id": LOCAL_PROVIDER,
        "name": LOCAL_PROVIDER,
        "type": _TYPE,
        "baseType": "authProvider",
        "links": {"self": link},
        "actions": {"login": f"{link}?action=login"},
        **_LOGOUT,
    }
