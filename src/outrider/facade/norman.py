"""Turns what went wrong into answers (contract, auth-and-rbac §0.1)."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, cast

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from outrider.apis.norman import CODES, NormanError, retry_later
from outrider.features.auth.access import AccessUnknown
from outrider.features.auth.errors import Busy
from outrider.kube.errors import ApiError, KubeError

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
    return error_response(cast(NormanError, error))


async def on_kubernetes_error(request: Request, error: Exception) -> Response:
    """For what the client of Kubernetes raised."""
    return error_response(from_kubernetes(cast(KubeError, error)))


async def on_overload(request: Request, error: Exception) -> Response:
    """For what will work in a moment."""
    return error_response(retry_later(503, str(error), 2.0, code="ServerError"))


async def on_http_error(request: Request, error: Exception) -> Response:
    """For what the router found."""
    found = cast(HTTPException, error)
    messages = {404: "no such path", 405: "this path does not take this method"}
    message = messages.get(found.status_code, "the request failed")
    return error_response(NormanError(found.status_code, message, headers=found.headers))


HANDLERS: Mapping[Any, Handler] = {
    NormanError: on_norman_error,
    KubeError: on_kubernetes_error,
    AccessUnknown: on_overload,
    Busy: on_overload,
    HTTPException: on_http_error,
}
