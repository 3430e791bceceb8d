"""How long a stranger may take over a body."""

import asyncio
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from outrider.facade.claim import ClaimMiddleware
from outrider.facade.guard import BodyLimitMiddleware
from outrider.facade.norman import HANDLERS
from outrider.kube.identity import Identity
from outrider.link.claims import encode_claim
from outrider.link.messages import CLAIM_HEADER, Claim

STRANGER = Claim()
JANE = Claim(identity=Identity("user-abcde", ("system:authenticated",)), user="user-abcde")


async def length(request: Request) -> Response:
    return Response(str(len(await request.body())))


@pytest.fixture
def app() -> Starlette:
    limit = Middleware(BodyLimitMiddleware, anonymous=lambda: 100, patience=0.05)
    return Starlette(
        routes=[Route("/x", length, methods=["POST"])],
        middleware=[Middleware(ClaimMiddleware), limit],
        exception_handlers=HANDLERS,
    )


async def post(app: Any, claim: Claim, pause: float, pieces: int = 3) -> tuple[int, bytes]:
    """A body in pieces with pauses between them; status and body of the answer."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/x",
        "raw_path": b"/x",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [(CLAIM_HEADER.lower().encode(), encode_claim(claim).encode())],
        "client": None,
        "server": None,
    }
    left = list(range(pieces))
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(pause)
        left.pop()
        return {"type": "http.request", "body": b"ab", "more_body": bool(left)}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], sent[1]["body"]


async def test_a_strangers_body_must_come_in_time(app: Starlette) -> None:
    status, said = await post(app, STRANGER, 0.03)
    assert status == 408
    assert b"did not come within" in said


async def test_it_may_come_in_pieces(app: Starlette) -> None:
    assert await post(app, STRANGER, 0.001) == (200, b"6")


async def test_who_has_signed_in_may_take_longer(app: Starlette) -> None:
    assert await post(app, JANE, 0.03) == (200, b"6")


async def test_the_sum_is_bounded(app: Starlette) -> None:
    status, said = await post(app, STRANGER, 0, 51)
    assert status == 413
    assert b"larger than 100 bytes" in said
