"""What a gateway gets from this feature over its link: verdicts, invalidations and the beat."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from outrider.features.auth.freshness import Freshness, Heart
from outrider.features.auth.verdicts import VerdictService
from outrider.link.endpoint import Endpoint, LinkError
from outrider.link.messages import Invalidate, Message, Resolve, Verdict

log = logging.getLogger(__name__)


class VerdictLink:
    """Serves any number of gateways. `most` bounds the questions under way at once, over all of them."""

    def __init__(
        self, verdicts: VerdictService, freshness: Freshness, heart: Heart, *, most: int = 512
    ) -> None:
        self._verdicts = verdicts
        self._freshness = freshness
        self._heart = heart
        self._most = most
        self._under_way: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def attached(self, endpoint: Endpoint) -> AsyncIterator[None]:
        """Send invalidations and the beat while the block runs."""

        def invalidate(message: Invalidate) -> None:
            _send(endpoint, message)

        with self._freshness.subscribed(invalidate):
            beating = asyncio.create_task(self._beat(endpoint))
            try:
                yield
            finally:
                beating.cancel()
                await asyncio.gather(beating, return_exceptions=True)

    async def _beat(self, endpoint: Endpoint) -> None:
        async with contextlib.aclosing(self._heart.beats()) as beats:
            async for beat in beats:
                _send(endpoint, beat)

    def answer(self, endpoint: Endpoint, question: Resolve) -> None:
        """Answer in the background; more questions than this process takes on are answered 503 at once."""
        if len(self._under_way) >= self._most:
            _send(endpoint, Verdict(id=question.id, status=503, message="too many requests for a verdict"))
            return
        task = asyncio.create_task(self._answer(endpoint, question))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _answer(self, endpoint: Endpoint, question: Resolve) -> None:
        try:
            verdict = await self._verdicts.resolve(question)
        except Exception:
            log.exception("no verdict for a request from %s", question.remote)
            verdict = Verdict(id=question.id, status=503, message="cannot determine access")
        _send(endpoint, verdict)

    async def close(self) -> None:
        """Give up what is under way."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)


def _send(endpoint: Endpoint, message: Message) -> None:
    # a link that broke is noticed by whoever reads from it
    with contextlib.suppress(LinkError):
        endpoint.send(message)
