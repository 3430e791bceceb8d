"""Lets one set-up work at a time in a folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.setup.progress import Progress


@contextmanager
def only_one(folder: Path, progress: Progress) -> Iterator[None]:
    """Hold the folder's lock, waiting for whoever has it; the operating system frees it when its holder dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with progress.step(f"Waiting for another set-up that works in {folder}", "as long as it takes"):
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield
