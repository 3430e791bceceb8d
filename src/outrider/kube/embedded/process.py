"""One supervised child process: started, probed, restarted with backoff, stopped within a bound."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from outrider.kit.backoff import Backoff
from outrider.kit.tasks import cancel_and_wait
from outrider.kube.embedded import leftovers, logfile
from outrider.kube.embedded.commands import Command
from outrider.kube.embedded.spawn import Child

_log = logging.getLogger(__name__)


class ProcessFailedError(RuntimeError):
    """A child ended, or stayed unready for too long, while it was being started."""


class Probe(Protocol):
    """How to ask a process for its health; no answer within ``timeout`` seconds is a no."""

    async def listening(self, timeout: float) -> bool:
        """Whether it accepts connections, ready or not."""
        ...

    async def ready(self, timeout: float) -> bool:
        """Whether it serves requests now."""
        ...

    async def live(self, timeout: float) -> bool:
        """Whether it may be left running."""
        ...


@dataclass(frozen=True, slots=True)
class Policy:
    """Times of supervision, in seconds."""

    ready_poll: float = 0.05
    live_interval: float = 5.0
    live_timeout: float = 5.0
    # A busy server must not be killed for being slow: only one that stays silent for half a minute.
    live_failures: int = 6
    # A server that is still starting cannot answer: before its first answer, silence counts from here on.
    starting_grace: float = 90.0
    restart_delay: float = 0.1
    restart_delay_max: float = 10.0
    # After this long a run counts as good, and the next restart comes after the first delay again.
    settled_after: float = 30.0
    stop_grace: float = 10.0


class SupervisedProcess:
    """Keeps one command running from ``start`` to ``stop``."""

    def __init__(
        self, command: Command, *, log: Path, pid_file: Path, probe: Probe | None, policy: Policy
    ) -> None:
        self.role = command.role
        self._command = command
        self._log_path = log
        self._pid_file = pid_file
        self._probe = probe
        self._policy = policy
        self._child: Child | None = None
        self._task: asyncio.Task[None] | None = None
        self._ends = 0
        self._last_code: int | None = None

    @property
    def restarts(self) -> int:
        """How often the child has ended since ``start``."""
        return self._ends

    @property
    def pid(self) -> int | None:
        """The running child's process id; ``None`` between two runs."""
        return self._child.pid if self._child else None

    def start(self) -> None:
        """Starts the child and its supervision."""
        self._spawn()
        self._task = asyncio.create_task(self._supervise(), name=f"supervise {self.role}")

    async def wait_listening(self, timeout: float) -> None:
        """Returns once the child accepts connections; raises as ``wait_ready`` does."""
        if self._probe:
            await self._wait(self._probe.listening, "did not listen", timeout)

    async def wait_ready(self, timeout: float) -> None:
        """Returns once the child answers that it is ready.

        Raises ``ProcessFailedError`` when it ends first, or after ``timeout`` seconds.
        """
        if self._probe:
            await self._wait(self._probe.ready, "was not ready", timeout)

    async def _wait(self, ask: Callable[[float], Awaitable[bool]], complaint: str, timeout: float) -> None:
        ends = self._ends
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self._ends == ends:
                    if await ask(self._policy.live_timeout):
                        return
                    await asyncio.sleep(self._policy.ready_poll)
        if self._ends != ends:
            raise ProcessFailedError(self._failure(f"ended with code {self._last_code} while starting"))
        raise ProcessFailedError(self._failure(f"{complaint} within {timeout:g} seconds"))

    async def stop(self) -> None:
        """Ends supervision, then the child: SIGTERM, and SIGKILL after the grace."""
        if self._task:
            await cancel_and_wait(self._task)
            self._task = None
        if self._child:
            child, self._child = self._child, None
            try:
                await child.stop(self._policy.stop_grace)
            finally:
                child.close()
        self._pid_file.unlink(missing_ok=True)

    def _spawn(self) -> None:
        logfile.bound(self._log_path)
        self._child = Child(self._command, self._log_path)
        leftovers.record(self._pid_file, self._child.pid)

    async def _supervise(self) -> None:
        backoff = Backoff(self._policy.restart_delay, self._policy.restart_delay_max, jitter=0.5)
        while True:
            started = time.monotonic()
            if self._child:
                self._last_code = await self._watch(self._child)
                self._child.close()
                self._child = None
                self._ends += 1
            if time.monotonic() - started > self._policy.settled_after:
                backoff.reset()
            delay = backoff.next()
            _log.warning("%s ended with code %s; restart in %.1f s", self.role, self._last_code, delay)
            await asyncio.sleep(delay)
            try:
                self._spawn()
            except OSError:
                # Out of memory, disk or processes for a moment: supervision must outlive that.
                _log.exception("%s could not be started; trying again", self.role)

    async def _watch(self, child: Child) -> int:
        """Waits for the child's end, brings it about when the child stays silent; returns the exit code."""
        started, silent, answered = time.monotonic(), 0, False
        while True:
            code = await child.wait(self._policy.live_interval)
            if code is not None:
                return code
            logfile.bound(self._log_path)
            if await self._alive():
                silent, answered = 0, True
            elif answered or time.monotonic() - started > self._policy.starting_grace:
                silent += 1
            if silent >= self._policy.live_failures:
                _log.error("%s has not answered %d probes in a row; restarting it", self.role, silent)
                return await child.stop(self._policy.stop_grace)

    async def _alive(self) -> bool:
        return self._probe is None or await self._probe.live(self._policy.live_timeout)

    def _failure(self, what: str) -> str:
        quoted = logfile.tail(self._log_path)
        return f"{self.role} {what}; its log is {self._log_path} and ends with:\n{quoted}"
