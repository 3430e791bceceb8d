"""Starts one child process that cannot outlive its parent, and waits for it without a thread."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from outrider.kube.embedded.commands import Command

_PR_SET_PDEATHSIG = 1

# Seconds that a killed process may need to be gone: more only when the kernel itself is stuck.
_KILL_BOUND = 5.0
_prctl = ctypes.CDLL(None, use_errno=True).prctl


class Child:
    """A running child process in a process group of its own.

    The kernel kills it when the *thread* that started it ends (``prctl(2)``, ``PR_SET_PDEATHSIG``), so
    that thread must live as long as the child should: in a program with one event loop it does.
    """

    def __init__(self, command: Command, log: Path) -> None:
        self._process = _popen(command, log)
        self._pidfd = -1
        try:
            self._pidfd = os.pidfd_open(self._process.pid)
        except OSError:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The process id, which is the process group's too."""
        return self._process.pid

    async def wait(self, timeout: float) -> int | None:
        """The exit code (minus the signal's number when killed), or ``None`` after ``timeout`` seconds."""
        if self._process.poll() is None:
            loop = asyncio.get_running_loop()
            ended = asyncio.Event()
            # A pidfd becomes readable when its process ends.
            loop.add_reader(self._pidfd, ended.set)
            try:
                async with asyncio.timeout(timeout):
                    await ended.wait()
            except TimeoutError:
                return None
            finally:
                loop.remove_reader(self._pidfd)
        return self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Signals the whole group; without effect once the child has been waited for."""
        if self._process.returncode is None:
            os.killpg(self._process.pid, number)

    async def stop(self, grace: float) -> int:
        """SIGTERM, then SIGKILL after ``grace`` seconds; returns the exit code."""
        self.signal(signal.SIGTERM)
        code = await self.wait(grace)
        if code is None:
            self.signal(signal.SIGKILL)
            code = await self.wait(_KILL_BOUND)
        return -signal.SIGKILL if code is None else code

    def close(self) -> None:
        """Kills what still runs and lets go of the kernel's handle; safe to call twice."""
        self.signal(signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_KILL_BOUND)
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


def _popen(command: Command, log: Path) -> subprocess.Popen[bytes]:
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(  # noqa: S603 - our own binary, no shell
            command.argv,
            env=dict(command.environment),
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            process_group=0,
            umask=0o077,
            # Safe beside other threads: it takes no lock, ctypes is loaded and bound already.
            preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509
        )
    finally:
        os.close(descriptor)


def _die_with(parent: int) -> Callable[[], None]:
    def prepare() -> None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # The parent may have died before the line above took effect.
        if os.getppid() != parent:
            os._exit(1)

    return prepare
