"""Remembers which tokens were used and writes it down now and then, never while somebody waits."""

import asyncio
import logging

from outrider.apis.management.token import Token
from outrider.features.auth.judgement import parse_time
from outrider.features.auth.stored_tokens import TokenStore, key_of
from outrider.kit.clock import Clock
from outrider.kube.client import Client
from outrider.kube.errors import KubeError, NotFound
from outrider.runtime.store import Lister

log = logging.getLogger(__name__)


class TokenUsage:
    """Writes down when tokens were last used, every `interval` seconds, at most once a token and interval.

    `most` bounds how many tokens are remembered in between; a use beyond it goes unrecorded.
    """

    def __init__(
        self,
        client: Client,
        tokens: Lister[Token],
        clock: Clock,
        *,
        interval: float = 60.0,
        most: int = 50_000,
        width: int = 4,
    ) -> None:
        self._store = TokenStore(client)
        self._tokens = tokens
        self._clock = clock
        self._interval = interval
        self._most = most
        self._width = width
        self._used: set[str] = set()

    def used(self, token: str) -> None:
        """The token was accepted just now."""
        if len(self._used) < self._most:
            self._used.add(token)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._clock.sleep(self._interval)
            await self.write()

    async def write(self) -> None:
        """Write what is remembered; a failure loses a date, nothing else."""
        used, self._used = self._used, set()
        now = self._clock.now().replace(microsecond=0).isoformat().replace("+00:00", "Z")
        slots = asyncio.Semaphore(self._width)

        async def write_one(name: str) -> None:
            async with slots:
                await self._write_one(name, now)

        async with asyncio.TaskGroup() as group:
            for name in used:
                group.create_task(write_one(name))

    async def _write_one(self, name: str, now: str) -> None:
        if not self._is_due(name):
            return
        try:
            await self._store.used(key_of(name), now)
        except NotFound:
            return
        except KubeError as error:
            log.warning("the last use of token %s could not be written: %s", name, error)

    def _is_due(self, name: str) -> bool:
        # another replica may have written it
        token = self._tokens.get(key_of(name))
        last = parse_time(token.last_used_at) if token is not None else None
        return last is None or (self._clock.now() - last).total_seconds() >= self._interval / 2
