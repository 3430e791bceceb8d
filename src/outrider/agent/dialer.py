"""Keeps tunnels to the server open: checks the server, dials, watches over the tunnels, dials again.

Sources: clusters-and-agents §3.2 (headers), §3.3 (agent behaviour), §3.7 (keep-alive).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable, Mapping
from typing import Protocol

from outrider.agent.errors import AbandonedError, AgentError, TrustError
from outrider.agent.replicas import Replicas
from outrider.agent.settings import AgentSettings
from outrider.agent.trust import Trust
from outrider.kit.backoff import Backoff
from outrider.kit.tasks import cancel_and_wait
from outrider.tunnel.reports import Hello
from outrider.tunnel.session import DialError

log = logging.getLogger(__name__)

REGISTER = "/v3/connect/register"
CONNECT = "/v3/connect"
MET_HEADER = "X-Outrider-Met"
"""Ids of the replicas that have a tunnel of this agent's already: they refuse another one."""
MET = 409
"""The status of that refusal."""


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
    """Keeps a tunnel open, and one to each replica of the server once these are known.

    `opened` and `gone` hear of each tunnel, `refused` of status and body of each refusal. `now` must be the loop's
    time, which tunnels use, too. A tunnel that lasted `settled` seconds makes the next redial quick again; of one
    that lasted less, each second is one less to wait, so that only a server that breaks tunnels as fast as they
    come is dialled ever more seldom.
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
        refused: Callable[[int, bytes], None] = lambda status, body: None,
        backoff: Backoff | None = None,
        replicas: Replicas | None = None,
        settled: float = 10.0,
    ) -> None:
        self._settings = settings
        self._trust = trust
        self._registration = registration
        self._dial = dial
        self._opened = opened
        self._gone = gone
        self._hear_refusal = refused
        self._now = now
        self._backoff = backoff or Backoff(0.5, 30.0)
        self._replicas = replicas or Replicas()
        self._settled = settled
        self._path = REGISTER
        self._trouble = ""
        self._refused = False
        self._open: set[Tunnel] = set()
        self._watches: set[asyncio.Task[None]] = set()
        self._context: ssl.SSLContext | None = None
        self._early: tuple[Tunnel, Hello] | None = None
        self._alone_since = 0.0
        self._due: float | None = None
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Dials forever.

        Raises TrustError when the very first server that answers is not the pinned one, AbandonedError after
        `give_up_after` seconds without a tunnel.
        """
        self._alone_since = self._due = self._now()
        try:
            while True:
                await self._wait_until_due()
                try:
                    tunnel = await self._connect()
                except (AgentError, DialError) as error:
                    self._failed(error)
                else:
                    self._succeeded(tunnel)
        finally:
            await cancel_and_wait(*self._watches)

    def greeted(self, tunnel: Tunnel, hello: Hello) -> None:
        """A server said which replica it is, and which others live."""
        if tunnel not in self._open:
            self._early = (tunnel, hello)  # it comes right behind the handshake
            return
        before = self._replicas.missing
        if not self._replicas.greeted(tunnel, hello):
            tunnel.close(f"another tunnel leads to {hello.replica} already")
        if self._due is None or self._replicas.missing != before:
            self._seek()

    async def _wait_until_due(self) -> None:
        while self._due is None or self._now() < self._due:
            self._changed.clear()
            left = None if self._due is None else max(0.0, self._due - self._now())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._changed.wait()

    def _succeeded(self, tunnel: Tunnel) -> None:
        self._path, self._trouble, self._refused = CONNECT, "", False
        self._open.add(tunnel)
        self._due = None
        log.info("tunnel to %s is open", self._settings.server)
        watch = asyncio.create_task(self._watch_over(tunnel))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)
        self._opened(tunnel)
        early, self._early = self._early, None
        if early is not None and early[0] is tunnel:
            self.greeted(*early)

    def _failed(self, error: AgentError | DialError) -> None:
        status = error.status if isinstance(error, DialError) else 0
        if status != MET:
            self._context = None
        if isinstance(error, DialError) and status:
            self._hear_refusal(status, error.body)
        if self._open:
            # Only a search for another replica: what is wrong with the server itself shows at the tunnels.
            log.debug("no further tunnel to %s: %s", self._settings.server, error)
            return self._seek()
        if isinstance(error, TrustError) and self._path == REGISTER:
            raise error
        self._refused = 400 <= status < 500 and status != MET and not self._refused
        self._complain(str(error))
        left = self._alone_since + self._settings.give_up_after - self._now()
        if left <= 0:
            raise AbandonedError(
                f"no tunnel to {self._settings.server} for {self._settings.give_up_after:g} s"
                f" (the last error: {self._trouble}); leaving, so that a new process can try"
            )
        return self._dial_in(min(self._backoff.next(), left))

    def _seek(self) -> None:
        """Sets the time of the next dial for a replica that has no tunnel yet."""
        self._dial_in(self._replicas.next_dial())

    def _dial_in(self, seconds: float | None) -> None:
        self._due = None if seconds is None else self._now() + seconds
        self._changed.set()

    async def _connect(self) -> Tunnel:
        # A search reuses what was established: with a connection for that before each dial, a balancer that takes
        # its servers in turn would lead every dial to the same one.
        context = self._context if self._open and self._context else await self._trust.establish()
        server = self._settings.server
        proxy = self._settings.proxies.of(server) or None
        headers = await self._registration.headers(refused=self._refused)
        if met := self._replicas.met:
            headers[MET_HEADER] = ",".join(met)
        url = server.replace("https://", "wss://", 1) + self._path
        self._context = context
        return await self._dial(url, context, headers, proxy=proxy)

    async def _watch_over(self, tunnel: Tunnel) -> None:
        """Returns when the tunnel is gone; ends one on which nothing was heard for too long."""
        since = self._now()
        try:
            while not tunnel.closed.done():
                patience = tunnel.heard + self._settings.silence - self._now()
                if patience <= 0:
                    tunnel.drop(f"nothing was heard for {self._settings.silence:g} s")
                    await asyncio.wait((tunnel.closed,), timeout=1.0)
                    break
                tunnel.ping()
                # Never past the end of patience: whoever waits for an answer waits no longer than that.
                await asyncio.wait((tunnel.closed,), timeout=min(self._settings.ping_every, patience))
        finally:
            self._gone(tunnel)
            if not tunnel.closed.done():
                tunnel.close("the agent stops")
            self._lost(tunnel, since)

    def _lost(self, tunnel: Tunnel, since: float) -> None:
        log.warning("tunnel to %s is closed: %s", self._settings.server, _reason(tunnel))
        self._open.discard(tunnel)
        self._replicas.gone(tunnel)
        now = self._now()
        if now - since >= self._settled:
            self._backoff.reset()
        else:
            self._backoff.earn(now - since)
        if self._open:
            return self._seek()
        self._alone_since = now
        return self._dial_in(self._backoff.next())

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
