"""The way into a served group: for the API server alone, which says who asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from outrider.apis.ext.served import Caller
from outrider.facade.api_server import is_api_server
from outrider.facade.extension.answers import answer, failed
from outrider.kube.errors import KubeError, Unauthorized
from outrider.kube.frontproxy import remote_identity

Endpoint = Callable[[Request, Caller], Awaitable[Response]]


def for_api_server(endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint for those whom the API server sends; 401 for everybody else. Errors are answered as Status."""

    async def guarded(request: Request) -> Response:
        identity = remote_identity(request.headers.items()) if is_api_server(request.scope) else None
        if identity is None:
            refusal = Unauthorized("only the API server's aggregation layer may ask here")
            return answer(refusal.to_status(), 401)
        try:
            return await endpoint(request, Caller(identity))
        except KubeError as error:
            return failed(error)

    return guarded
