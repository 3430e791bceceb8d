"""Turns what went wrong into answers (contract, auth-and-rbac §0.1)."""

import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from outrider.apis.norman import CODES, NormanError, retry_later
from outrider.features.auth.access import AccessUnknown
from outrider.features.auth.errors import Busy
from outrider.kube.errors import ApiError, KubeError

log = logging.getLogger(__name__)

Handler = Callable[[Request, Exception], Coroutine[Any, Any, Response]]

_CODES_BY_REASON = {"AlreadyExists": "AlreadyExists", "Invalid": "InvalidFormat"}


def error_response(error: NormanError) -> Response:
    """The error as an HTTP answer."""
    return Response(
        msgspec.json.encode(error.body()), error.status, error.headers, media_type="application/json"
    )


def from_kubernetes(error: KubeError) -> NormanError:
    """A refusal of the API server in Norman's words; no answer from it is 503."""
    if not isinstance(error, ApiError):
        return retry_later(503, "the management cluster does not answer right now", 2.0, code="ServerError")
    if error.code in (429, 503):
        return retry_later(error.code, error.message, error.retry_after or 1.0, code="ServerError")
    status = error.code if error.code in CODES else 500
    return NormanError(status, error.message, code=_CODES_BY_REASON.get(error.reason, ""))


async def on_norman_error(request: Request, error: Exception) -> Response:
    """For errors raised on purpose."""
    return error_response(error if isinstance(error, NormanError) else NormanError(500, "internal error"))


async def on_kubernetes_error(request: Request, error: Exception) -> Response:
    """For what the client of Kubernetes raised."""
    if not isinstance(error, KubeError):
        return await on_bug(request, error)
    return error_response(from_kubernetes(error))


async def on_overload(request: Request, error: Exception) -> Response:
    """For what will work in a moment."""
    return error_response(retry_later(503, str(error), 2.0, code="ServerError"))


async def on_http_error(request: Request, error: Exception) -> Response:
    """For what the router found."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers: Mapping[str, str] = (isinstance(error, HTTPException) and error.headers) or {}
    messages = {404: "no such path", 405: "this path does not take this method"}
    return error_response(NormanError(status, messages.get(status, "the request failed"), headers=headers))


async def on_bug(request: Request, error: Exception) -> Response:
    """For what nobody foresaw: the log gets the trace, the client gets none of it."""
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_response(NormanError(500, "internal error: see the server's log"))


HANDLERS: Mapping[Any, Handler] = {
    NormanError: on_norman_error,
    KubeError: on_kubernetes_error,
    AccessUnknown: on_overload,
    Busy: on_overload,
    HTTPException: on_http_error,
    Exception: on_bug,
}
