"""Answers of the served group: objects in the form that was asked for, and errors as Status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from outrider.kube.errors import ApiError, KubeError, TransportError

_JSON = "application/json"


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(msgspec.json.encode(value), status, headers=dict(headers or {}), media_type=_JSON)


def failure(error: KubeError) -> ApiError:
    """The error as clients are told it: trouble with the management cluster is 503."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, TransportError):
        return ApiError("the API server did not answer", code=503, reason="ServiceUnavailable")
    return ApiError("what the API server answered makes no sense", code=500, reason="InternalError")


def failed(error: KubeError) -> Response:
    """The error as a Status."""
    found = failure(error)
    headers = {"Retry-After": str(max(1, round(found.retry_after)))} if found.retry_after else None
    return answer(found.to_status(), found.code, headers)
