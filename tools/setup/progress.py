"""Lines on the terminal: what is being done, what it costs, how long it has taken."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

HEARTBEAT_SECONDS = 30.0


class SetupError(Exception):
    """Set-up cannot go on; the message says what, why and what to do."""


class Progress:
    """Writes progress lines; ``write`` takes one line without its end."""

    def __init__(self, write: Callable[[str], None], *, heartbeat: float = HEARTBEAT_SECONDS) -> None:
        self._write = write
        self._heartbeat = heartbeat

    def say(self, line: str) -> None:
        """Write one line."""
        self._write(line)

    @contextmanager
    def step(self, title: str, cost: str) -> Iterator[None]:
        """Announce a long step and its ``cost``; tell the time while it runs and when it is done."""
        self._write(f"→ {title} ({cost})")
        started = time.monotonic()
        finished = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(started, finished), daemon=True)
        ticker.start()
        try:
            yield
        finally:
            finished.set()
            ticker.join()
        self._write(f"  done in {duration(time.monotonic() - started)}")

    def _tick(self, started: float, finished: threading.Event) -> None:
        while not finished.wait(self._heartbeat):
            self._write(f"  … {duration(time.monotonic() - started)}")


def duration(seconds: float) -> str:
    """``0.4 s``, ``42 s``, ``6 min 14 s``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
