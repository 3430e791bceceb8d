"""What the routes of `/v1` read from a request."""

from __future__ import annotations

from starlette.requests import HTTPConnection


def path_of(connection: HTTPConnection) -> str:
    """The path as it was sent: a name may hold what stands for something else in a path."""
    raw = connection.scope.get("raw_path") or connection.scope["path"].encode()
    path: str = raw.partition(b"?")[0].decode("ascii", "replace")
    return path
