"""Cookies of browser sessions and the proof that a page of ours made a request (contract, auth-and-rbac §1.4)."""

import hmac
import secrets
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

SESSION = "R_SESS"
CSRF = "CSRF"
CSRF_HEADER = "X-API-CSRF"

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_CLEARED = (SESSION, CSRF, "R_OIDC_ID")


def set_session(response: Response, value: str, *, seconds: int) -> None:
    """Start a browser session."""
    response.set_cookie(SESSION, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="lax")


def clear(response: Response) -> None:
    """End a browser session."""
    for name in _CLEARED:
        response.set_cookie(
            name, "", max_age=-1, expires=0, path="/", secure=True, httponly=name != CSRF, samesite="lax"
        )


def set_csrf(response: Response) -> None:
    """Give a browser a new anti-forgery token."""
    response.set_cookie(CSRF, secrets.token_hex(16), path="/", secure=True, httponly=False, samesite="lax")


def is_browser(headers: Mapping[str, str]) -> bool:
    """Whether the user agent claims to be one."""
    return "mozilla" in headers.get("user-agent", "").lower()


def is_forged(request: Request, *, from_cookie: bool) -> bool:
    """Whether a change lacks the proof: a browser's request, or one that a cookie vouches for."""
    method = (request.query_params.get("_method") or request.method).upper()
    # the override may only make the check stricter than the request's own method
    if method in _SAFE and request.method in _SAFE:
        return False
    if not from_cookie and not is_browser(request.headers):
        return False
    expected = request.cookies.get(CSRF, "")
    given = request.headers.get(CSRF_HEADER) or request.query_params.get("CSRF") or ""
    return not expected or not hmac.compare_digest(expected.encode(), given.encode())


def is_foreign(request: Request, host: str) -> bool:
    """Whether a page of another site made the request."""
    origin = request.headers.get("origin", "")
    return bool(origin) and origin.partition("://")[2].lower() != host.lower()
