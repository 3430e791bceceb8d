"""One answer for many who ask the same at once, as the same user."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Final, TypeVar, cast

from outrider.kit.tasks import cancel_and_wait

T = TypeVar("T")

WIDTH: Final = 16
"""Answers that are waited for at once."""


class Shared:
    """Answers that are kept for `seconds`; whoever asks for one that is on its way waits for that one.

    To find one out must not need another of the same: those that are found out at once are limited.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._slots = asyncio.Semaphore(WIDTH)
        self._tasks: dict[Hashable, asyncio.Task[Any]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    async def get(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        """The answer to what `key` names, which `make` finds out. Raises what that raises."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(self._made(make))
            task.add_done_callback(lambda done: self._done(key, done))
        # who goes away does not end it for those who wait beside them
        return cast(T, await asyncio.shield(task))

    async def close(self) -> None:
        """Ends what is under way."""
        tasks, self._tasks = list(self._tasks.values()), {}
        await cancel_and_wait(*tasks)

    async def _made(self, make: Callable[[], Awaitable[T]]) -> T:
        async with self._slots:
            return await make()

    def _done(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            task.exception()  # those who waited for it were told
        asyncio.get_running_loop().call_later(self._seconds, self._forget, key, task)

    def _forget(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
