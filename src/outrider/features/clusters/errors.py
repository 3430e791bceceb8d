"""What can go wrong with clusters."""

from __future__ import annotations


class RegistrationRefused(Exception):
    """A tunnel is not let in: the HTTP status and text that the agent gets."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
