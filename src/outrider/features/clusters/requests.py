"""What the routes of clusters read from a request, and how they answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from outrider.apis.norman import NormanError, Unauthenticated, retry_later
from outrider.kube.client import Client
from outrider.link.claims import claim_of
from outrider.link.messages import Claim


def caller_of(request: Request) -> Claim:
    """The claim of somebody who has signed in. Raises Unauthenticated, or the 429 that was met."""
    claim = claim_of(request.scope)
    if claim.identity is not None:
        return claim
    if claim.code == "TooManyRequests":
        raise retry_later(429, claim.message or "too many attempts", 1.0, code=claim.code)
    raise Unauthenticated(claim.message)


def as_caller(client: Client, request: Request) -> Client:
    """A client that acts as whoever makes the request."""
    identity = caller_of(request).identity
    if identity is None:
        raise Unauthenticated
    return client.as_user(identity)


def base_url(request: Request) -> str:
    """Scheme and host that links start with, as the client sees them."""
    claim = claim_of(request.scope)
    return f"{claim.scheme}://{claim.host or 'localhost'}"


async def body_of(request: Request) -> dict[str, Any]:
    """The JSON object in the body; an empty body is an empty object. Raises NormanError (422)."""
    try:
        return msgspec.json.decode(await request.body() or b"{}", type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise NormanError(422, "the body is not a JSON object", code="InvalidBodyContent") from None


def answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON response."""
    return Response(msgspec.json.encode(content), status, headers, media_type="application/json")
