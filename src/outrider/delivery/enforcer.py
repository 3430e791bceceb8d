"""Applies and removes single objects, many at a time, each again after a failure or when it drifted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from outrider.delivery.drift import Watches
from outrider.delivery.entries import LAST_RANK, Ref
from outrider.delivery.hand import Hand, words
from outrider.delivery.holding import Holding
from outrider.delivery.index import Want
from outrider.delivery.parts import PartError
from outrider.delivery.presence import GONE
from outrider.delivery.tracking import Track
from outrider.kit.tasks import cancel_and_wait
from outrider.kube.client import Client
from outrider.kube.errors import KubeError
from outrider.runtime.queue import QueueClosed, WorkQueue

log = logging.getLogger(__name__)


class Enforcer:
    """Does what `holding` wants. `news` is called when the outcome changed, `late` when a removal succeeded that
    nobody waits for any more; `uid_of` tells namespaces apart.

    One object is never in two hands, so that a removal cannot be overtaken by an application of before.
    """

    def __init__(
        self,
        client: Client,
        holding: Holding,
        *,
        manager: str,
        news: Callable[[], None],
        late: Callable[[], None],
        uid_of: Callable[[str], str],
        workers: int,
        watch_seconds: float,
    ) -> None:
        self._holding = holding
        self._news = news
        self._late = late
        self._uid_of = uid_of
        self._workers = workers
        self._hand = Hand(client, manager=manager)
        self._watches = Watches(client, self, manager=manager, watch_seconds=watch_seconds)
        self._queue: WorkQueue[Ref] = WorkQueue()
        self._progress = asyncio.Event()
        self.tracks: dict[Ref, Track] = {}
        self.leaving: dict[Ref, str] = {}
        self.left: set[Ref] = set()
        self.pruned = 0

    async def run(self) -> None:
        """Works until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self._workers):
                    group.create_task(self._work(), name=f"apply {number}")
        finally:
            await self._watches.close()
            await self._queue.close()

    async def changed(self) -> None:
        """Something else is wanted: forget what is not, and watch no other kinds."""
        holding = self._holding
        self.tracks = {ref: track for ref, track in self.tracks.items() if holding.want(ref) is not None}
        self.leaving = {ref: why for ref, why in self.leaving.items() if holding.want(ref) is None}
        self.left = {ref for ref in self.left if holding.want(ref) is None}
        await self._watches.keep({(ref.group, ref.kind) for ref, _ in holding.wanted()})

    async def apply(self, rank: int, until: asyncio.Event) -> bool:
        """Have each wanted object of a rank tried; False when `until` came first."""
        refs = [ref for ref, _ in self._holding.wanted() if ref.rank == rank and self._untried(ref)]
        return await self._wait(refs, self._untried, until)

    async def remove(self, refs: Iterable[Ref], until: asyncio.Event) -> bool:
        """Have each of these removed, or tried once; False when `until` came first."""
        return await self._wait([ref for ref in refs if self._there(ref)], self._there, until)

    def again(self) -> None:
        """Apply everything once more."""
        for ref, track in self.tracks.items():
            track.applied = b""
            self._queue.add(ref)

    # what watches tell

    def seen(self, ref: Ref, mark: int) -> None:
        """An object with our label has this mark."""
        track = self.tracks.get(ref)
        if track is None:
            return
        track.seen = mark
        if track.applied and mark != track.mark:
            self._queue.add(ref)

    def expected(self, group: str, kind: str) -> Iterable[Ref]:
        """Objects of a kind that should be there."""
        return [
            ref
            for ref, track in self.tracks.items()
            if track.applied and (ref.group, ref.kind) == (group, kind)
        ]

    # one after the other

    def _untried(self, ref: Ref) -> bool:
        want, track = self._holding.want(ref), self.tracks.get(ref)
        return want is not None and (track is None or not track.was_tried(want))

    def _there(self, ref: Ref) -> bool:
        return ref not in self.left and ref not in self.leaving and self._holding.want(ref) is None

    async def _wait(self, refs: list[Ref], open_: Callable[[Ref], bool], until: asyncio.Event) -> bool:
        for ref in refs:
            self._queue.add(ref)
        waiting = refs
        while waiting and not until.is_set():
            self._progress.clear()
            await _first(self._progress.wait(), until.wait())
            # From the front: workers take them in this order, so that this is not a look at all each time
            while waiting and not open_(waiting[0]):
                waiting = waiting[1:] if len(waiting) < 64 else [ref for ref in waiting if open_(ref)]
        return not until.is_set()

    async def _work(self) -> None:
        while True:
            try:
                ref = await self._queue.get()
            except QueueClosed:
                return
            try:
                await self._settle(ref)
            finally:
                self._queue.done(ref)
                self._progress.set()

    async def _settle(self, ref: Ref) -> None:
        want = self._holding.want(ref)
        if want is not None:
            await self._apply(ref, want)
        elif ref in self._holding.inventory.extra and ref not in self.left:
            await self._remove(ref)

    async def _apply(self, ref: Ref, want: Want) -> None:
        track = self.tracks.setdefault(ref, Track())
        if track.is_current(want):
            return
        was_gone = not track.applied or track.seen == GONE
        track.begin()
        try:
            mark = await self._write(ref, want)
        except (KubeError, ValueError, PartError) as error:
            self._failed(ref, want, track, words(ref, error))
            return
        except Exception as error:  # one object must not end all others
            log.exception("%s %s cannot be applied", ref.kind, ref.name)
            self._failed(ref, want, track, words(ref, error))
            return
        if track.failure or track.tried != want.digest:
            self._news()
        if track.succeed(want, mark):
            self._queue.add(ref)
        self._queue.forget(ref)
        if was_gone and ref.rank < LAST_RANK:
            self._try_dependents(ref)

    async def _write(self, ref: Ref, want: Want) -> int:
        if want.problem:
            raise ValueError(want.problem)
        entry = self._holding.entry(ref, want)
        uid = self._uid_of(ref.name) if want.template and ref.rank == 0 else ""
        mark = await self._hand.apply(entry, uid=uid)
        self._watches.follow(await self._hand.discovery.kind(want.api_version, ref.kind))
        return mark

    def _failed(self, ref: Ref, want: Want, track: Track, message: str) -> None:
        if track.failure != message or not track.was_tried(want):
            self._news()
        track.fail(want, message)
        self._queue.retry(ref)

    def _try_dependents(self, ref: Ref) -> None:
        """A namespace or definition is there: what failed for the lack of it need not wait longer."""
        for other, track in self.tracks.items():
            if track.failure and (other.namespace == ref.name or (ref.rank == 1 and other.group)):
                self._queue.forget(other)
                self._queue.add(other)

    async def _remove(self, ref: Ref) -> None:
        try:
            await self._hand.remove(ref, self._holding.inventory.extra[ref])
        except (KubeError, ValueError) as error:
            message = words(ref, error)
            if self.leaving.get(ref) != message:
                self._news()
            self.leaving[ref] = message
            self._queue.retry(ref)
            return
        self.left.add(ref)
        if self.leaving.pop(ref, None) is not None:
            self._late()
        self.pruned += 1
        self._queue.forget(ref)
        self._news()


async def _first(*waits: Coroutine[Any, Any, object]) -> None:
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel_and_wait(*tasks)
