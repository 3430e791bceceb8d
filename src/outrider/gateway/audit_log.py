"""The audit log's slow half: takes lines from a FIFO and keeps files of bounded size, number and age."""

import contextlib
import fcntl
import os
import select
import signal
import time
from dataclasses import dataclass
from pathlib import Path

READ = 1 << 20
PIPE_BYTES = 1 << 20
LOOK = 0.5
"""Seconds between two looks whether to stop, when nothing comes."""
_F_SETPIPE_SZ = 1031


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a file is full, and how many former ones are kept for how many days."""

    max_bytes: int
    max_days: int
    backups: int


def make_pipe(path: Path) -> None:
    """Makes the FIFO (0600), in place of anything else that may be there."""
    if path.exists() and not path.is_fifo():
        path.unlink()
    if not path.exists():
        os.mkfifo(path, 0o600)


def open_pipe(path: Path) -> int:
    """Opens the FIFO without waiting for the other side, which may come, go and come back."""
    make_pipe(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    # An unprivileged user's quota of pipe memory may be used up; the default size works, too.
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, _F_SETPIPE_SZ, PIPE_BYTES)
    return descriptor


class AuditWriter:
    """Writes what comes through the pipe to `path` until SIGTERM, then what is still there."""

    def __init__(self, pipe: Path, path: Path, rotation: Rotation) -> None:
        self._pipe = pipe
        self._path = path
        self._rotation = rotation
        self._stopping = False

    def run(self) -> None:
        """Blocks; raises OSError when the log cannot be opened at all."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        descriptor = open_pipe(self._pipe)
        os.set_blocking(descriptor, False)
        file = self._open()
        while True:
            data = self._read(descriptor)
            if data:
                file = self._write(file, data)
            elif self._stopping:
                break
            else:
                select.select([descriptor], [], [], LOOK)
        os.close(file)
        os.close(descriptor)

    def _read(self, descriptor: int) -> bytes:
        try:
            return os.read(descriptor, READ)
        except BlockingIOError:
            return b""

    def _write(self, file: int, data: bytes) -> int:
        if os.fstat(file).st_size + len(data) > self._rotation.max_bytes:
            os.close(file)
            self._rotate()
            file = self._open()
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(file, view) :]
            except OSError:
                time.sleep(1.0)  # a full disk: the pipe fills, the gateway drops and counts
        return file

    def _open(self) -> int:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _rotate(self) -> None:
        stamp = time.strftime("%Y-%m-%dT%H-%M-%S", time.gmtime())
        self._path.rename(
            self._path.with_name(f"{self._path.stem}-{stamp}-{time.monotonic_ns()}{self._path.suffix}")
        )
        oldest = time.time() - self._rotation.max_days * 86400
        former = sorted(self._path.parent.glob(f"{self._path.stem}-*{self._path.suffix}"), reverse=True)
        for number, path in enumerate(former):
            if number >= self._rotation.backups or path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)

    def _stop(self, number: int, frame: object) -> None:
        self._stopping = True
