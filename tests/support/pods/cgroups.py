"""Control groups of a node: below one folder in each hierarchy, named after the process that answers for them."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PREFIX = "outrider-pods-"


def roots() -> list[Path]:
    """The mounted hierarchies: one for cgroup v2, one a controller for v1, beside which v2 may be mounted too."""
    if (ROOT / "cgroup.controllers").exists():
        return [ROOT]
    return sorted(path for path in ROOT.glob("*/") if (path / "cgroup.procs").exists())


def create() -> str:
    """Makes a folder in each hierarchy that this process answers for; its name, as a path from their roots."""
    name = f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
    for root in roots():
        (root / name).mkdir()
    return f"/{name}"


def remove(group: str, patience: float = 30.0) -> None:
    """Removes them, once their processes are gone. Raises ``OSError`` when they stay."""
    deadline = time.monotonic() + patience
    for root in roots():
        while True:
            try:
                _remove_tree(root / group.lstrip("/"))
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


def sweep() -> None:
    """Removes what test runs left behind that were killed themselves."""
    for name in {path.name for root in roots() for path in root.glob(f"{PREFIX}*-*")}:
        owner = name.removeprefix(PREFIX).partition("-")[0]
        if not Path(f"/proc/{owner}").exists():
            with contextlib.suppress(OSError):
                remove(name, patience=1.0)


def _remove_tree(folder: Path) -> None:
    for path, _, _ in os.walk(folder, topdown=False):
        Path(path).rmdir()
