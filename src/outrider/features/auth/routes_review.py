"""`/v3/tokenreview`: whether a token is good, for those who were given one (contract, auth-and-rbac §1.7)."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from outrider.features.auth.requests import body_of, caller_of
from outrider.features.auth.verdicts import VerdictService
from outrider.features.auth.views import answer
from outrider.link.messages import Resolve


class ReviewSpec(msgspec.Struct):
    """The token to review."""

    token: str = ""

    def __repr__(self) -> str:
        return "ReviewSpec(…)"


class Review(msgspec.Struct, rename="camel"):
    """authentication.k8s.io TokenReview, as far as it is read."""

    api_version: str = "authentication.k8s.io/v1"
    spec: ReviewSpec = msgspec.field(default_factory=ReviewSpec)


class ReviewRoute:
    """Answers TokenReviews of whoever has signed in."""

    def __init__(self, verdicts: VerdictService) -> None:
        self._verdicts = verdicts

    def routes(self) -> list[Route]:
        """The route."""
        return [Route("/v3/tokenreview", self.review, methods=["POST"])]

    async def review(self, request: Request) -> Response:
        """POST /v3/tokenreview"""
        caller = caller_of(request)
        review = await body_of(request, Review)
        verdict = await self._verdicts.resolve(
            Resolve(
                id=0,
                credential=f"Bearer {review.spec.token}",
                host=caller.claim.host,
                remote=caller.claim.remote,
            )
        )
        status: dict[str, Any] = {"authenticated": False}
        if verdict.status == 200 and verdict.identity is not None:
            identity = verdict.identity
            user = {"username": identity.user, "groups": identity.groups, "extra": identity.extra}
            status = {"authenticated": True, "user": user}
        return answer(
            {"apiVersion": review.api_version, "kind": "TokenReview", "spec": {}, "status": status}, 201
        )
