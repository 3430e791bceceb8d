"""Runs a real kubectl."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, Queue
from types import TracebackType
from typing import Any

SECONDS = 60.0


class KubectlFailed(AssertionError):
    """kubectl did not exit with 0; the message is what it said."""


class Kubectl:
    """One kubectl with one kubeconfig; the cache of what a server serves is kept in `home`.

    `within` is a command that runs another one elsewhere by becoming it, as nsenter(1) does.
    """

    def __init__(self, program: Path, config: str | Path, home: Path, within: Sequence[str] = ()) -> None:
        self.within = within
        self.program = program
        self.config = Path(config)
        self.home = home

    def at(self, config: str | Path) -> Kubectl:
        """The same kubectl for another cluster."""
        return Kubectl(self.program, config, self.home, self.within)

    def command(self, *arguments: str) -> list[str]:
        """The whole command line."""
        cache = self.home / "cache"
        program = [*self.within, str(self.program)]
        return [*program, f"--kubeconfig={self.config}", f"--cache-dir={cache}", *arguments]

    def attempt(
        self, *arguments: str, stdin: str = "", seconds: float = SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Runs it to its end, whatever that is."""
        return subprocess.run(
            self.command(*arguments),
            input=stdin,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        """What it prints. Raises KubectlFailed."""
        done = self.attempt(*arguments, stdin=stdin)
        if done.returncode:
            raise KubectlFailed(
                f"kubectl {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done.stdout

    def json(self, *arguments: str, stdin: str = "") -> Any:
        """What it prints with `--output json`, decoded."""
        return json.loads(self(*arguments, "--output=json", stdin=stdin))

    def background(self, *arguments: str) -> Running:
        """Starts it and reads along."""
        return Running(self.command(*arguments), self.environment())

    def environment(self) -> dict[str, str]:
        """What it runs in; this kubectl is the one on the PATH."""
        kept = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG"}}
        path = f"{self.program.parent}:{kept.get('PATH', '')}"
        return kept | {"HOME": str(self.home), "PATH": path}


class Running:
    """A kubectl that goes on for a while; ends with the block."""

    def __init__(self, command: list[str], environ: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._lines: Queue[str] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait(SECONDS)
        self._reader.join(SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def line(self, containing: str, seconds: float = SECONDS) -> str:
        """The next line that contains a text; TimeoutError when none comes."""
        seen = []
        while True:
            try:
                line = self._lines.get(timeout=seconds)
            except Empty:
                raise TimeoutError(f"no line with {containing!r}; there were {seen}") from None
            if containing in line:
                return line
            seen.append(line)

    def ended(self, seconds: float) -> int:
        """Waits for its end; returns the exit code. subprocess.TimeoutExpired when it goes on."""
        return self.process.wait(seconds)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
