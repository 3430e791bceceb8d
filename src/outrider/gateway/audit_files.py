"""The audit log's files: one that grows and its predecessors, bounded in size, number and age.

A line is written whole or not at all as far as a reader can see: what a killed writer left unfinished is put into a
line that says so when the file is opened again.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from outrider.gateway.audit_fifo import is_same

TORN = 1 << 20
"""Bytes of an unfinished line that are looked for at the end of a file."""
_DAY = 86400.0
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a file is full, and how many former ones are kept for how many days; 0 sets no limit."""

    max_bytes: int
    max_days: int
    backups: int


class LogFile:
    """The file `path` (0600) and its predecessors beside it, `<stem>-<time><suffix>`."""

    def __init__(self, path: Path, rotation: Rotation, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._rotation = rotation
        self._now = now
        self._descriptor = self._open()
        self._size = os.fstat(self._descriptor).st_size
        self.prune()

    def append(self, data: memoryview) -> memoryview:
        """Writes lines; returns what could not be written, which must come first next time. Raises OSError when
        nothing could."""
        limit = self._rotation.max_bytes
        if limit and self._size and self._size + len(data) > limit and self._is_at_line_end():
            self._rotate()
        written = os.write(self._descriptor, data)
        self._size += written
        return data[written:]

    def follow(self) -> None:
        """Opens the path anew when somebody has moved or removed the file. Raises OSError."""
        if not is_same(self._descriptor, self._path):
            self._reopen()

    def prune(self) -> None:
        """Removes predecessors that are too many or too old."""
        oldest = self._now() - self._rotation.max_days * _DAY if self._rotation.max_days else 0.0
        for number, path in enumerate(self.predecessors()):
            too_many = self._rotation.backups and number >= self._rotation.backups
            if too_many or path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)

    def predecessors(self) -> list[Path]:
        """Former files, newest first."""
        stem, suffix = f"{self._path.stem}-", self._path.suffix
        return sorted(self._named(stem, suffix), key=lambda path: path.name, reverse=True)

    def close(self) -> None:
        """Closes the file."""
        os.close(self._descriptor)

    def _named(self, stem: str, suffix: str) -> Iterator[Path]:
        for path in self._path.parent.iterdir():
            stamp = path.name.removeprefix(stem).removesuffix(suffix)
            if path.name == f"{stem}{stamp}{suffix}" and stamp[:1].isdigit():
                yield path

    def _open(self) -> int:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.fchmod(descriptor, 0o600)
        mend(descriptor)
        return descriptor

    def _reopen(self) -> None:
        fresh = self._open()
        os.close(self._descriptor)
        self._descriptor = fresh
        self._size = os.fstat(fresh).st_size

    def _rotate(self) -> None:
        stamp = datetime.fromtimestamp(self._now(), UTC).strftime("%Y-%m-%dT%H-%M-%S.%f")
        self._path.rename(self._path.with_name(f"{self._path.stem}-{stamp}{self._path.suffix}"))
        self._reopen()
        self.prune()

    def _is_at_line_end(self) -> bool:
        return os.pread(self._descriptor, 1, self._size - 1) == b"\n"


def mend(descriptor: int) -> None:
    """Turns an unfinished line at a file's end into a whole one that quotes it."""
    size = os.fstat(descriptor).st_size
    start = max(0, size - TORN)
    tail = os.pread(descriptor, TORN, start)
    fragment = tail[tail.rfind(b"\n") + 1 :]
    if not fragment:
        return
    line = {
        "auditLogError": "the writer was stopped while it wrote this record",
        "fragment": fragment.decode("utf-8", "replace"),
    }
    os.ftruncate(descriptor, size - len(fragment))
    os.write(descriptor, _encode(line) + b"\n")
