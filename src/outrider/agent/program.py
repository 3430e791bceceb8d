"""Puts the agent together and runs it until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import signal
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import aiofastnet

from outrider import __version__
from outrider.agent.credentials import ImpersonationAccounts
from outrider.agent.departure import Departure
from outrider.agent.dialer import Dialer, Tunnel
from outrider.agent.errors import AgentError
from outrider.agent.guard import AccountGuard
from outrider.agent.inventory import Inventory
from outrider.agent.keeper import AccountKeeper
from outrider.agent.leaving import Leaving
from outrider.agent.orders import Orders
from outrider.agent.readiness import Readiness
from outrider.agent.registration import Registration
from outrider.agent.reporter import Facts, Reporter
from outrider.agent.settings import AgentSettings, read_file
from outrider.agent.trust import Trust
from outrider.delivery.applier import StateApplier
from outrider.delivery.fetcher import Fetcher
from outrider.delivery.ledger import NAMESPACE
from outrider.delivery.presence import MANAGER
from outrider.delivery.withdrawal import Withdrawal
from outrider.kit.backoff import Backoff
from outrider.kit.tasks import TaskSupervisor
from outrider.kube.client import Client
from outrider.kube.kubeconfig import ClusterAccess
from outrider.kube.tls import client_context
from outrider.kube.transport import HttpTransport
from outrider.runtime.leader import Durations, LeaderElector
from outrider.tunnel import farewell, session
from outrider.tunnel.agent import AgentSession
from outrider.tunnel.pool import UpstreamPool
from outrider.tunnel.reports import (
    Hello,
    ReportError,
    Resync,
    StateGone,
    StateHead,
    StatePart,
    StateReport,
    UnknownMessage,
    decode_server_message,
)
from outrider.tunnel.upstream import UpstreamConnection

log = logging.getLogger(__name__)

_SWEEP = 30.0
_LINGER = 60.0
"""Seconds that the process waits for its end after its cluster was left: a pod would only be started again."""


class Agent:
    """Everything that runs in the agent's process. Raises SettingsError when a mounted file is missing."""

    def __init__(self, settings: AgentSettings) -> None:
        loop = asyncio.get_running_loop()
        authority = read_file(settings.service_account / "ca.crt", "the service account of the pod").encode()
        server = f"https://{settings.kubernetes_address}"
        anonymous = ClusterAccess(server=server, ca_pem=authority)
        itself = ClusterAccess(server=server, ca_pem=authority, token_file=settings.service_account / "token")
        self._settings = settings
        self._transport = HttpTransport(itself, max_connections=8)
        # A large state fills every connection that it may have: the lease and users' accounts have others
        self._bulk = HttpTransport(itself, max_connections=8)
        self._prover = HttpTransport(anonymous, max_connections=8)
        client = Client(self._transport, field_manager="outrider-agent", max_retries=2)
        self._accounts = ImpersonationAccounts(AccountKeeper(client), self._prover, now=loop.time)
        self._guard = AccountGuard(client, self._accounts)
        self._pool = UpstreamPool(
            connector(settings, client_context(anonymous)), self._accounts, host=settings.kubernetes_address
        )
        self._reporter = Reporter(secrets.token_hex(8), agent_version=__version__)
        self._inventory = Inventory(
            client, self._reporter, report_after=settings.report_after, poll_every=settings.poll_every
        )
        # Another field manager than the agent's own, so that neither drops what the other set
        delivering = Client(self._bulk, field_manager=MANAGER, max_retries=2)
        self._state = StateApplier(
            delivering,
            self._tell_state,
            changed=self._state_changed,
            every=settings.resync_state_every,
            image=settings.image,
            version=__version__,
        )
        self._fetcher = Fetcher(self._state)
        self._lease = LeaderElector(
            client, "outrider-agent", NAMESPACE, settings.name, durations=durations(settings.lease)
        )
        self._trust = Trust(
            settings.server,
            expected=settings.ca_checksum,
            strict=settings.strict_verify,
            proxy=settings.proxies.of(settings.server),
        )
        self._registration = Registration(settings, client)
        self._orders = Orders(client, settings, self._registration, taken=self._must_leave)
        self._leaving = Leaving(self._orders.given)
        self._departure = Departure(client, Withdrawal(delivering), self._leaving.tell)
        self._dialer = Dialer(
            settings,
            self._trust,
            self._registration,
            self._dial,
            opened=self._opened,
            gone=self._gone,
            refused=self._refused,
            now=loop.time,
        )
        self._tunnels: list[AgentSession] = []
        self._readiness = Readiness(settings.probe_port)
        self._reached = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until `stop` is set. Raises AgentError when there is no use in going on."""
        settings = self._settings
        log.info(
            "agent %s, version %s: server %s, cluster %s",
            settings.name,
            __version__,
            settings.server,
            settings.kubernetes_address,
        )
        parts: dict[str, Callable[[], Awaitable[None]]] = {
            "inventory": self._inventory.run,
            "accounts": self._accounts.run,
            "account guard": self._guard.run,
            "desired state": self._enforce,
            "orders to leave": self._orders.run,
            "parts of the desired state": self._fetcher.run,
            "idle connections": self._sweep,
            "check of the CA": self._tell_strictness,
            **({"readiness": self._readiness.run} if settings.probe_port else {}),
        }
        try:
            async with TaskSupervisor() as tasks:
                for name, part in parts.items():
                    tasks.start(name, part, restart=Backoff(1.0, 30.0))
                dialing = asyncio.ensure_future(self._dialer.run())
                stopping = asyncio.ensure_future(stop.wait())
                leaving = asyncio.ensure_future(self._leaving.done.wait())
                waits = (dialing, stopping, leaving)
                try:
                    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                    if leaving.done():
                        await asyncio.wait((stopping,), timeout=_LINGER)
                    elif dialing.done():
                        dialing.result()
                    await self._drain()
                finally:
                    for task in waits:
                        task.cancel()
                    await asyncio.gather(*waits, return_exceptions=True)
        finally:
            await self._close()

    async def _drain(self) -> None:
        """Lets requests under way end, for a short time."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._settings.stop_within
        # Streams end in callbacks of the data path, which tells nobody.
        while any(tunnel.streams for tunnel in self._tunnels) and loop.time() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    async def _close(self) -> None:
        await self._orders.close()
        await self._accounts.close()
        await self._pool.close()
        await self._prover.close()
        await self._bulk.close()
        await self._transport.close()

    async def _enforce(self) -> None:
        """Applies the desired state when it is this replica's turn.

        An agent that cannot reach the server must not take the turn from one that can; when none can, what is
        known is enforced.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.alone_after):
                await self._reached.wait()
        await self._lease.run(
            lambda: self._leaving.instead_of(lambda: self._state.run(self._lease.epoch), self._departure.run)
        )

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP)
            self._pool.sweep()

    async def _tell_strictness(self) -> None:
        self._reporter.facts_changed(Facts(strict_tls=await self._trust.would_be_strict()))

    def _tell_state(self, report: StateReport) -> None:
        self._fetcher.report(report)

    def _state_changed(self) -> None:
        self._fetcher.look()

    def _must_leave(self) -> None:
        """The order counts: nobody acts through this agent any more, and no server has to be reached first."""
        self._accounts.retire()
        self._reached.set()

    # tunnels

    async def _dial(
        self, url: str, context: ssl.SSLContext, headers: Mapping[str, str], *, proxy: str | None
    ) -> Tunnel:
        end = AgentSession(self._pool, self._receive)
        try:
            return await session.dial(url, context, headers, end, proxy=proxy)
        except session.DialError:
            raise
        except Exception as error:
            if proxy is None:
                raise
            # The proxy's own refusals have a type that belongs to a library below.
            raise session.DialError(f"the proxy did not connect to {url}: {error}") from None

    def _opened(self, tunnel: Tunnel) -> None:
        self._tunnels.append(cast(AgentSession, tunnel))
        self._readiness.tunnels = len(self._tunnels)
        self._reached.set()
        self._reporter.attach(tunnel)
        self._fetcher.attach(tunnel)
        self._leaving.attach(tunnel)

    def _gone(self, tunnel: Tunnel) -> None:
        self._reporter.detach(tunnel)
        self._fetcher.detach(tunnel)
        self._leaving.detach(tunnel)
        self._tunnels = [other for other in self._tunnels if other is not tunnel]
        self._readiness.tunnels = len(self._tunnels)

    def _refused(self, status: int, body: bytes) -> None:
        """The server, verified before, let no tunnel in."""
        if farewell.is_order(status, body, self._registration.shown):
            self._orders.give()

    def _receive(self, tunnel: AgentSession, body: bytes) -> None:
        """A control message of the server's."""
        try:
            message = decode_server_message(body)
        except UnknownMessage as error:
            log.debug("ignored %s of the server's", error)
            return
        except ReportError as error:
            log.warning("ignored a message of the server's: %s", error)
            return
        match message:
            case Hello():
                self._dialer.greeted(tunnel, message)
            case Resync():
                self._reporter.resync(tunnel)
            case StateHead():
                self._fetcher.on_head(tunnel, message)
            case StatePart():
                self._fetcher.on_part(tunnel, message)
            case StateGone():
                self._orders.give()


