"""The peak of a process' resident memory over a stretch of time (proc(5))."""

from __future__ import annotations

import re
from pathlib import Path

_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)
_NOW = re.compile(r"^VmRSS:\s+(\d+) kB$", re.MULTILINE)


class Peak:
    """From its creation on."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        Path(f"/proc/{pid}/clear_refs").write_text("5")
        self._before = self._read(_NOW)

    @property
    def growth(self) -> float:
        """MB by which the peak is above what was resident at the beginning."""
        return (self._read(_PEAK) - self._before) / 1024

    @property
    def now(self) -> float:
        """MB by which what is resident now is above that."""
        return (self._read(_NOW) - self._before) / 1024

    def _read(self, pattern: re.Pattern[str]) -> int:
        found = pattern.search(self._status.read_text())
        assert found is not None
        return int(found.group(1))
