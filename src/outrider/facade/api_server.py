"""The application at the API server's door: what the management cluster's API server calls us for.

Whoever calls shows a certificate of the authority behind the API server's own proxy client, or none. Routes learn
which it was from `is_api_server`; one that believes what a caller says about others (the user in a review or in
`X-Remote-*` headers) must ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any, Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from outrider.facade.guard import BodyLimitMiddleware
from outrider.facade.norman import HANDLERS

MAX_BODY: Final = 8 << 20
"""Bytes of a request: an API server takes objects of 3 MB, and a review holds the old one as well."""
HEAD_SECONDS: Final = 15.0
"""Seconds that a request's head may take, from the first byte or from the connection on."""

_STATE: Final = "certificate"
_PROVEN: Final = "outrider.api_server"


class ApiServerProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, which remembers whose certificate was shown and does not wait for a head for ever."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The handshake is done."""
        super().connection_made(transport)
        shown = common_name(transport.get_extra_info("peercert"))
        self.app_state = {**self.app_state, _STATE: shown}
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end."""
        self._stop_waiting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """httptools."""
        self._wait_for_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """httptools."""
        self._stop_waiting()
        super().on_headers_complete()

    def _wait_for_head(self) -> None:
        self._stop_waiting()
        self._patience = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


class ApiServerMiddleware:
    """Notes whether the caller proved to be the API server: `trusts` judges the name in the certificate shown."""

    def __init__(self, app: ASGIApp, *, trusts: Callable[[str], bool]) -> None:
        self._app = app
        self._trusts = trusts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        shown = scope.get("state", {}).get(_STATE, "")
        scope[_PROVEN] = bool(shown) and self._trusts(shown)
        await self._app(scope, receive, send)


def is_api_server(scope: MutableMapping[str, Any]) -> bool:
    """Whether the request came from the API server: by its certificate, which the handshake has verified."""
    return scope.get(_PROVEN) is True


def build_api_app(routes: Iterable[BaseRoute], *, trusts: Callable[[str], bool]) -> Starlette:
    """Assemble the application. `trusts` says whether a verified certificate's common name is the API server's."""
    return Starlette(
        routes=list(routes),
        middleware=[
            Middleware(ApiServerMiddleware, trusts=trusts),
            Middleware(BodyLimitMiddleware, anonymous=lambda: MAX_BODY),
        ],
        exception_handlers=HANDLERS,
    )


def common_name(certificate: Any) -> str:
    """The common name in what `getpeercert` gives; empty where none was shown."""
    subject = (certificate or {}).get("subject", ())
    return next((str(value) for part in subject for key, value in part if key == "commonName"), "")