def durations(lease: float) -> Durations:
    """How the lease of the replica that applies is kept.

    One that died leaves its objects as they are: nobody is in a hurry, and every renewal is a write.
    """
    return Durations(lease=lease, renew_deadline=lease * 2 / 3, retry=lease / 6)


def connector(
    settings: AgentSettings, context: ssl.SSLContext
) -> Callable[[Callable[[], UpstreamConnection]], Awaitable[UpstreamConnection]]:
    """Opens connections to the cluster's own API server for the data path."""

    async def connect(factory: Callable[[], UpstreamConnection]) -> UpstreamConnection:
        _, connection = await cast(Any, aiofastnet).create_connection(
            asyncio.get_running_loop(),
            factory,
            settings.kubernetes_host,
            settings.kubernetes_port,
            ssl=context,
            server_hostname=settings.kubernetes_host,
        )
        return cast(UpstreamConnection, connection)

    return connect


async def run(settings: AgentSettings) -> int:
    """Runs the agent until SIGTERM or SIGINT; returns the exit status.

    1 means that the agent cannot work as it is set up, or had no tunnel for too long; the log says why.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await Agent(settings).run(stop)
    except AgentError as error:
        log.error("%s", error)  # noqa: TRY400  a reason, not a crash
        return 1
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    return 0
