"""Changes of objects, watched once a kind for all who look: that something changed, never what it is.

Who is told reads the object as their own user. So one watch serves any number of people, and grants nothing. Nothing is
kept of objects; of changes, the latest, for those who come with a version that they have seen already.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from outrider.apis.norman import NormanError
from outrider.kit.backoff import Backoff
from outrider.kit.tasks import cancel_and_wait
from outrider.kube.builtin import untyped
from outrider.kube.client import Client
from outrider.kube.errors import ApiError, Gone, KubeError
from outrider.kube.identity import Identity
from outrider.kube.kind import Kind
from outrider.kube.meta import ObjectKey

log = logging.getLogger(__name__)

KEPT: Final = 2000
"""Changes of a kind that are remembered."""

_NOBODY: Final = ObjectKey("", "")
_WATCH_SECONDS: Final = 300.0
_CATCH_UP_SECONDS: Final = 1.0
_NAMES: Final = {"ADDED": "create", "MODIFIED": "change", "DELETED": "remove", "REJECTED": "change"}


@dataclass(frozen=True)
class Change:
    """What happened to an object: `create`, `change`, `remove`; or `lost`: nobody knows what happened meanwhile."""

    event: str
    key: ObjectKey = _NOBODY
    revision: str = ""

    @property
    def gone(self) -> bool:
        """Whether the object is no more."""
        return self.event == "remove"


Tell = Callable[[Change], None]


@dataclass
class _Watched:
    """One kind: who listens, what happened lately, and after which version that begins."""

    kind: Kind[dict[str, Any]]
    begins: int | None
    task: asyncio.Task[None] | None = None
    listeners: set[Tell] = field(default_factory=set)
    log: deque[Change] = field(default_factory=deque)
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    def heard(self, change: Change) -> None:
        """Tells everybody, and remembers it."""
        self.log.append(change)
        if len(self.log) > KEPT:
            self.begins = _number(self.log.popleft().revision)
        for tell in list(self.listeners):
            tell(change)

    def lost(self) -> None:
        """Tells everybody that something may have been missed."""
        self.log.clear()
        self.begins = None
        self.begun.set()
        for tell in list(self.listeners):
            tell(Change("lost"))

    def since(self, revision: int | None) -> list[Change] | None:
        """What happened after a version; None when that is not remembered."""
        if revision is None or self.begins is None or revision < self.begins:
            return None
        return [change for change in self.log if (_number(change.revision) or 0) > revision]


class Changes:
    """The watches of one client: one for each kind that somebody listens to."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._watched: dict[tuple[str, str], _Watched] = {}

    @asynccontextmanager
    async def told(self, kind: Kind[Any], tell: Tell, *, since: str = "") -> AsyncIterator[None]:
        """Calls `tell` for every change while the block runs, and for those before it that came after `since`."""
        key = (kind.group, kind.plural)
        watched = self._watched.get(key)
        if watched is None:
            watched = self._watched[key] = self._watch(kind, since)
            earlier: list[Change] | None = []
        else:
            earlier = watched.since(_number(since)) if since else []
        watched.listeners.add(tell)
        for change in earlier or ():
            tell(change)
        behind = asyncio.create_task(self._catch_up(watched.kind, since, tell)) if earlier is None else None
        try:
            await watched.begun.wait()
            yield
        finally:
            if behind is not None:
                behind.cancel()
            watched.listeners.discard(tell)
            if not watched.listeners and self._watched.get(key) is watched:
                del self._watched[key]
                if watched.task is not None:
                    watched.task.cancel()

    async def close(self) -> None:
        """End all watches."""
        tasks = [watched.task for watched in self._watched.values() if watched.task is not None]
        self._watched.clear()
        await cancel_and_wait(*tasks)

    @property
    def watches(self) -> int:
        """How many kinds are watched."""
        return len(self._watched)

    def _watch(self, kind: Kind[Any], since: str) -> _Watched:
        bare = untyped(kind.group, kind.version, kind.plural, kind.kind, namespaced=kind.namespaced)
        bare.metadata_only = True
        watched = _Watched(bare, _number(since))
        watched.task = asyncio.create_task(self._follow(watched, since))
        return watched

    async def _follow(self, watched: _Watched, since: str) -> None:
        """Watches until cancelled; what cannot be watched is told as lost, again and again more slowly."""
        backoff = Backoff(0.2, 30.0)
        version = since
        while True:
            try:
                version = version or await self._now(watched)
                watched.begun.set()
                async with aclosing(self._events(watched.kind, version, _WATCH_SECONDS)) as events:
                    async for event in events:
                        backoff = Backoff(0.2, 30.0)
                        version = event.resource_version or version
                        if event.type in _NAMES:
                            watched.heard(Change(_NAMES[event.type], event.key, event.resource_version))
            except Gone:
                version = ""
                watched.lost()
            except ApiError as error:
                log.debug("%s cannot be watched: %s", watched.kind.plural, error)
                watched.lost()
                await asyncio.sleep(backoff.next())
            except (KubeError, NormanError) as error:
                # also: the cluster is not connected right now, which is an answer of its own
                log.debug("a watch of %s broke: %s", watched.kind.plural, error)
                await asyncio.sleep(backoff.next())

    async def _now(self, watched: _Watched) -> str:
        """The version of a kind's collection, which is where its watch begins."""
        async with aclosing(self._client.pages(watched.kind, limit=1)) as pages:
            version = (await anext(pages)).resource_version
        watched.begins = _number(version)
        return version

    async def _catch_up(self, kind: Kind[Any], since: str, tell: Tell) -> None:
        """Tells one listener what happened before the others came. Whoever is told twice looks twice."""
        try:
            async with aclosing(self._events(kind, since, _CATCH_UP_SECONDS)) as events:
                async for event in events:
                    if event.type in _NAMES:
                        tell(Change(_NAMES[event.type], event.key, event.resource_version))
        except (KubeError, NormanError):
            tell(Change("lost"))

    def _events(self, kind: Kind[Any], version: str, seconds: float) -> Any:
        return self._client.watch(kind, resource_version=version, timeout=seconds)


class Watches:
    """The watches of all clusters.

    Those of the management cluster are the server's own, with `client`, and serve everybody. In other clusters the
    server is nobody: there, one watch serves all subscriptions of one user.
    """

    def __init__(self, client: Client) -> None:
        self._own = Changes(client)
        self._others: dict[tuple[str, str], Changes] = {}

    def of(self, cluster: str, identity: Identity, client: Client) -> Changes:
        """The watches for somebody in a cluster, whose own client is `client`; empty for the management cluster."""
        if not cluster:
            return self._own
        key = (cluster, repr(identity))
        for name in [name for name, held in self._others.items() if not held.watches and name != key]:
            del self._others[name]
        return self._others.setdefault(key, Changes(client))

    @property
    def watches(self) -> int:
        """How many kinds are watched, in all clusters together."""
        return self._own.watches + sum(changes.watches for changes in self._others.values())

    async def close(self) -> None:
        """End all."""
        for changes in (self._own, *self._others.values()):
            await changes.close()


def _number(revision: str) -> int | None:
    """A version as a number, which is what the API server's own kinds have (KEP-5504)."""
    with contextlib.suppress(ValueError):
        return int(revision)
    return None
