"""How long verdicts hold, and who is told when they do not.

Every change that can take something from somebody raises the generation and is published as an `Invalidate`.
A verdict names the generation at which its computation began: one begun before a change is void, one begun
after it has seen the change. Changes within `gather` seconds are published together.

The API server's authorizer follows changes of roles with a little delay. What is computed within two seconds
of one is therefore believed for one second only.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

from outrider.apis.management.cluster import Cluster
from outrider.apis.management.token import Token
from outrider.apis.management.user import User
from outrider.apis.management.user_attribute import UserAttribute
from outrider.features.auth.judgement import groups_of
from outrider.features.auth.stored_tokens import reference
from outrider.features.auth.token_secrets import token_of
from outrider.kit.clock import Clock
from outrider.kube.client import Client
from outrider.kube.errors import KubeError
from outrider.link.messages import Beat, Invalidate
from outrider.runtime.informer import Event

log = logging.getLogger(__name__)

LIFETIME = 30.0
UNSETTLED_LIFETIME = 1.0
SETTLING = 2.0

Subscriber = Callable[[Invalidate], None]


class Freshness:
    """Counts generations and publishes invalidations."""

    def __init__(self, clock: Clock, *, gather: float = 0.02) -> None:
        self._clock = clock
        self._gather = gather
        # starts above every generation of an earlier process, whose verdicts a gateway may still hold
        self._generation = int(clock.now().timestamp() * 1000)
        # what happened before this process began is unknown
        self._roles_changed = clock.monotonic()
        self._tokens: set[str] = set()
        self._users: set[str] = set()
        self._everything = False
        self._timer: asyncio.TimerHandle | None = None
        self._subscribers: set[Subscriber] = set()

    @property
    def generation(self) -> int:
        """The present generation."""
        return self._generation

    def lifetime(self) -> float:
        """Seconds that a verdict computed now may live."""
        settled = self._clock.monotonic() - self._roles_changed >= SETTLING
        return LIFETIME if settled else UNSETTLED_LIFETIME

    @contextlib.contextmanager
    def subscribed(self, subscriber: Subscriber) -> Iterator[None]:
        """Have invalidations published to the subscriber while the block runs. It must not block.

        A gateway that was away has missed some: the first thing it hears is that nothing it knows holds
        without asking again.
        """
        subscriber(Invalidate(generation=self._generation, everything=True))
        self._subscribers.add(subscriber)
        try:
            yield
        finally:
            self._subscribers.discard(subscriber)

    def token_changed(self, event: Event[Token]) -> None:
        """An informer's handler for tokens."""
        if _matters(event, _token_facts):
            self._void(tokens={reference(token) for token in (event.old, event.new) if token is not None})

    def extension_token_changed(self, event: Event[dict[str, Any]]) -> None:
        """An informer's handler for the Secrets of tokens of ext.cattle.io."""
        old, new = (token_of(secret) if secret is not None else None for secret in (event.old, event.new))
        self.token_changed(Event(event.type, old, new))

    def user_changed(self, event: Event[User]) -> None:
        """An informer's handler for users."""
        if _matters(event, _user_facts):
            self._void(users=_names(event))

    def attribute_changed(self, event: Event[UserAttribute]) -> None:
        """An informer's handler for user attributes, which are named after their users."""
        if _matters(event, lambda attribute: groups_of(None, attribute)):
            self._void(users=_names(event))

    def password_changed(self, event: Event[dict[str, Any]]) -> None:
        """An informer's handler for the Secrets of passwords, which are named after their users."""
        if _matters(event, lambda secret: secret.get("data")):
            objects = (event.old, event.new)
            self._void(users={obj["metadata"]["name"] for obj in objects if obj is not None})

    def role_changed(self, event: Event[dict[str, Any]]) -> None:
        """An informer's handler for cluster roles and roles: anybody may hold one."""
        if _matters(event, lambda role: (role.get("rules"), role.get("aggregationRule"))):
            self._roles_changed = self._clock.monotonic()
            self._void(everything=True)

    def binding_changed(self, event: Event[dict[str, Any]]) -> None:
        """An informer's handler for cluster role bindings and role bindings."""
        if not _matters(event, lambda binding: (binding.get("roleRef"), binding.get("subjects"))):
            return
        self._roles_changed = self._clock.monotonic()
        subjects = [
            subject
            for obj in (event.old, event.new)
            if obj is not None
            for subject in obj.get("subjects") or ()
        ]
        users = {str(subject.get("name")) for subject in subjects if subject.get("kind") == "User"}
        self._void(users=users, everything=any(subject.get("kind") == "Group" for subject in subjects))

    def cluster_changed(self, event: Event[Cluster]) -> None:
        """An informer's handler for clusters: whoever reached one that is gone must hear that it does not exist."""
        self._void(everything=event.new is None)

    def everything_changed(self) -> None:
        """A setting or a provider changed that decides about many."""
        self._void(everything=True)

    def _void(
        self,
        *,
        tokens: set[str] | frozenset[str] = frozenset(),
        users: set[str] | frozenset[str] = frozenset(),
        everything: bool = False,
    ) -> None:
        if not (tokens or users or everything):
            return
        self._generation += 1
        self._tokens |= tokens
        self._users |= users
        self._everything |= everything
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._gather, self._publish)

    def _publish(self) -> None:
        self._timer = None
        message = Invalidate(
            generation=self._generation,
            tokens=tuple(sorted(self._tokens)),
            users=tuple(sorted(self._users)),
            everything=self._everything,
        )
        self._tokens, self._users, self._everything = set(), set(), False
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(message)
            except Exception:
                log.exception("an invalidation could not be passed on")

    def close(self) -> None:
        """Publish nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Heart:
    """Says every second that this process still follows the API server; silent when it does not.

    Without its beat a gateway stops believing its verdicts (architecture, decision 4): a process that cannot
    see revocations must not keep them alive.
    """

    def __init__(
        self,
        client: Client,
        freshness: Freshness,
        ready: Callable[[], bool],
        clock: Clock,
        *,
        interval: float = 1.0,
        timeout: float = 2.0,
    ) -> None:
        self._client = client
        self._freshness = freshness
        self._ready = ready
        self._clock = clock
        self._interval = interval
        self._timeout = timeout

    async def beats(self) -> AsyncGenerator[Beat, None]:
        """One beat an interval, while the API server answers and everything is synced."""
        while True:
            if self._ready() and await self._reachable():
                yield Beat(generation=self._freshness.generation)
            await self._clock.sleep(self._interval)

    async def _reachable(self) -> bool:
        try:
            async with asyncio.timeout(self._timeout):
                await self._client.get_json("/version")
        except (KubeError, TimeoutError):
            log.warning("the API server does not answer: no verdict is confirmed")
            return False
        return True


def _matters(event: Event[Any], facts: Callable[[Any], object]) -> bool:
    if event.old is None or event.new is None:
        return True
    return facts(event.old) != facts(event.new)


def _names(event: Event[Any]) -> set[str]:
    return {obj.metadata.name for obj in (event.old, event.new) if obj is not None}


def _token_facts(token: Token) -> object:
    return (
        token.token,
        token.enabled,
        token.ttl,
        token.user_id,
        token.cluster_name,
        token.auth_provider,
        token.user_principal,
        token.group_principals,
        token.metadata.labels,
        token.is_deleting,
    )


def _user_facts(user: User) -> object:
    return (user.enabled, user.username, user.must_change_password, user.is_deleting)
