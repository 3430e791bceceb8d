"""A program at a pseudo-terminal, and a person who types."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

SECONDS = 60.0


class Terminal:
    """Runs a command with a terminal of the given size for the length of the block."""

    def __init__(
        self, command: Sequence[str], environ: Mapping[str, str], *, rows: int = 24, columns: int = 80
    ) -> None:
        self._master, slave = pty.openpty()
        self.resize(rows, columns)
        try:
            self.process = subprocess.Popen(
                command,
                env=dict(environ),
                stdin=slave,
                stdout=slave,
                stderr=slave,
                start_new_session=True,
                preexec_fn=_take_terminal,  # noqa: PLW1509 - one system call, no lock
            )
        finally:
            os.close(slave)
        self.seen = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait(SECONDS)
        os.close(self._master)

    def resize(self, rows: int, columns: int) -> None:
        """Changes the window; the kernel tells the program."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        """Types it."""
        os.write(self._master, text.encode())

    def expect(self, text: str, seconds: float = SECONDS) -> str:
        """Reads until the text appears, and forgets what came up to it; TimeoutError with what came instead."""
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            left = deadline - time.monotonic()
            if left <= 0 or not self._read(left):
                raise TimeoutError(f"{text!r} did not appear; there was {self.seen!r}")
        before, _, self.seen = self.seen.partition(text)
        return before

    def ended(self, seconds: float = SECONDS) -> int:
        """Reads until the program has ended; returns the exit code."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            self._read(0.1)
        return self.process.wait(0.1)

    def interrupt_program(self) -> None:
        """SIGINT to the program itself, past its terminal."""
        self.process.send_signal(signal.SIGINT)

    def _read(self, seconds: float) -> bool:
        readable, _, _ = select.select([self._master], [], [], seconds)
        if not readable:
            return True
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the other side is closed
            return False
        self.seen += data.decode(errors="replace")
        return bool(data)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
