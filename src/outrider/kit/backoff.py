"""Exponential backoff with jitter."""

import random
from collections.abc import Callable


class Backoff:
    """Delays between attempts: exponential, bounded, jittered.

    The n-th delay lies between ``(1 - jitter)`` and 1 times ``initial * factor ** n``, never above
    ``maximum``. The default ``jitter=1.0`` is full jitter: a crowd of clients that failed together
    spreads evenly. All times are seconds.
    """

    def __init__(
        self,
        initial: float,
        maximum: float,
        factor: float = 2.0,
        jitter: float = 1.0,
        *,
        rand: Callable[[], float] = random.random,
    ) -> None:
        if not 0 < initial <= maximum:
            raise ValueError(f"backoff needs 0 < initial <= maximum, got {initial} and {maximum}")
        if factor < 1 or not 0 <= jitter <= 1:
            raise ValueError(f"backoff needs factor >= 1 and jitter in 0..1, got {factor} and {jitter}")
        self._initial = initial
        self._maximum = maximum
        self._factor = factor
        self._jitter = jitter
        self._rand = rand
        self._ceiling = initial

    def next(self) -> float:
        """Return the seconds to wait now; the following call's bound is ``factor`` times higher."""
        ceiling = self._ceiling
        self._ceiling = min(ceiling * self._factor, self._maximum)
        return ceiling * (1 - self._jitter * self._rand())

    def earn(self, seconds: float) -> None:
        """Something went well for so long: the next delay's bound is that much lower, ``initial`` at least."""
        self._ceiling = max(self._initial, self._ceiling - seconds)

    def reset(self) -> None:
        """Start again from ``initial``; call it after a success."""
        self._ceiling = self._initial
