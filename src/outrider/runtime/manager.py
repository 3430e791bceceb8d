"""Runs informers, controllers and tasks together, in the right order."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, NamedTuple, TypeVar

from outrider.kit.backoff import Backoff
from outrider.kit.clock import Clock, SystemClock
from outrider.kit.tasks import TaskSupervisor
from outrider.runtime.controller import Controller
from outrider.runtime.informer import Informer
from outrider.runtime.leader import LeaderElector

K = TypeVar("K", bound=Hashable)
I = TypeVar("I", bound=Informer[Any])  # noqa: E741

log = logging.getLogger(__name__)


class _Task(NamedTuple):
    name: str
    run: Callable[[], Awaitable[None]]


class Manager:
    """Starts informers, waits until they are synced, then runs controllers and tasks.

    With an elector, controllers and tasks marked ``leader_only`` run while this process leads; without one
    they always run. Whatever fails is logged and started again with backoff. Everything must be added before
    ``run``.
    """

    def __init__(self, *, elector: LeaderElector | None = None, clock: Clock | None = None) -> None:
        self._elector = elector
        self._clock = clock or SystemClock()
        self._informers: dict[int, Informer[Any]] = {}
        self._tasks: list[_Task] = []
        self._leader_tasks: list[_Task] = []
        self._synced = asyncio.Event()

    def add_informer(self, informer: I) -> I:
        """Run ``informer`` on every replica; adding it twice is the same as once."""
        self._informers[id(informer)] = informer
        return informer

    def add_controller(self, controller: Controller[K]) -> None:
        """Run ``controller``, and the informers of its sources, on the leader."""
        for informer in controller.informers:
            self.add_informer(informer)
        self._leader_tasks.append(_Task(controller.name, controller.run))

    def add_task(self, name: str, run: Callable[[], Awaitable[None]], *, leader_only: bool = False) -> None:
        """Run ``run()`` once all informers are synced."""
        (self._leader_tasks if leader_only else self._tasks).append(_Task(name, run))

    @property
    def synced(self) -> bool:
        """Whether all informers are synced."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Return when all informers are synced."""
        await self._synced.wait()

    async def run(self) -> None:
        """Run everything until cancelled; returns early when there is no informer and all tasks ended."""
        async with TaskSupervisor(clock=self._clock) as tasks:
            for informer in self._informers.values():
                tasks.start(f"informer {informer.kind.plural}", informer.run, restart=_restarts())
            for informer in self._informers.values():
                await informer.wait_synced()
            self._synced.set()
            log.info("%d informers are synced", len(self._informers))
            for task in self._tasks:
                tasks.start(task.name, task.run, restart=_restarts())
            if self._leader_tasks:
                tasks.start("leader", self._lead_when_elected, restart=_restarts())
            await tasks.wait()

    async def _lead_when_elected(self) -> None:
        if self._elector is None:
            await self._lead()
        else:
            await self._elector.run(self._lead)

    async def _lead(self) -> None:
        async with TaskSupervisor(clock=self._clock) as tasks:
            for task in self._leader_tasks:
                tasks.start(task.name, task.run, restart=_restarts())
            await tasks.wait()


def _restarts() -> Backoff:
    return Backoff(1.0, 30.0, jitter=0.5)
