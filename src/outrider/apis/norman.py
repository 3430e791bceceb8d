"""Errors as the Norman API (`/v3`) writes them (contract, auth-and-rbac §0.1).

Raised by features and façades, written by whoever answers: this module knows nothing of HTTP libraries.
"""

from collections.abc import Mapping
from typing import Any

CODES: Mapping[int, str] = {
    400: "InvalidBodyContent",
    401: "Unauthorized",
    403: "PermissionDenied",
    404: "NotFound",
    405: "MethodNotAllow",
    409: "Conflict",
    413: "MaxLimitExceeded",
    422: "InvalidBodyContent",
    429: "TooManyRequests",
    500: "ServerError",
    503: "ClusterUnavailable",
}
"""The usual code of a status; a more telling one of the contract takes its place where there is one."""


class NormanError(Exception):
    """A refusal to be shown to the client. `message` is for people and holds no secret."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str = "",
        field: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code or CODES.get(status, "ServerError")
        self.message = message
        self.field = field
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """The error as a JSON object."""
        body: dict[str, Any] = {
            "type": "error",
            "baseType": "error",
            "status": self.status,
            "code": self.code,
            "message": self.message,
        }
        if self.field:
            body["fieldName"] = self.field
        return body


class Unauthenticated(NormanError):
    """No identity where one is needed; the one body whose `status` is text, and clients compare it."""

    def __init__(self, message: str = "") -> None:
        super().__init__(401, message or "must authenticate")

    def body(self) -> dict[str, Any]:
        """The error as a JSON object."""
        return {"type": "error", "status": "401", "message": f"Unauthorized 401: {self.message}"}


def retry_later(status: int, message: str, seconds: float, *, code: str = "") -> NormanError:
    """A refusal that ends: carries `Retry-After`, in whole seconds, at least one."""
    after = str(max(1, -int(-seconds // 1)))
    return NormanError(status, message, code=code, headers={"Retry-After": after})
