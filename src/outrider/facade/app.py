"""The application that answers everything but the proxied clusters; served on a Unix socket."""

from collections.abc import Callable, Iterable

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from outrider.facade.claim import ClaimMiddleware
from outrider.facade.guard import BodyLimitMiddleware, ForgeryMiddleware
from outrider.facade.norman import HANDLERS
from outrider.facade.paths import CollectionCaseMiddleware, spellings
from outrider.features.auth.views import answer


def build_app(
    routes: Iterable[BaseRoute],
    *,
    version: Callable[[], str],
    commit: str,
    body_limit: Callable[[], int],
) -> Starlette:
    """Assemble the application.

    `version` is the API version that clients compare, `commit` that of the source, `body_limit` the greatest
    body in bytes of a request without identity.
    """
    mounted = [_version_route(version, commit), *routes]
    return Starlette(
        routes=mounted,
        middleware=[
            Middleware(ClaimMiddleware),
            Middleware(BodyLimitMiddleware, anonymous=body_limit),
            Middleware(ForgeryMiddleware),
            Middleware(CollectionCaseMiddleware, spellings=spellings(mounted)),
        ],
        exception_handlers=HANDLERS,
    )


def _version_route(version: Callable[[], str], commit: str) -> Route:
    async def rancherversion(request: Request) -> Response:
        return answer({"Version": version(), "GitCommit": commit, "RancherPrime": "false"})

    return Route("/rancherversion", rancherversion, methods=["GET"])
