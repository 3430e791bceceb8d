"""Which replicas of the server there are, which of them have a tunnel, and when to dial for another one.

A dial leads to whichever replica a load balancer picks. So the agent dials again until it has met each, a
bounded number of times and spread in time; after that only now and then, since behind a balancer that always
picks the same replica it would never end (architecture, decision 3: correctness does not depend on it).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from outrider.tunnel.reports import Hello

MAX_REPLICAS: Final = 32
"""Replicas that are sought at most, whatever a server says."""

MAX_SPREAD: Final = 60.0

_EXTRA_TRIES: Final = 6
_TRIES_EACH: Final = 4
_SLOWEST: Final = 20.0


class Replicas:
    """State of the search. Tunnels are only told apart here. `again` is the pause of a search that was given up."""

    def __init__(self, *, again: float = 300.0, rand: Callable[[], float] = random.random) -> None:
        self._again = again
        self._rand = rand
        self._live: frozenset[str] = frozenset()
        self._met: dict[object, str] = {}
        self._spread = Hello(replica="").spread
        self._tries = 0

    @property
    def met(self) -> list[str]:
        """Ids of the replicas with a tunnel, sorted."""
        return sorted(set(self._met.values()))

    @property
    def missing(self) -> frozenset[str]:
        """Ids of the live replicas without one."""
        return self._live - set(self._met.values())

    def greeted(self, tunnel: object, hello: Hello) -> bool:
        """Takes what a tunnel's server says of itself and the others.

        Returns False when another tunnel leads to that replica already: this one is needless.
        """
        twin = any(other != tunnel and met == hello.replica for other, met in self._met.items())
        before = self.missing
        self._live = frozenset(sorted(hello.replicas)[:MAX_REPLICAS])
        self._spread = min(max(hello.spread, 0.05), MAX_SPREAD)
        if not twin:
            self._met[tunnel] = hello.replica
        if self.missing - before:
            self._tries = 0
        return not twin

    def gone(self, tunnel: object) -> None:
        """A tunnel ended: its replica is sought anew."""
        if self._met.pop(tunnel, None) is not None:
            self._tries = 0

    def next_dial(self) -> float | None:
        """Seconds until the next dial for a missing replica, which counts as tried; None when all are met."""
        if not self.missing:
            return None
        tries, self._tries = self._tries, self._tries + 1
        if tries >= _EXTRA_TRIES + _TRIES_EACH * len(self._live):
            return self._again * (0.5 + self._rand())
        ceiling: float = max(self._spread, min(self._spread * 2**tries, _SLOWEST))
        return ceiling * self._rand()
