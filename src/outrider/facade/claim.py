"""Takes the claim from the gateway's header and dresses every answer with the headers that all share."""

import logging

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from outrider.apis.norman import NormanError
from outrider.facade.norman import error_response
from outrider.features.auth.judgement import AUTOMATIC_GROUPS, is_reserved
from outrider.kube.identity import Identity
from outrider.link.claims import ClaimError, decode_claim, put_claim
from outrider.link.messages import CLAIM_HEADER, Claim

log = logging.getLogger(__name__)

INTERNAL = NormanError(500, "internal error: see the server's log")


class RequestFailed(Exception):
    """Ends a connection whose answer had begun when its route failed; the cause is logged already."""


class ClaimMiddleware:
    """Attaches the claim to the request. A claim that cannot be trusted ends it with 500, never as anonymous."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            claim = read_claim(Headers(scope=scope))
        except ClaimError as error:
            refusal = error_response(NormanError(500, str(error)))
            await refusal(scope, receive, send)
            return
        put_claim(scope, claim)
        begun = False

        async def dressed(message: Message) -> None:
            nonlocal begun
            begun = True
            if message["type"] == "http.response.start":
                _dress(MutableHeaders(scope=message), authenticated=claim.identity is not None)
            await send(message)

        try:
            await self._app(scope, receive, dressed)
        except Exception as error:
            # the log gets the trace, the client gets none of it
            log.exception("%s %s failed", scope.get("method", ""), scope["path"])
            if begun or scope["type"] != "http":
                raise RequestFailed from error
            await error_response(INTERNAL)(scope, receive, dressed)


def read_claim(headers: Headers) -> Claim:
    """The claim in the headers; anonymous when there is none. Raises ClaimError."""
    values = headers.getlist(CLAIM_HEADER)
    if not values:
        return Claim()
    if len(values) > 1:
        raise ClaimError("the request carries more than one claim")
    claim = decode_claim(values[0])
    if claim.identity is not None and not is_ordinary(claim.identity):
        raise ClaimError("the claim names a user or group that no claim may name")
    return claim


def is_ordinary(identity: Identity) -> bool:
    """Whether no name is one of Kubernetes' own, beside the two groups that everybody has."""
    groups = (group for group in identity.groups if group not in AUTOMATIC_GROUPS)
    return bool(identity.user) and not any(map(is_reserved, (identity.user, *groups)))


def _dress(headers: MutableHeaders, *, authenticated: bool) -> None:
    headers["X-API-Cattle-Auth"] = "true" if authenticated else "false"
    headers["X-Content-Type-Options"] = "nosniff"
    headers.setdefault("Cache-Control", "no-store")
