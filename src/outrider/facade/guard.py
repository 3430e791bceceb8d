"""Refuses requests before any route sees them: too large, or forged by a page of another site."""

import asyncio
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from outrider.apis.norman import NormanError
from outrider.facade.norman import error_response
from outrider.features.auth import cookies
from outrider.link.claims import claim_of

MAX_BODY = 16 * 1024 * 1024
"""Bytes of a body that somebody who has signed in may send."""
STRANGER_SECONDS = 20.0
"""Seconds that a body without an identity may take, all of it: strangers must not hold a request open for long."""

_PUBLIC = ("/v3-public/", "/v1-public/")


class BodyLimitMiddleware:
    """Bounds the body: `anonymous()` bytes in `patience` seconds without an identity, `signed_in` bytes with one."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        anonymous: Callable[[], int],
        signed_in: int = MAX_BODY,
        patience: float = STRANGER_SECONDS,
    ) -> None:
        self._app = app
        self._anonymous = anonymous
        self._signed_in = signed_in
        self._patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        known = claim_of(scope).identity is not None
        limit = self._signed_in if known else self._anonymous()
        deadline = None if known else asyncio.get_running_loop().time() + self._patience
        announced = Headers(scope=scope).get("content-length", "0")
        if not announced.isdecimal() or int(announced) > limit:
            await error_response(_too_large(limit))(scope, receive, send)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken, deadline
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise _too_slow(self._patience) from None
            if not message.get("more_body"):
                deadline = None  # what comes next is the client's farewell
            taken += len(message.get("body", b""))
            if taken > limit:
                raise _too_large(limit)
            return message

        await self._app(scope, counted, send)


class ForgeryMiddleware:
    """Asks browsers for the anti-forgery token, and gives them one (contract, auth-and-rbac §1.4).

    Sign-in has no session that could be abused; its routes compare the page's origin instead.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        has_session = cookies.SESSION in request.cookies
        public = request.url.path.startswith(_PUBLIC)
        if not public and cookies.is_forged(request, from_cookie=has_session):
            refusal = NormanError(422, "Invalid CSRF token", code="InvalidCSRFToken")
            await error_response(refusal)(scope, receive, send)
            return
        lacks_token = cookies.is_browser(request.headers) and cookies.CSRF not in request.cookies

        async def giving(message: Message) -> None:
            if lacks_token and message["type"] == "http.response.start":
                _add_csrf(message)
            await send(message)

        await self._app(scope, receive, giving)


def _add_csrf(message: Message) -> None:
    given = Response()
    cookies.set_csrf(given)
    added = [(name, value) for name, value in given.raw_headers if name == b"set-cookie"]
    message["headers"] = [*message.get("headers", ()), *added]


def _too_large(limit: int) -> NormanError:
    return NormanError(413, f"the body is larger than {limit} bytes", code="MaxLimitExceeded")


def _too_slow(seconds: float) -> NormanError:
    return NormanError(408, f"the body did not come within {seconds:.0f} seconds", code="RequestTimeout")
