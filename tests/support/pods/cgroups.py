"""Control groups of a node: below one folder in each hierarchy, named after the process that answers for it."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PREFIX = "outrider-pods-"


def roots() -> list[Path]:
    """The mounted hierarchies: one for cgroup v2, one a controller for v1, beside which v2 may be mounted too."""
    if (ROOT / "cgroup.controllers").exists():
        return [ROOT]
    return sorted(path for path in ROOT.glob("*/") if (path / "cgroup.procs").exists())


def create(owner: int) -> str:
    """Makes the folder of process ``owner`` in each hierarchy; its name, as a path from their roots."""
    for root in roots():
        (root / f"{PREFIX}{owner}").mkdir(exist_ok=True)
    return f"/{PREFIX}{owner}"


def remove(owner: int, patience: float = 10.0) -> None:
    """Removes them, once their processes are gone. Raises ``OSError`` when they stay."""
    deadline = time.monotonic() + patience
    for root in roots():
        while True:
            try:
                _remove_tree(root / f"{PREFIX}{owner}")
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


def sweep() -> None:
    """Removes what test runs left behind that were killed themselves."""
    owners = {path.name.removeprefix(PREFIX) for root in roots() for path in root.glob(f"{PREFIX}*")}
    for owner in owners:
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            with contextlib.suppress(OSError):
                remove(int(owner), patience=1.0)


def _remove_tree(folder: Path) -> None:
    for path, _, _ in os.walk(folder, topdown=False):
        Path(path).rmdir()
