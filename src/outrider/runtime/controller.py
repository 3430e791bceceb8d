"""Runs a reconciler for every key that its sources name."""

import asyncio
import logging
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from outrider.kit.clock import Clock, SystemClock
from outrider.kube.errors import Conflict, KubeError
from outrider.runtime.informer import Event, Informer
from outrider.runtime.queue import QueueClosed, WorkQueue

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
K_contra = TypeVar("K_contra", bound=Hashable, contravariant=True)

log = logging.getLogger(__name__)


class TerminalError(Exception):
    """The object's author must change it; trying again would not help.

    The reconciler reports it in a condition before or instead of raising it.
    """


class Result(NamedTuple):
    """What a reconciler wants next: nothing, or to be called again after so many seconds."""

    requeue_after: float | None = None


DONE = Result()


def requeue(after: float) -> Result:
    """Be called again after ``after`` seconds."""
    return Result(after)


class Reconciler(Protocol[K_contra]):
    """Brings what one key stands for to its desired state; idempotent."""

    async def reconcile(self, key: K_contra) -> Result:
        """Do it. TerminalError ends it until the object changes; any other exception is retried."""
        ...


class Source(Generic[T, K]):
    """Says which keys a change of an object concerns; by default the object's own key.

    Both the old and the new state are asked, so that a key which an object no longer concerns is told too.
    """

    def __init__(self, informer: Informer[T], map: Callable[[T], Iterable[K]] | None = None) -> None:  # noqa: A002
        self.informer = informer
        self._map: Callable[[T], Iterable[Any]] = map or (lambda obj: (informer.kind.key(obj),))

    def keys(self, event: Event[T]) -> set[K]:
        """Return the keys that ``event`` concerns."""
        return {key for obj in (event.old, event.new) if obj is not None for key in self._map(obj)}


class Controller(Generic[K]):
    """Feeds a work queue from informers and lets ``workers`` tasks reconcile its keys.

    Different keys are worked on in parallel, one key never. A reconciliation that takes longer than
    ``timeout`` seconds is cancelled and retried.
    """

    def __init__(
        self,
        name: str,
        reconciler: Reconciler[K],
        *,
        workers: int = 1,
        sources: Sequence[Source[Any, K]] = (),
        timeout: float = 300.0,
        new_queue: Callable[[], WorkQueue[K]] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self._reconciler = reconciler
        self._workers = workers
        self._sources = sources
        self._timeout = timeout
        clock = clock or SystemClock()
        self._new_queue: Callable[[], WorkQueue[K]] = new_queue or (lambda: WorkQueue(clock=clock))
        self._queue: WorkQueue[K] | None = None

    @property
    def informers(self) -> list[Informer[Any]]:
        """The informers that must be synced before it runs."""
        return [source.informer for source in self._sources]

    @property
    def idle(self) -> bool:
        """Whether it runs and has nothing to do, now or later."""
        return self._queue is not None and self._queue.idle

    def enqueue(self, key: K) -> None:
        """Have ``key`` reconciled; does nothing while the controller does not run."""
        if self._queue is not None:
            self._queue.add(key)

    async def run(self) -> None:
        """Work until cancelled; it may be run again later."""
        queue = self._queue = self._new_queue()
        for informer in self.informers:
            await informer.wait_synced()
        stops = [_follow(source, queue) for source in self._sources]
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self._workers):
                    group.create_task(self._work(queue), name=f"{self.name} {number}")
        finally:
            for stop in stops:
                stop()
            self._queue = None
            await queue.close()

    async def _work(self, queue: WorkQueue[K]) -> None:
        while True:
            try:
                key = await queue.get()
            except QueueClosed:
                return
            try:
                await self._reconcile(queue, key)
            finally:
                queue.done(key)

    async def _reconcile(self, queue: WorkQueue[K], key: K) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                result = await self._reconciler.reconcile(key)
        except TerminalError as error:
            log.warning("%s: %s cannot be reconciled until it changes: %s", self.name, key, error)
            queue.forget(key)
        except Conflict as error:
            # Somebody else was faster; that is the optimistic lock at work, not a failure.
            log.debug("%s: %s: %s; again in %.2f s", self.name, key, error, queue.retry(key))
        except KubeError as error:
            log.warning("%s: %s: %s; again in %.2f s", self.name, key, error, queue.retry(key))
        except TimeoutError:
            log.warning(
                "%s: %s took longer than %g s; again in %.2f s",
                self.name,
                key,
                self._timeout,
                queue.retry(key),
            )
        except Exception:
            log.exception("%s: %s failed; again in %.2f s", self.name, key, queue.retry(key))
        else:
            queue.forget(key)
            if result.requeue_after is not None:
                queue.add_after(key, result.requeue_after)


def _follow(source: Source[Any, K], queue: WorkQueue[K]) -> Callable[[], None]:
    def handle(event: Event[Any]) -> None:
        for key in source.keys(event):
            queue.add(key)

    return source.informer.subscribe(handle)
