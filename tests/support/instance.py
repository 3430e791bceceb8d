"""Runs `outrider` as its users do: a real process, started through the command line and stopped by a signal."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

OUTRIDER = Path(sys.executable).with_name("outrider")

_READY = 90.0
_STOPPED = 40.0


class DidNotStart(Exception):
    """The command ended, or was not ready in time. Its output is the message."""


class Command:
    """One run of `outrider` in the foreground; its output is collected in a file.

    `within` is a command that runs another one elsewhere by becoming it, as nsenter(1) does.
    """

    def __init__(
        self, arguments: list[str], *, output: Path, environ: Mapping[str, str], within: Sequence[str] = ()
    ) -> None:
        self._output = output
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                [*within, str(OUTRIDER), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=dict(environ),
                start_new_session=True,  # a Ctrl-C for pytest is not one for this process
            )

    @property
    def output(self) -> str:
        """What it has said so far, on both of its streams."""
        return self._output.read_text(errors="replace")

    def wait_for_file(self, path: Path, seconds: float = _READY) -> None:
        """Waits for a file that it writes; raises DidNotStart."""
        deadline = time.monotonic() + seconds
        while not path.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop(signal.SIGKILL)
                raise DidNotStart(self.output)
            time.sleep(0.02)

    def wait(self, seconds: float = _STOPPED) -> int:
        """Waits for the end; returns the exit code."""
        return self.process.wait(seconds)

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Stops it by a signal and returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()


class Instance:
    """`outrider up` on a data folder of its own; may be started again after it was stopped."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        environ: Mapping[str, str] | None = None,
        within: Sequence[str] = (),
    ) -> None:
        self._within = within
        self.data = folder / "d"
        self._folder = folder
        self._options = options
        self._environ = environment() | dict(environ or {})
        self._command: Command | None = None
        self._runs = 0
        self.ready: dict[str, Any] = {}

    @property
    def ready_file(self) -> Path:
        """Where the ready file is."""
        return self._folder / "ready.json"

    @property
    def command(self) -> Command:
        """The current run."""
        assert self._command is not None
        return self._command

    @property
    def started(self) -> bool:
        """Whether there has been a run."""
        return self._command is not None

    def launch(self) -> Command:
        """Starts it and waits for nothing."""
        self._runs += 1
        arguments = ["up", "--data", str(self.data), "--ready-file", str(self.ready_file), *self._options]
        if "--listen" not in self._options:
            arguments += ["--listen", "127.0.0.1:0"]
        self._command = Command(
            arguments,
            output=self._folder / f"up-{self._runs}.log",
            environ=self._environ,
            within=self._within,
        )
        return self._command

    def start(self) -> dict[str, Any]:
        """Starts it and returns the content of the ready file. Raises DidNotStart."""
        self.ready_file.unlink(missing_ok=True)
        self.launch().wait_for_file(self.ready_file)
        self.ready = json.loads(self.ready_file.read_bytes())
        return self.ready

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Stops it as Ctrl-C does; returns the exit code."""
        return self.command.stop(number)

    def pid(self, role: str) -> int:
        """The process that has this role now, 0 for none: a restarted one is another than the ready file says."""
        try:
            return int((self.data / _pid_file(role)).read_text().split()[0])
        except (FileNotFoundError, IndexError):
            return 0


def _pid_file(role: str) -> Path:
    if role in {"control", "gateway", "audit"}:
        return Path("server", f"{role}.pid")
    found = re.fullmatch(r"(management|demo-\d+)-(.+)", role)
    if found is None:
        raise ValueError(f"no process has the role {role}")
    owner, part = found.groups()
    home = Path(owner) if owner == "management" else Path("clusters", owner)
    if part == "agent":
        return home / "agent.pid"
    return (home if owner == "management" else home / "kube") / "run" / f"{part}.pid"


def environment() -> dict[str, str]:
    """This process' environment without the settings of whoever runs the tests."""
    foreign = ("OUTRIDER_", "CATTLE_", "AUDIT_", "KUBECONFIG")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {
        name: os.environ[name] for name in ("OUTRIDER_KUBE", "OUTRIDER_CACHE") if name in os.environ
    }


def run(*arguments: str, environ: Mapping[str, str] | None = None, seconds: float = 60.0) -> Any:
    """Runs `outrider` to its end; returns subprocess' CompletedProcess with text streams."""
    return subprocess.run(
        [OUTRIDER, *arguments],
        env=environment() | dict(environ or {}),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
