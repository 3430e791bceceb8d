"""`POST /admission/<guard>`: the API server asks whether somebody may write something."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from outrider.apis.admission import (
    AdmissionError,
    AdmissionRequest,
    Denial,
    Guard,
    answer,
    by_name,
    read_review,
)
from outrider.apis.norman import NormanError
from outrider.facade.api_server import is_api_server
from outrider.kube.errors import KubeError

log = logging.getLogger(__name__)

PATH: Final = "/admission"
SECONDS: Final = 8.0
"""How long a judge may take: less than the API server waits (`server/registration.py`)."""


class AdmissionRoute:
    """Finds the guard and lets its judge speak. Whatever keeps the judge from speaking is a denial.

    Until `ready()`, nothing can be judged. With `proven`, only the API server is answered, by its certificate.
    """

    def __init__(self, guards: Iterable[Guard], *, ready: Callable[[], bool], proven: bool) -> None:
        self._guards = by_name(guards)
        self._ready = ready
        self._proven = proven

    def route(self) -> Route:
        """The route."""
        return Route(f"{PATH}/{{guard}}", self._review, methods=["POST"])

    async def _review(self, request: Request) -> Response:
        if self._proven and not is_api_server(request.scope):
            raise NormanError(403, "only the API server may ask here")
        guard = self._guards.get(request.path_params["guard"])
        if guard is None:
            raise NormanError(404, "no such guard")
        try:
            asked = read_review(await request.body())
        except AdmissionError as error:
            raise NormanError(400, str(error)) from None
        denial = await self._judge(guard, asked)
        if denial is not None:
            log.info(
                "%s: %s of %s/%s by %s is refused: %s",
                guard.name,
                asked.operation,
                asked.namespace,
                asked.name,
                asked.user_info.username,
                denial.message,
            )
        return Response(msgspec.json.encode(answer(asked, denial)), media_type="application/json")

    async def _judge(self, guard: Guard, asked: AdmissionRequest) -> Denial | None:
        if not self._ready():
            return Denial("the server is starting and cannot judge this yet: try again in a moment", 503)
        try:
            async with asyncio.timeout(SECONDS):
                return await guard.judge(asked)
        except (KubeError, TimeoutError) as error:
            log.warning("%s cannot judge: %s", guard.name, error or "no answer in time")
            return Denial("whether you may write this cannot be found out right now: try again", 503)
