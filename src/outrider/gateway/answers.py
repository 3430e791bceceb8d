"""Answers that the gateway gives by itself: Kubernetes Status objects and a few plain texts."""

from http import HTTPStatus
from typing import NamedTuple

import msgspec


class Answer(NamedTuple):
    """A whole response: status, header lines (each with CRLF, without framing), body."""

    status: int
    lines: bytes
    body: bytes


_JSON = b"content-type: application/json\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n"
_TEXT = b"content-type: text/plain; charset=utf-8\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n"

_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    408: "Timeout",
    413: "RequestEntityTooLarge",
    422: "Invalid",
    429: "TooManyRequests",
    431: "RequestHeaderFieldsTooLarge",
    502: "BadGateway",
    503: "ServiceUnavailable",
    504: "Timeout",
}


def status(code: int, message: str, *, reason: str = "", retry_after: int = 0) -> Answer:
    """A metav1.Status failure, as any Kubernetes client reads it; `retry_after` is in seconds."""
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason or _REASONS.get(code, HTTPStatus(code).phrase.replace(" ", "")),
        "code": code,
    }
    lines = _JSON
    if retry_after:
        body["details"] = {"retryAfterSeconds": retry_after}
        lines += b"retry-after: %d\r\n" % retry_after
    return Answer(code, lines, msgspec.json.encode(body))


def unavailable(message: str) -> Answer:
    """503 with the contract's Retry-After (clusters-and-agents §4.1)."""
    return status(503, message, retry_after=5)


def text(code: int, body: bytes) -> Answer:
    """A plain text."""
    return Answer(code, _TEXT, body)


BAD_TARGET = status(400, "the request target must be an absolute path without dot segments")
BAD_HOST = status(400, "a request needs exactly one Host header")
FOREIGN_ORIGIN = status(403, "a WebSocket with a session cookie must come from this server's own pages")
NO_CSRF = status(422, "Invalid CSRF token", reason="InvalidCSRFToken")
NO_CLUSTER = status(404, "No cluster available: it does not exist, or you may not see it")
MUST_AUTHENTICATE = status(401, "Unauthorized 401: must authenticate")
NO_IMPERSONATION = status(
    403, "not allowed to impersonate: requests with Impersonate-* headers are refused here"
)
DISCONNECTED = unavailable(
    "cluster agent disconnected: the cluster's agent has no tunnel to this server right now"
)
CANNOT_DETERMINE = unavailable("cannot determine access: the control process does not answer right now")
PONG = text(200, b"pong")
OK = text(200, b"ok")
