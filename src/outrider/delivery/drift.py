"""Watches what was delivered: metadata only, by label, one watch for each kind in use."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Protocol

from outrider.delivery.entries import LABEL, Ref
from outrider.delivery.presence import GONE, MANAGER, Presence, mark
from outrider.kit.backoff import Backoff
from outrider.kit.tasks import cancel_and_wait
from outrider.kube.client import Client
from outrider.kube.kind import Kind
from outrider.kube.meta import ObjectKey
from outrider.runtime.following import Follower

log = logging.getLogger(__name__)

SELECTOR = f"{LABEL}=true"


class Observer(Protocol):
    """Hears of objects that carry the label."""

    def seen(self, ref: Ref, mark: int) -> None:
        """The object has this mark; GONE: it is not there, or lost its label."""

    def expected(self, group: str, kind: str) -> Iterable[Ref]:
        """Objects of a kind that should be there."""


class Watches:
    """Keeps one watch for each kind that is in use."""

    def __init__(
        self,
        client: Client,
        observer: Observer,
        *,
        manager: str = MANAGER,
        watch_seconds: float = 300.0,
    ) -> None:
        self._client = client
        self._observer = observer
        self._manager = manager
        self._watch_seconds = watch_seconds
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}

    def follow(self, kind: Kind[Presence]) -> None:
        """Watch a kind from now on."""
        key = (kind.group, kind.kind)
        if key in self._tasks:
            return
        follower = Follower(
            self._client,
            kind,
            _Sink(kind, self._observer, self._manager),
            sleep=asyncio.sleep,
            backoff=Backoff(0.2, 30.0),
            labels=SELECTOR,
            watch_seconds=self._watch_seconds,
        )
        task = asyncio.create_task(follower.run(), name=f"drift of {kind.plural}")
        self._tasks[key] = task
        task.add_done_callback(lambda done: self._ended(key, done))

    async def keep(self, kinds: Iterable[tuple[str, str]]) -> None:
        """Stop watching what is not among these (group, kind)."""
        gone = self._tasks.keys() - set(kinds)
        await cancel_and_wait(*(self._tasks.pop(key) for key in gone))

    async def close(self) -> None:
        """Stop all."""
        await self.keep(())

    def _ended(self, key: tuple[str, str], task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        log.error("the watch of %s ended", key[1], exc_info=task.exception())
        if self._tasks.get(key) is task:
            del self._tasks[key]


class _Sink:
    """Turns what a follower says of one kind into marks."""

    def __init__(self, kind: Kind[Presence], observer: Observer, manager: str) -> None:
        self._kind = kind
        self._observer = observer
        self._manager = manager

    def put(self, key: ObjectKey, obj: Presence) -> None:
        self._observer.seen(self._ref(key), mark(obj, self._manager))

    def remove(self, key: ObjectKey) -> None:
        self._observer.seen(self._ref(key), GONE)

    def retain(self, keys: set[ObjectKey]) -> None:
        for ref in list(self._observer.expected(self._kind.group, self._kind.kind)):
            if ObjectKey(ref.namespace, ref.name) not in keys:
                self._observer.seen(ref, GONE)

    def _ref(self, key: ObjectKey) -> Ref:
        return Ref(self._kind.group, self._kind.kind, key.namespace, key.name)
