"""Background tasks that cannot fail silently or outlive their owner."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any

from outrider.kit.backoff import Backoff
from outrider.kit.clock import Clock, SystemClock

log = logging.getLogger(__name__)


async def cancel_and_wait(*tasks: asyncio.Future[Any]) -> None:
    """Cancel the tasks and return when every one has ended; what they raise is dropped.

    A cancellation of the caller meanwhile is delivered to the caller after the tasks have ended.
    """
    for task in tasks:
        task.cancel()
    interrupted = False
    while pending := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError:
            interrupted = True
    for task in tasks:
        # Reading the exception keeps the loop from reporting it as never retrieved.
        if not task.cancelled():
            task.exception()
    if interrupted:
        raise asyncio.CancelledError


class TaskSupervisor:
    """Owns background tasks for the length of an ``async with`` block.

    A task that fails is logged with its name. Without ``restart`` its failure cancels the block and is
    raised from it; with ``restart`` the task is started again after the backoff's next delay. Leaving the
    block cancels what still runs and waits for it.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "TaskSupervisor":
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        try:
            await self._group.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            if len(group.exceptions) > 1:
                raise
            # `from` keeps the failure's own cause; the group would only add noise.
            raise group.exceptions[0] from group.exceptions[0].__cause__

    def start(
        self, name: str, run: Callable[[], Awaitable[None]], *, restart: Backoff | None = None
    ) -> asyncio.Task[None]:
        """Start ``run()`` as a task called ``name``; a plain return ends it for good."""
        work = self._once(name, run) if restart is None else self._forever(name, run, restart)
        task = self._group.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def wait(self) -> None:
        """Return when every task has ended by itself; a failure cancels the block instead."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _once(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        try:
            await run()
        except Exception:
            log.exception("task %s failed", name)
            raise

    async def _forever(self, name: str, run: Callable[[], Awaitable[None]], restart: Backoff) -> None:
        while True:
            try:
                return await run()
            except Exception:
                delay = restart.next()
                log.exception("task %s failed; starting it again in %.1f s", name, delay)
            await self._clock.sleep(delay)
