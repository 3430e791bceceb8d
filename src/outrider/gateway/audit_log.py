"""The audit trail's slow half: reads records from the FIFO, renders them, and writes the log's files."""

import os
import select
import signal
import sys
import time
from pathlib import Path

from outrider.gateway.audit_fifo import is_same, open_fifo
from outrider.gateway.audit_files import LogFile, Rotation
from outrider.gateway.audit_render import lost, render

READ = 64 * 1024
MAX_RECORD = 1 << 20
"""Bytes after which a record without an end is given up."""
LOOK = 0.5
"""Seconds between two looks at the FIFO, the file and whether to stop, when nothing comes."""
PRUNE = 600.0
"""Seconds between two looks for files that have become too old."""

__all__ = ["AuditWriter", "Lines", "Rotation"]


class Lines:
    """Cuts what is read into records and renders them; a record may come in pieces."""

    def __init__(self) -> None:
        self._rest = b""
        self._skipped = 0

    def feed(self, data: bytes) -> bytes:
        """The log's lines that are complete with this."""
        *records, rest = (self._rest + data).split(b"\n")
        begin = b""
        if self._skipped and records:
            begin = lost(self._skipped + len(records.pop(0))) + b"\n"
            self._skipped = 0
        self._rest = self._bounded(rest)
        return begin + b"".join(render(record) + b"\n" for record in records if record)

    def end(self) -> bytes:
        """The line for what is left and will never be complete."""
        length = len(self._rest) + self._skipped
        self._rest, self._skipped = b"", 0
        return lost(length) + b"\n" if length else b""

    def _bounded(self, rest: bytes) -> bytes:
        if not self._skipped and len(rest) <= MAX_RECORD:
            return rest
        self._skipped += len(rest)
        return b""


class AuditWriter:
    """Writes what comes through the FIFO `pipe` to `path` until SIGTERM, then what is still there.

    When the disk is full it waits, and does not read: the FIFO fills, and the gateway drops and counts.
    """

    def __init__(self, pipe: Path, path: Path, rotation: Rotation) -> None:
        self._pipe = pipe
        self._path = path
        self._rotation = rotation
        self._lines = Lines()
        self._stopping = False
        self._failing = False
        self._look_at = self._prune_at = 0.0
        self._file: LogFile
        self._descriptor: int

    def run(self) -> None:
        """Blocks; raises OSError when the FIFO or the log cannot be opened at all."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        self._file = LogFile(self._path, self._rotation)
        self._descriptor = open_fifo(self._pipe)
        try:
            while self._turn():
                pass
        finally:
            self._file.close()
            os.close(self._descriptor)

    def _turn(self) -> bool:
        """One round; False when it is over."""
        if time.monotonic() >= self._look_at:
            self._look()
        data = self._read(self._descriptor)
        if data:
            return self._write(self._lines.feed(data))
        if self._stopping:
            self._write(self._lines.end())
            return False
        select.select([self._descriptor], [], [], LOOK)
        return True

    def _look(self) -> None:
        """Follows a file and a FIFO that somebody has moved, and lets old files go."""
        now = time.monotonic()
        self._look_at = now + LOOK
        try:
            self._file.follow()
            if now >= self._prune_at:
                self._prune_at = now + PRUNE
                self._file.prune()
            if not is_same(self._descriptor, self._pipe):
                self._follow_pipe()
        except OSError as error:
            self._complain(error)

    def _follow_pipe(self) -> None:
        fresh = open_fifo(self._pipe)
        while data := self._read(self._descriptor):
            self._write(self._lines.feed(data))
        self._write(self._lines.end())
        os.close(self._descriptor)
        self._descriptor = fresh

    def _read(self, descriptor: int) -> bytes:
        try:
            return os.read(descriptor, READ)
        except BlockingIOError:
            return b""

    def _write(self, data: bytes) -> bool:
        """Writes everything, however long that takes; False when it was told to stop before that succeeded."""
        left = memoryview(data)
        while left:
            try:
                left = self._file.append(left)
            except OSError as error:
                self._complain(error)
                if self._stopping:
                    print(f"{len(left)} bytes of the audit log are lost", file=sys.stderr, flush=True)
                    return False
                time.sleep(LOOK)
            else:
                self._failing = False
        return True

    def _complain(self, error: OSError) -> None:
        if not self._failing:
            self._failing = True
            print(
                f"cannot write the audit log {self._path}: {error}; requests go on, and those that no longer fit"
                " into memory go unrecorded",
                file=sys.stderr,
                flush=True,
            )

    def _stop(self, number: int, frame: object) -> None:
        self._stopping = True
