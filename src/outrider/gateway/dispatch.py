"""Sends every exchange where it belongs, once it is known whose it is."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from typing import Protocol

from outrider.gateway import answers, routing
from outrider.gateway.audit_tap import Tap
from outrider.gateway.connection import ClientConnection
from outrider.gateway.exchange import Exchange
from outrider.gateway.metrics import Metrics
from outrider.gateway.tunnels import TunnelRegistry
from outrider.gateway.verdicts import Grant, VerdictCache
from outrider.link.claims import encode_claim
from outrider.link.messages import Claim, Resolve
from outrider.tunnel.exchange import Backend
from outrider.tunnel.frames import Request

SAFE = frozenset({b"GET", b"HEAD", b"OPTIONS"})
_JUDGED = frozenset({routing.CLUSTER, routing.LOCAL, routing.CONTROL})
_CSRF = b"csrf="


class Audit(Protocol):
    """Keeps the record of what happened. `taps`: every exchange is offered to `tap`, not only control's."""

    taps: bool

    def tap(self, exchange: Exchange) -> Tap | None:
        """What is to see an exchange's bodies, if anything is."""

    def began(self, exchange: Exchange) -> None:
        """An upgraded exchange has switched protocols."""

    def ended(self, exchange: Exchange) -> None:
        """An exchange is over."""


class PeerFinder(Protocol):
    """Knows which other replicas hold tunnels."""

    def find(self, cluster: str) -> Backend | None:
        """The way to a cluster through another replica."""


class Forwarding(Protocol):
    """Says who the client is when a trusted proxy stands before us."""

    def client(self, exchange: Exchange) -> tuple[str, str, str]:
        """Remote address, scheme and host of the client."""

    def line(self, exchange: Exchange) -> bytes:
        """The X-Forwarded-For line for a backend."""


