"""The audit writer as a process of a test's own."""

import asyncio
import signal
import sys
from pathlib import Path

import msgspec

from outrider.server.config import AuditConfig
from tests.unit.gateway.audit_samples import lines_of


class Writer:
    """Starts, stops and kills the writer; `path` is its log, `pipe` its FIFO."""

    def __init__(self, folder: Path, **limits: int) -> None:
        self.pipe = folder / "run" / "audit.pipe"
        self.path = folder / "log" / "audit.log"
        self._config = folder / "audit.json"
        config = AuditConfig(pipe=str(self.pipe), path=str(self.path), **limits)  # type: ignore[arg-type]
        self._config.write_bytes(msgspec.json.encode(config))
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> "Writer":
        """Starts it and waits until its log is there."""
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "outrider.server.audit", str(self._config), stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(20):
            while not (self.pipe.exists() and self.path.exists()):
                await asyncio.sleep(0.01)
        return self

    async def stop(self, number: int = signal.SIGTERM) -> str:
        """Ends it with a signal; returns what it said."""
        process, self.process = self.process, None
        if process is None:
            return ""
        process.send_signal(number)
        _, said = await asyncio.wait_for(process.communicate(), 20)
        return said.decode()

    async def wait_for(self, count: int) -> list[dict[str, object]]:
        """The log once it has so many lines."""
        async with asyncio.timeout(20):
            while self.path.read_bytes().count(b"\n") < count:
                await asyncio.sleep(0.02)
        return lines_of(self.path)
