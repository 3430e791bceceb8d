"""What control has said about credentials, for as long as that may be trusted.

A *grant* is a verdict about one credential and one cluster, and the exchanges that run on it. It is good until its
time is up, until an invalidation names its token or user, or until the beat from control fails for
`beat_seconds`; then control is asked again. An exchange that goes on for long (a watch, a shell) outlives the
verdict it began with, but not the next refusal: after each invalidation the grants of running exchanges are
asked for anew, and those refused end.
"""

import asyncio
from collections.abc import Callable

import msgspec

from outrider.gateway.exchange import Exchange
from outrider.link.messages import Beat, Invalidate, Resolve, Verdict

Key = tuple[bytes, str]

UNANSWERED = 503
ATTEMPTS = 5
"""Questions in a row whose answers were overtaken by an invalidation before the exchange is put off."""
LAST_WORDS = 1.0
"""Seconds in which an exchange whose right has ended may still be answered, if that has not begun: a sign-out ends
the very token that it came with."""


class Grant:
    """What is known about one credential and one cluster. `status` is 0 while nothing is.

    `claim`, `token` and `user` are those of the last verdict that said yes: what the running exchanges stand on.
    `audit` is what the audit trail says of the user, once it has said it.
    """

    __slots__ = (
        "attempts",
        "audit",
        "claim",
        "exchanges",
        "expires",
        "host",
        "key",
        "remote",
        "token",
        "user",
        "verdict",
        "waiting",
    )

    def __init__(self, key: Key, host: str, remote: str) -> None:
        self.key = key
        self.host = host
        self.remote = remote
        self.attempts = 0
        self.expires = 0.0
        self.claim = b""
        self.audit: bytes | None = None
        self.token = ""
        self.user = ""
        self.verdict: Verdict | None = None
        self.exchanges: set[Exchange] = set()
        self.waiting: list[Exchange] | None = None

    @property
    def status(self) -> int:
        """The verdict's status, 0 when there is none."""
        return self.verdict.status if self.verdict is not None else 0