class Dispatcher:
    """The way of a request: route → verdict → backend.

    `ask` sends a question to control. `tunnel` takes over a WebSocket handshake of an agent's. `local` is the
    management cluster's API server, `control` the control process; `peers` are asked for clusters without a tunnel.
    """

    def __init__(
        self,
        ask: Callable[[Resolve], None],
        tunnels: TunnelRegistry,
        *,
        local: Backend,
        control: Backend,
        peers: PeerFinder,
        tunnel: Callable[[Exchange], Awaitable[None]],
        forwarding: Forwarding,
        audit: Audit,
        metrics: Metrics,
        beat_seconds: float = 5.0,
    ) -> None:
        self.connections: set[ClientConnection] = set()
        self.verdicts = VerdictCache(ask, self._decided, beat_seconds=beat_seconds)
        self._tunnels = tunnels
        self._local = local
        self._control = control
        self._peers = peers
        self._tunnel = tunnel
        self._forwarding = forwarding
        self._audit = audit
        self._metrics = metrics
        self._tasks: set[asyncio.Future[None]] = set()

    # connections

    def connected(self, connection: ClientConnection) -> None:
        """A client has connected."""
        self.connections.add(connection)

    def disconnected(self, connection: ClientConnection) -> None:
        """A client is gone."""
        self.connections.discard(connection)

    def switched(self, exchange: Exchange) -> None:
        """An exchange has switched protocols."""
        self._audit.began(exchange)

    def finished(self, exchange: Exchange) -> None:
        """An exchange is over."""
        if exchange.grant is not None:
            exchange.grant.exchanges.discard(exchange)
        self._metrics.count(exchange)
        self._audit.ended(exchange)

    # the way of a request

    def start(self, exchange: Exchange) -> None:
        """Routes an exchange; whoever needs a verdict gets one first."""
        kind, cluster, target = routing.route(exchange.target)
        exchange.route, exchange.cluster, exchange.target = kind, cluster, target
        if kind == routing.CONTROL or self._audit.taps:
            tap = self._audit.tap(exchange)
            if tap is not None:
                exchange.tap_with(tap)
        if kind in _JUDGED:
            refusal = _refusal(exchange)
            if refusal is not None:
                return exchange.answer(refusal)
            return self._judge(exchange)
        return self._own(exchange, kind)

    def _own(self, exchange: Exchange, kind: str) -> None:
        if kind == routing.TUNNEL:
            task = asyncio.ensure_future(self._tunnel(exchange))
            self._tasks.add(task)
            return task.add_done_callback(self._tasks.discard)
        if kind == routing.PING:
            return exchange.answer(answers.PONG)
        if kind == routing.HEALTH or (kind == routing.READY and self.verdicts.fresh):
            return exchange.answer(answers.OK)
        if kind == routing.READY:
            return exchange.answer(answers.unavailable("the control process does not answer right now"))
        return exchange.answer(answers.BAD_TARGET)

    def _judge(self, exchange: Exchange) -> None:
        if not exchange.credential:
            return self._anonymous(exchange)
        grant = self.verdicts.find(exchange.credential, exchange.cluster)
        if grant is None:
            return self.verdicts.resolve(exchange)
        return self._decided(exchange, grant)

    def _anonymous(self, exchange: Exchange) -> None:
        if exchange.route == routing.CONTROL:
            return self._to_control(exchange, None)
        return exchange.answer(answers.MUST_AUTHENTICATE)

    def _decided(self, exchange: Exchange, grant: Grant) -> None:
        status = grant.status
        exchange.grant = grant
        if exchange.route == routing.CONTROL and status != 503:
            if status == 401 and not exchange.cluster and (scope := routing.scope(exchange.target)):
                # A token for one cluster is good for that cluster's own part of the façade (contract §1.9).
                exchange.cluster = scope
                return self._judge(exchange)
            return self._to_control(exchange, grant)
        if status != 200:
            return exchange.answer(_denial(grant))
        grant.exchanges.add(exchange)
        if exchange.route == routing.LOCAL:
            return self._run(exchange, self._local, grant.claim)
        backend: Backend | None = self._tunnels.find(exchange.cluster) or self._peers.find(exchange.cluster)
        if backend is None:
            return exchange.answer(answers.DISCONNECTED)
        return self._run(exchange, backend, grant.claim)

    def _to_control(self, exchange: Exchange, grant: Grant | None) -> None:
        if exchange.cookie:
            exchange.lines.append(b"cookie: %b\r\n" % exchange.cookie)
        if exchange.connection.scheme == "https":
            exchange.extra = b"strict-transport-security: max-age=31536000\r\n"
        if grant is not None and grant.status == 200:
            grant.exchanges.add(exchange)
        self._run(exchange, self._control, self._claim(exchange, grant))

    def _claim(self, exchange: Exchange, grant: Grant | None) -> bytes:
        verdict = grant.verdict if grant is not None else None
        remote, scheme, host = self._forwarding.client(exchange)
        claim = Claim(remote=remote, scheme=scheme, host=host)
        if verdict is not None:
            claim = Claim(
                identity=verdict.identity if verdict.status == 200 else None,
                token=verdict.token,
                user=verdict.user,
                code=verdict.code,
                message=verdict.message,
                remote=remote,
                scheme=scheme,
                host=host,
            )
        return encode_claim(claim).encode("ascii")

    def _run(self, exchange: Exchange, backend: Backend, claim: bytes) -> None:
        head = b"".join(
            (
                exchange.method,
                b" ",
                exchange.target,
                b" HTTP/1.1\r\n",
                *exchange.lines,
                self._forwarding.line(exchange),
            )
        )
        exchange.run_on(backend.open(Request(head, exchange.length, exchange.upgrade), claim, exchange))


def _refusal(exchange: Exchange) -> answers.Answer | None:
    if exchange.impersonates:
        return answers.NO_IMPERSONATION
    if exchange.route == routing.CLUSTER and not exchange.cluster and exchange.credential:
        return answers.NO_CLUSTER
    if exchange.from_cookie:
        return _cookie_refusal(exchange)
    return None


def _cookie_refusal(exchange: Exchange) -> answers.Answer | None:
    """What a browser must prove beside its cookie: its own origin, and the anti-forgery token (contract §1.4)."""
    if exchange.upgrade or exchange.origin:
        origin = exchange.origin.rpartition(b"//")[2]
        if exchange.upgrade and origin != exchange.host:
            return answers.FOREIGN_ORIGIN
    if exchange.method not in SAFE and exchange.route != routing.CONTROL and not _has_csrf(exchange):
        return answers.NO_CSRF
    return None


def _has_csrf(exchange: Exchange) -> bool:
    sent = exchange.header(b"x-api-csrf")
    cookies = (part.strip() for part in exchange.cookie.split(b";"))
    expected = next((part[5:] for part in cookies if part[:5].lower() == _CSRF), b"")
    return bool(expected) and hmac.compare_digest(sent, expected)


def _denial(grant: Grant) -> answers.Answer:
    verdict = grant.verdict
    status = grant.status
    if status == 401:
        return answers.MUST_AUTHENTICATE
    if status == 404:
        return answers.NO_CLUSTER
    if status == 429 and verdict is not None:
        return answers.status(
            429, verdict.message or "too many attempts", retry_after=max(1, round(verdict.ttl))
        )
    if verdict is not None and verdict.message and status != 503:
        return answers.status(status or 503, verdict.message)
    return answers.CANNOT_DETERMINE
