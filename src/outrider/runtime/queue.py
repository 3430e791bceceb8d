"""A queue of keys to be worked on, for level-triggered controllers."""

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from outrider.kit.backoff import Backoff
from outrider.kit.clock import Clock, SystemClock
from outrider.kit.tasks import cancel_and_wait

K = TypeVar("K", bound=Hashable)


class QueueClosed(Exception):
    """The queue was closed; workers end."""


class WorkQueue(Generic[K]):
    """First in, first out; each key at most once in the queue, and never in the hands of two workers.

    A key that is added while a worker has it comes back when that worker calls ``done``. Retries wait
    exponentially longer per key, from ``initial`` to ``maximum`` seconds, jittered, until ``forget``.
    """

    def __init__(
        self,
        *,
        initial: float = 0.05,
        maximum: float = 120.0,
        jitter: float = 0.5,
        clock: Clock | None = None,
        rand: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock or SystemClock()
        self._initial = initial
        self._maximum = maximum
        self._jitter = jitter
        self._rand = rand
        self._ready: deque[K] = deque()
        self._dirty: set[K] = set()
        self._working: set[K] = set()
        self._backoffs: dict[K, Backoff] = {}
        self._due: dict[K, float] = {}
        self._timers: list[tuple[float, int, K]] = []
        self._order = 0
        self._pump: asyncio.Task[None] | None = None
        self._wakers: deque[asyncio.Future[None]] = deque()
        self._closed = False

    def __len__(self) -> int:
        """How many keys wait for a worker now; those of add_after are not counted."""
        return len(self._ready)

    @property
    def idle(self) -> bool:
        """Whether no key waits, now or later, and none is worked on."""
        return not (self._dirty or self._working or self._due)

    def add(self, key: K) -> None:
        """Make ``key`` be worked on, once, however often it is added before."""
        if self._closed or key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._working:
            self._enqueue(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Add ``key`` when ``seconds`` have passed; of several such wishes the earliest holds."""
        if seconds <= 0:
            self.add(key)
            return
        due = self._clock.monotonic() + seconds
        if self._closed or self._due.get(key, due + 1) <= due:
            return
        self._due[key] = due
        self._order += 1
        heapq.heappush(self._timers, (due, self._order, key))
        if self._timers[0][2] == key:
            self._restart_pump()

    def retry(self, key: K) -> float:
        """Add ``key`` after its backoff; return the seconds until then."""
        backoff = self._backoffs.get(key)
        if backoff is None:
            backoff = Backoff(self._initial, self._maximum, jitter=self._jitter, rand=self._rand)
            self._backoffs[key] = backoff
        delay = backoff.next()
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """Let the next retry of ``key`` start from the shortest wait again."""
        self._backoffs.pop(key, None)

    async def get(self) -> K:
        """Wait for a key and take it; give it back with ``done``. Raises QueueClosed."""
        while not self._ready:
            if self._closed:
                raise QueueClosed
            waker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._wakers.append(waker)
            try:
                await waker
            except asyncio.CancelledError:
                # The wake-up was meant for a worker: pass it on.
                if waker.done() and not waker.cancelled():
                    self._wake()
                raise
        if self._closed:
            raise QueueClosed
        key = self._ready.popleft()
        self._dirty.discard(key)
        self._working.add(key)
        return key

    def done(self, key: K) -> None:
        """End the work on ``key``; if it was added meanwhile it is queued again."""
        self._working.discard(key)
        if key in self._dirty and not self._closed:
            self._enqueue(key)

    async def close(self) -> None:
        """Refuse further keys and make every ``get`` raise QueueClosed."""
        self._closed = True
        self._ready.clear()
        self._dirty.clear()
        self._due.clear()
        self._timers.clear()
        while self._wakers:
            self._wake()
        if self._pump is not None:
            await cancel_and_wait(self._pump)

    def _enqueue(self, key: K) -> None:
        self._ready.append(key)
        self._wake()

    def _wake(self) -> None:
        while self._wakers:
            waker = self._wakers.popleft()
            if not waker.done():
                waker.set_result(None)
                return

    def _restart_pump(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
        self._pump = asyncio.get_running_loop().create_task(self._run_timers(), name="work queue timers")

    async def _run_timers(self) -> None:
        while self._timers:
            due, _, key = self._timers[0]
            wait = due - self._clock.monotonic()
            if wait > 0:
                await self._clock.sleep(wait)
                continue
            heapq.heappop(self._timers)
            # An entry that an earlier wish has replaced is skipped.
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)
        self._pump = None
