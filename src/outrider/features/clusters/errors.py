"""What can go wrong with clusters, in the words of the API."""

from __future__ import annotations

from typing import Any


class ClusterError(Exception):
    """A refusal for the user to read; `to_norman` is its body on /v3 (contract: auth §0.1)."""

    def __init__(self, status: int, code: str, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.field = field

    def to_norman(self) -> dict[str, Any]:
        """The error body."""
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


class RegistrationRefused(Exception):
    """A tunnel is not let in: the HTTP status and text that the agent gets."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
