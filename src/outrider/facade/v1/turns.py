"""Long work in short turns: others on the event loop get theirs in between."""

from __future__ import annotations

import asyncio
import time
from typing import Final

BUDGET: Final = 0.004
"""Seconds that one turn takes, at most about."""


class Turn:
    """The time since others had theirs. `if turn.over: await turn.next()` inside of a long loop."""

    def __init__(self, budget: float = BUDGET) -> None:
        self._budget = budget
        self._since = time.perf_counter()

    @property
    def over(self) -> bool:
        """Whether it is time to let others go on."""
        return time.perf_counter() - self._since > self._budget

    async def next(self) -> None:
        """Lets others go on."""
        await asyncio.sleep(0)
        self._since = time.perf_counter()
