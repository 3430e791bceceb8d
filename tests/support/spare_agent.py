"""A second agent process in a cluster, as another replica of the Deployment would be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path


class SpareAgent:
    """A copy of a running agent under another name."""

    def __init__(self, model: int, name: str, log: Path) -> None:
        inherited = Path(f"/proc/{model}/environ").read_text().split("\0")
        environ = dict(line.split("=", 1) for line in inherited if "=" in line)
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "outrider.cli", "agent"],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**environ, "OUTRIDER_AGENT_NAME": name},
            )

    def kill(self) -> None:
        """SIGKILL; nobody starts it again."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)


def pause(pid: int) -> None:
    """SIGSTOP."""
    os.kill(pid, signal.SIGSTOP)


def resume(pid: int) -> None:
    """SIGCONT."""
    os.kill(pid, signal.SIGCONT)
