"""A subscription to counts: what changed of them, looked at from time to time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from outrider.facade.v1.following import Json, Send
from outrider.facade.v1.subscriptions import Subscription


class FollowingCounts:
    """One subscription."""

    def __init__(
        self,
        count: Callable[[], Awaitable[Json]],
        asked: Subscription,
        send: Send,
        *,
        interval: float,
    ) -> None:
        """`count` says how many there are of each kind, now; it is asked every `interval` seconds."""
        self._count = count
        self._asked = asked
        self._send = send
        self._interval = interval

    async def run(self) -> None:
        """Until it is cancelled. Raises NormanError, KubeError where it cannot go on."""
        await self._send(self._asked.frame("start"))
        known = await self._count()
        while True:
            await asyncio.sleep(self._interval)
            now = await self._count()
            changed = {kind: held for kind, held in now.items() if known.get(kind) != held}
            changed |= {
                kind: {"summary": {"count": 0}, "namespaces": {}} for kind in known.keys() - now.keys()
            }
            known = now
            if changed:
                data = {"id": "count", "type": "count", "counts": changed}
                await self._send(self._asked.frame("change", data=data))
