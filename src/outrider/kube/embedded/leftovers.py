"""Records children by process id and start time, and ends those that outlived a killed supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path


def start_time(pid: int) -> str:
    """A process's start time in clock ticks since boot (``proc(5)``, stat field 22); "" when it is gone.

    With the process id it names one process for good: ids are used again, start times are not. A zombie
    counts as gone, for it holds no port and no file, unless threads of it are still on their way out.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    # The command name, in parentheses, may itself hold spaces and parentheses.
    fields = text.rpartition(")")[2].split()
    state, threads, started = fields[0], int(fields[17]), fields[19]
    return "" if state in "ZX" and threads <= 1 else started


def record(pid_file: Path, pid: int) -> None:
    """Writes who runs, for the next start and for people."""
    pid_file.write_text(f"{pid} {start_time(pid)}\n")


def survivors(run_folder: Path) -> list[int]:
    """The recorded processes that still run."""
    return [pid for path in run_folder.glob("*.pid") if (pid := _survivor(path))]


async def end(run_folder: Path, timeout: float) -> None:
    """Kills recorded processes that still run and waits until they are gone.

    For the holder of the folder's lock only. Raises ``TimeoutError``.
    """
    deadline = time.monotonic() + timeout
    while pids := survivors(run_folder):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes of an earlier run do not end: {pids}")
        await asyncio.sleep(0.02)
    _forget(run_folder)


def _forget(run_folder: Path) -> None:
    for path in run_folder.glob("*.pid"):
        path.unlink()


def _survivor(path: Path) -> int:
    pid, _, started = path.read_text().strip().partition(" ")
    return int(pid) if pid.isdigit() and started and start_time(int(pid)) == started else 0
