"""Norman's paths: the name of a collection is matched whatever its case (contract, auth-and-rbac §0)."""

from collections.abc import Iterable

from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

_ROOTS = ("v3", "v3-public", "v1-public")


class CollectionCaseMiddleware:
    """Rewrites the collection in `/v3/<collection>/…` to the spelling that a route has."""

    def __init__(self, app: ASGIApp, *, spellings: dict[tuple[str, str], str]) -> None:
        self._app = app
        self._spellings = spellings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http":
            parts = scope["path"].split("/", 3)
            if len(parts) > 2 and parts[1] in _ROOTS:
                known = self._spellings.get((parts[1], parts[2].lower()))
                if known is not None and known != parts[2]:
                    parts[2] = known
                    scope = {**scope, "path": "/".join(parts)}
        await self._app(scope, receive, send)


def spellings(routes: Iterable[BaseRoute]) -> dict[tuple[str, str], str]:
    """(root, lower-case collection) → spelling, where all routes of a root agree on one."""
    found: dict[tuple[str, str], set[str]] = {}
    for route in routes:
        parts = route.path.split("/") if isinstance(route, Route) else []
        if len(parts) > 2 and parts[1] in _ROOTS and "{" not in parts[2]:
            found.setdefault((parts[1], parts[2].lower()), set()).add(parts[2])
    return {key: spelled.pop() for key, spelled in found.items() if len(spelled) == 1}
