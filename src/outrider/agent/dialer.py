"""Keeps a tunnel to the server open: checks the server, dials, watches over the tunnel, dials again.

Sources: clusters-and-agents §3.2 (headers), §3.3 (agent behaviour), §3.7 (keep-alive).
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from outrider.agent.errors import AbandonedError, AgentError, TrustError
from outrider.agent.settings import AgentSettings
from outrider.agent.trust import Trust
from outrider.kit.backoff import Backoff
from outrider.tunnel.session import DialError

log = logging.getLogger(__name__)

REGISTER = "/v3/connect/register"
CONNECT = "/v3/connect"


class Tunnel(Protocol):
    """An open tunnel, as far as keeping it alive goes."""

    heard: float
    closed: asyncio.Future[str]

    def ping(self) -> None:
        """Asks the server for a sign of life."""

    def close(self, reason: str) -> None:
        """Ends the tunnel."""

    def drop(self, reason: str) -> None:
        """Cuts the tunnel without waiting for the server."""

    def send_message(self, body: bytes) -> None:
        """Sends a control message."""


class Dial(Protocol):
    """Opens one tunnel; raises DialError."""

    async def __call__(
        self, url: str, context: ssl.SSLContext, headers: Mapping[str, str], *, proxy: str | None
    ) -> Tunnel:
        """Dials `url` once."""
        ...


class Shows(Protocol):
    """Makes the headers of a dial; raises SettingsError."""

    async def headers(self, *, refused: bool) -> dict[str, str]:
        """`refused`: the server did not accept those of the last dial."""
        ...


class Dialer:
    """Runs one tunnel after the other.

    `opened` and `gone` hear of each tunnel. `now` must be the loop's time, which tunnels use, too. A tunnel that
    lasted `settled` seconds makes the next redial quick again.
    """

    def __init__(
        self,
        settings: AgentSettings,
        trust: Trust,
        registration: Shows,
        dial: Dial,
        *,
        opened: Callable[[Tunnel], None],
        gone: Callable[[Tunnel], None],
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        backoff: Backoff | None = None,
        settled: float = 10.0,
    ) -> None:
        self._settings = settings
        self._trust = trust
        self._registration = registration
        self._dial = dial
        self._opened = opened
        self._gone = gone
        self._now = now
        self._sleep = sleep
        self._backoff = backoff or Backoff(1.0, 30.0)
        self._settled = settled
        self._path = REGISTER
        self._trouble = ""
        self._refused = False

    async def run(self) -> None:
        """Dials forever.

        Raises TrustError when the very first server that answers is not the pinned one, AbandonedError after
        `give_up_after` seconds without a tunnel.
        """
        last = self._now()
        while True:
            try:
                tunnel = await self._connect()
            except (AgentError, DialError) as error:
                if isinstance(error, TrustError) and self._path == REGISTER:
                    raise
                self._refused = (
                    isinstance(error, DialError) and 400 <= error.status < 500 and not self._refused
                )
                self._complain(str(error))
                await self._wait(last)
                continue
            self._path, self._trouble, self._refused = CONNECT, "", False
            since = self._now()
            log.info("tunnel to %s is open", self._settings.server)
            await self._watch_over(tunnel)
            last = self._now()
            if last - since >= self._settled:
                self._backoff.reset()
            await self._sleep(self._backoff.next())

    async def _connect(self) -> Tunnel:
        context = await self._trust.establish()
        server = self._settings.server
        proxy = self._settings.proxies.of(server) or None
        headers = await self._registration.headers(refused=self._refused)
        url = server.replace("https://", "wss://", 1) + self._path
        return await self._dial(url, context, headers, proxy=proxy)

    async def _watch_over(self, tunnel: Tunnel) -> None:
        """Returns when the tunnel is gone; ends one on which nothing was heard for too long."""
        self._opened(tunnel)
        try:
            while not tunnel.closed.done():
                await asyncio.wait((tunnel.closed,), timeout=self._settings.ping_every)
                if tunnel.closed.done():
                    break
                if self._now() - tunnel.heard > self._settings.silence:
                    tunnel.drop(f"nothing was heard for {self._settings.silence:g} s")
                    await asyncio.wait((tunnel.closed,), timeout=1.0)
                    break
                tunnel.ping()
        finally:
            self._gone(tunnel)
            if not tunnel.closed.done():
                tunnel.close("the agent stops")
        log.warning("tunnel to %s is closed: %s", self._settings.server, _reason(tunnel))

    async def _wait(self, last: float) -> None:
        left = last + self._settings.give_up_after - self._now()
        if left <= 0:
            raise AbandonedError(
                f"no tunnel to {self._settings.server} for {self._settings.give_up_after:g} s"
                f" (the last error: {self._trouble}); leaving, so that a new process can try"
            )
        await self._sleep(min(self._backoff.next(), left))

    def _complain(self, trouble: str) -> None:
        """Logs an error once, not at every attempt."""
        if trouble != self._trouble:
            log.error("no tunnel to %s: %s", self._settings.server, trouble)
        self._trouble = trouble


def _reason(tunnel: Tunnel) -> str:
    if not tunnel.closed.done():
        return "it did not end in time"
    if tunnel.closed.cancelled():
        return "cancelled"
    return tunnel.closed.result() or "the server closed it"