class VerdictCache:
    """Verdicts by credential and cluster.

    `ask` sends a Resolve to control and raises nothing; `proceed` is called with each exchange that waited, once
    there is an answer (or none within `patience` seconds: then the grant's verdict is a 503). While the beat is
    missing nobody is asked: the answer is 503 at once.
    """

    def __init__(
        self,
        ask: Callable[[Resolve], None],
        proceed: Callable[[Exchange, Grant], None],
        *,
        beat_seconds: float = 5.0,
        patience: float = 5.0,
        limit: int = 20_000,
    ) -> None:
        self._ask = ask
        self._proceed = proceed
        self._beat_seconds = beat_seconds
        self._patience = patience
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._grants: dict[Key, Grant] = {}
        self._asked: dict[int, tuple[Grant, asyncio.TimerHandle]] = {}
        self._doubtful: set[Grant] = set()
        self._next = 0
        self._fresh_until = 0.0
        self._generation = 0
        self._away = Grant((b"", ""), "", "")
        self._away.verdict = _unanswered("the control process does not answer right now")

    @property
    def fresh(self) -> bool:
        """Whether control's beat has been heard lately."""
        return self._loop.time() < self._fresh_until

    def find(self, credential: bytes, cluster: str) -> Grant | None:
        """The grant, if it is good right now."""
        grant = self._grants.get((credential, cluster))
        if grant is None:
            return None
        now = self._loop.time()
        return grant if now < grant.expires and now < self._fresh_until else None

    def resolve(self, exchange: Exchange) -> None:
        """Asks control on behalf of an exchange, which then waits."""
        if self._fresh_until and not self.fresh:
            return self._proceed(exchange, self._away)
        key = (exchange.credential, exchange.cluster)
        grant = self._grants.get(key)
        if grant is None:
            grant = Grant(key, exchange.host.decode("latin-1"), exchange.connection.remote)
            self._make_room()
            self._grants[key] = grant
        if grant.waiting is not None:
            grant.waiting.append(exchange)
        else:
            grant.waiting = [exchange]
            self._send(grant)
        return None

    # from the link

    def on_beat(self, beat: Beat) -> None:
        """Control is alive and has told everything up to this generation."""
        self._fresh_until = self._loop.time() + self._beat_seconds
        self._generation = max(self._generation, beat.generation)
        doubtful, self._doubtful = self._doubtful, set()
        for grant in doubtful:
            self._review(grant)

    def on_verdict(self, verdict: Verdict) -> None:
        """Control's answer: remembered, unless something has changed since it was computed."""
        grant, timer = self._asked.pop(verdict.id, (None, None))
        if grant is None or timer is None:
            return
        timer.cancel()
        if verdict.generation < self._generation and verdict.status == 200:
            grant.attempts += 1
            if grant.attempts < ATTEMPTS:
                return self._send(grant)
            verdict = _unanswered("access rules are changing; try again")
        return self._settle(grant, verdict)

    def on_invalidate(self, message: Invalidate) -> None:
        """Something has changed: forget what may be wrong now, and ask again for whoever runs on it."""
        self._generation = max(self._generation, message.generation)
        for grant in [g for g in self._grants.values() if _concerns(message, g)]:
            grant.expires = 0.0
            self._review(grant)

    def on_link_lost(self) -> None:
        """Control is gone: whoever waits for it must not wait on.

        Another one counts its own generations; it begins by saying that nothing holds any more.
        """
        self._generation = 0
        asked, self._asked = self._asked, {}
        for grant, timer in asked.values():
            timer.cancel()
            self._settle(grant, _unanswered("the control process is away"))

    def sweep(self) -> None:
        """Forgets grants that are over; the owner calls it now and then."""
        now = self._loop.time()
        for key in [k for k, g in self._grants.items() if _idle(g, now)]:
            del self._grants[key]

    # inside

    def _review(self, grant: Grant) -> None:
        if grant.exchanges and grant.waiting is None:
            grant.waiting = []
            self._send(grant)

    def _send(self, grant: Grant) -> None:
        number = self._next = self._next + 1
        self._asked[number] = grant, self._loop.call_later(self._patience, self._overdue, number)
        self._ask(
            Resolve(
                id=number,
                credential=grant.key[0].decode("latin-1"),
                cluster=grant.key[1],
                host=grant.host,
                remote=grant.remote,
            )
        )

    def _overdue(self, number: int) -> None:
        grant, _ = self._asked.pop(number)
        self._settle(grant, _unanswered("no answer from control"))

    def _settle(self, grant: Grant, verdict: Verdict) -> None:
        grant.verdict = verdict
        grant.audit = None
        grant.attempts = 0
        grant.expires = self._loop.time() + verdict.ttl
        claim = msgspec.json.encode(verdict.identity) if verdict.identity is not None else b""
        if verdict.status in {401, 404} or (verdict.status == 200 and claim != grant.claim):
            self._end(grant)
        elif verdict.status != 200 and grant.exchanges:
            self._doubtful.add(grant)  # asked again with the next beat
        if verdict.status == 200:
            grant.claim, grant.token, grant.user = claim, verdict.token, verdict.user
        waiting, grant.waiting = grant.waiting or [], None
        for exchange in waiting:
            if not exchange.done:
                self._proceed(exchange, grant)

    def _end(self, grant: Grant) -> None:
        for exchange in list(grant.exchanges):
            if exchange.answered or exchange.upgrade:
                exchange.cut("access was revoked")
            else:
                self._loop.call_later(LAST_WORDS, exchange.cut, "access was revoked")

    def _make_room(self) -> None:
        if len(self._grants) >= self._limit:
            self.sweep()
        if len(self._grants) >= self._limit:
            victims = [k for k, g in self._grants.items() if not g.exchanges and g.waiting is None]
            for key in victims[: self._limit // 10]:
                del self._grants[key]


def _unanswered(message: str) -> Verdict:
    return Verdict(id=0, status=UNANSWERED, message=message)


def _concerns(message: Invalidate, grant: Grant) -> bool:
    verdict = grant.verdict
    if message.everything or verdict is None:
        return True
    return (
        verdict.token in message.tokens
        or verdict.user in message.users
        or grant.token in message.tokens
        or grant.user in message.users
    )


def _idle(grant: Grant, now: float) -> bool:
    return grant.expires < now and not grant.exchanges and grant.waiting is None
