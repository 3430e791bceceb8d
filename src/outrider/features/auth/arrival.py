"""Waits until a local copy has seen a write, so that a client reads what it just wrote."""

from collections.abc import Callable
from typing import Any

from outrider.kit.clock import Clock
from outrider.kube.meta import ObjectKey
from outrider.runtime.store import Lister


class Arrival:
    """Looks every `step` seconds, at most `patience`; then goes on, for a late copy is no error."""

    def __init__(self, clock: Clock, *, patience: float = 1.0, step: float = 0.005) -> None:
        self._clock = clock
        self._patience = patience
        self._step = step

    async def of(self, copy: Lister[Any], key: ObjectKey) -> None:
        """Return when the object is there."""
        await self._until(lambda: copy.get(key) is not None)

    async def of_end(self, copy: Lister[Any], key: ObjectKey) -> None:
        """Return when the object is gone."""
        await self._until(lambda: copy.get(key) is None)

    async def _until(self, seen: Callable[[], bool]) -> None:
        deadline = self._clock.monotonic() + self._patience
        while not seen() and self._clock.monotonic() < deadline:
            await self._clock.sleep(self._step)
