"""Keeps a child's log bounded while the child holds it open, and quotes its end in an error."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import BinaryIO

MAX_BYTES = 8 * 1024 * 1024


def bound(log: Path, limit: int = MAX_BYTES) -> bool:
    """Moves a log that grew past ``limit`` bytes to ``<name>.1`` and empties it; says whether it did.

    The child appends to the same file all the while (``O_APPEND``): what it writes between the copy and
    the truncation is lost, which a diagnostic log can bear.
    """
    try:
        if log.stat().st_size <= limit:
            return False
    except FileNotFoundError:
        return False
    # A full disk is no reason to keep the big file: then its end is lost, and the child runs on.
    with contextlib.suppress(OSError):
        _keep_end(log, log.with_name(log.name + ".1"), limit)
    os.truncate(log, 0)
    return True


def tail(log: Path, lines: int = 12, limit: int = 16 * 1024) -> str:
    """The last lines of a log; at most ``limit`` bytes are read."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - limit))
            text = file.read(limit).decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _keep_end(log: Path, previous: Path, limit: int) -> None:
    # The end is what somebody will look for, should the log have grown far past the limit.
    with log.open("rb") as source, _private(previous) as target:
        source.seek(-limit, os.SEEK_END)
        shutil.copyfileobj(source, target, 1024 * 1024)


def _private(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
