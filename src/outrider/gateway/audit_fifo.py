"""The FIFO between the gateway and the audit writer: either side may come, go and come back."""

import contextlib
import fcntl
import os
import stat
from pathlib import Path

PIPE_BYTES = 1 << 20
_F_SETPIPE_SZ = 1031


def make_fifo(path: Path) -> None:
    """Makes the FIFO (0600), in place of anything else that may be there."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISFIFO(path.lstat().st_mode):
            return
        path.unlink()
    with contextlib.suppress(FileExistsError):  # the other side was quicker
        os.mkfifo(path, 0o600)


def open_fifo(path: Path) -> int:
    """Opens the FIFO, for both directions, so that this never waits for the other side; I/O does not block.

    Raises OSError.
    """
    make_fifo(path)
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    # An unprivileged user's quota of pipe memory may be used up; the default size works, too.
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, _F_SETPIPE_SZ, PIPE_BYTES)
    return descriptor


def is_same(descriptor: int, path: Path) -> bool:
    """Whether the path still leads to the open file."""
    try:
        there = path.stat()
    except OSError:
        return False
    here = os.fstat(descriptor)
    return (here.st_ino, here.st_dev) == (there.st_ino, there.st_dev)
