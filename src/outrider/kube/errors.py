"""Errors of the Kubernetes API; an answer that is an error carries its metav1.Status."""

from collections.abc import Mapping
from typing import Any, cast

import msgspec


class KubeError(Exception):
    """Everything that the client raises for a reason outside of the caller's code."""


class TransportError(KubeError):
    """No answer came: connection refused or reset, name not found, TLS refused, time-out."""


class DecodeError(KubeError):
    """An answer came that is not what its kind's type can hold."""


class _Status(msgspec.Struct, rename="camel"):
    kind: str = ""
    code: int = 0
    reason: str = ""
    message: str = ""
    details: dict[str, Any] | None = None


_STATUS = msgspec.json.Decoder(_Status)


class ApiError(KubeError):
    """The API server refused.

    ``code`` is the HTTP status, ``reason`` metav1's machine-readable word, ``details`` the Status' own
    (causes, retryAfterSeconds, …), ``retry_after`` seconds or None.
    """

    code = 0
    reason = ""

    def __init__(
        self,
        message: str,
        *,
        code: int = 0,
        reason: str = "",
        details: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.reason = reason or type(self).reason
        self.details: dict[str, Any] = dict(details or {})
        self.retry_after = retry_after

    def to_status(self) -> dict[str, Any]:
        """Return the error as a metav1.Status."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if self.details:
            status["details"] = self.details
        return status

    @staticmethod
    def from_response(code: int, body: bytes, headers: Mapping[str, str]) -> "ApiError":
        """Read an HTTP answer with an error status; header names are lower-case."""
        status = _read_status(body)
        if status is None:
            text = body[:1024].decode(errors="replace").strip()
            return make(
                code,
                "",
                f"the server answered {code}: {text}" if text else f"the server answered {code}",
                None,
                _seconds(headers.get("retry-after")),
            )
        details = status.details or {}
        wait = _seconds(headers.get("retry-after")) or _seconds(details.get("retryAfterSeconds"))
        return make(code, status.reason, status.message, details, wait)


class BadRequest(ApiError):
    """400: the request itself is malformed."""

    code, reason = 400, "BadRequest"


class Unauthorized(ApiError):
    """401: the credential was not accepted."""

    code, reason = 401, "Unauthorized"


class Forbidden(ApiError):
    """403: the user may not do this."""

    code, reason = 403, "Forbidden"


class NotFound(ApiError):
    """404: no such object, or no such kind."""

    code, reason = 404, "NotFound"


class AlreadyExists(ApiError):
    """409 on create: the name is taken."""

    code, reason = 409, "AlreadyExists"


class Conflict(ApiError):
    """409: another writer was faster, or owns the field."""

    code, reason = 409, "Conflict"


class Gone(ApiError):
    """410: the resource version or continue token is too old; list again."""

    code, reason = 410, "Expired"


class Invalid(ApiError):
    """422: the object breaks its schema or a validation rule."""

    code, reason = 422, "Invalid"


class TooManyRequests(ApiError):
    """429: slow down for ``retry_after`` seconds."""

    code, reason = 429, "TooManyRequests"


class Unavailable(ApiError):
    """503, or 504: the server cannot answer now."""

    code, reason = 503, "ServiceUnavailable"


_BY_CODE: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: TooManyRequests,
    503: Unavailable,
    504: Unavailable,
}


def make(
    code: int, reason: str, message: str, details: Mapping[str, Any] | None, retry_after: float | None
) -> ApiError:
    """Return the subclass of ApiError that fits the code and reason."""
    kind = AlreadyExists if reason == "AlreadyExists" else _BY_CODE.get(code, ApiError)
    return kind(message, code=code, reason=reason, details=details, retry_after=retry_after)


def from_status(status: Mapping[str, Any]) -> ApiError:
    """Return the error for a decoded metav1.Status, as the ERROR event of a watch carries it."""
    code = status.get("code")
    details = status.get("details")
    details = cast(dict[str, Any], details) if isinstance(details, dict) else {}
    return make(
        code if isinstance(code, int) else 500,
        str(status.get("reason") or ""),
        str(status.get("message") or "the server reported an error without a message"),
        details,
        _seconds(details.get("retryAfterSeconds")),
    )


def _read_status(body: bytes) -> _Status | None:
    try:
        status = _STATUS.decode(body)
    except msgspec.MsgspecError:
        return None
    return status if status.kind == "Status" else None


def _seconds(value: object) -> float | None:
    """Retry-After in its seconds form; its date form is not used by Kubernetes."""
    try:
        seconds = float(cast(str, value))
    except (TypeError, ValueError):
        return None
    return seconds if 0 <= seconds < float("inf") else None
