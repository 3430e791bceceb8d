"""What the routes read from a request: who makes it, its body, the address to answer with."""

from typing import TypeVar

import msgspec
from starlette.requests import Request

from outrider.apis.norman import NormanError, Unauthenticated, retry_later
from outrider.kube.identity import Identity
from outrider.link.claims import claim_of
from outrider.link.messages import Claim

NO_CREDENTIAL = "No valid token cookie or auth header"

T = TypeVar("T")


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who has signed in. `token` is empty when that was by HTTP Basic with a password."""

    identity: Identity
    user: str
    token: str
    claim: Claim


def caller_of(request: Request, *, otherwise: str = "") -> Caller:
    """Who makes the request. Raises Unauthenticated, or the 429 that the credential met."""
    claim = claim_of(request.scope)
    if claim.identity is not None:
        return Caller(identity=claim.identity, user=claim.user, token=claim.token, claim=claim)
    if claim.code == "TooManyRequests":
        raise retry_later(429, claim.message or "too many attempts", 1.0, code=claim.code)
    raise Unauthenticated(claim.message if claim.code else otherwise)


def base_url(request: Request) -> str:
    """Scheme and host that links start with, as the client sees them."""
    claim = claim_of(request.scope)
    return f"{claim.scheme}://{claim.host or 'localhost'}"


async def body_of(request: Request, kind: type[T]) -> T:
    """The JSON body as a type; unknown fields are ignored. Raises NormanError (422)."""
    try:
        return msgspec.json.decode(await request.body() or b"{}", type=kind, strict=False)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        # msgspec's text may quote the body, which may hold a password
        raise NormanError(
            422, "the body is not the JSON that this action takes", code="InvalidBodyContent"
        ) from None
