"""Proof that a credential impersonates whom it should: an access review made with it (decision 4)."""

from __future__ import annotations

import enum
import re
from typing import Any, Final

import msgspec

from outrider.kit.http1 import well_formed
from outrider.kube.identity import Identity, impersonation_headers
from outrider.kube.transport import Request, Response, Transport
from outrider.tunnel.exchange import CredentialError

_REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_BODY: Final = msgspec.json.encode(
    {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"nonResourceAttributes": {"path": "/version", "verb": "get"}},
    }
)
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{16,16384}")


class Outcome(enum.Enum):
    """What the API server thought of a credential."""

    ACCEPTED = "accepted"
    BAD_TOKEN = "the API server does not accept its token"  # noqa: S105  a sentence
    NOT_ALLOWED = "its role does not let it impersonate the user"
    NO_ANSWER = "the API server did not answer the access review"


def header_lines(token: str, identity: Identity) -> list[tuple[str, str]]:
    """Authorization and all Impersonate-* headers of the identity."""
    return [("Authorization", f"Bearer {token}"), *impersonation_headers(identity)]


def header_block(token: str, identity: Identity) -> bytes:
    """The same as bytes, each line ending in CRLF. Raises CredentialError when a value is no header value."""
    if not _TOKEN.fullmatch(token):
        raise CredentialError("the token in the impersonation Secret is not a token; delete that Secret")
    try:
        block = "".join(f"{name}: {value}\r\n" for name, value in header_lines(token, identity)).encode()
    except ValueError as error:
        raise CredentialError(str(error)) from None
    if not well_formed(block):
        raise CredentialError(f"the identity of user {identity.user!r} cannot be written as header lines")
    return block


async def prove(anonymous: Transport, token: str, identity: Identity, *, timeout: float) -> Outcome:
    """Asks for an access review with the credential. `anonymous` adds no credential of its own.

    Raises TransportError when the API server cannot be reached.
    """
    headers = [("Content-Type", "application/json"), ("Accept", "application/json")]
    request = Request(
        method="POST", path=_REVIEWS, headers=[*headers, *header_lines(token, identity)], body=_BODY
    )
    return judge(await anonymous.request(request, timeout=timeout))


def judge(response: Response) -> Outcome:
    """What the answer to the review says about the credential."""
    if response.status in (200, 201):
        return Outcome.ACCEPTED
    if response.status == 401:
        return Outcome.BAD_TOKEN
    if response.status == 403:
        # Impersonation is judged first and names what it denies (users, groups, userextras). A cluster that
        # forbids reviews to its users answers for the review itself: then the impersonation held.
        reviewed = _details(response.body).get("kind") == "selfsubjectaccessreviews"
        return Outcome.ACCEPTED if reviewed else Outcome.NOT_ALLOWED
    return Outcome.NO_ANSWER


class _Denial(msgspec.Struct):
    """The part of a metav1.Status that is looked at."""

    details: dict[str, Any] = {}


def _details(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=_Denial).details
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}
