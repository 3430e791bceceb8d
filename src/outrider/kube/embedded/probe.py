"""Asks a process over HTTPS whether it is well: one short connection, no dependencies."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path

_MAX_STATUS_LINE = 1024


@dataclass(frozen=True, slots=True)
class HttpsProbe:
    """Where a process tells its health, and as whom to ask: PEM files, read anew for every probe."""

    host: str
    port: int
    authority: Path
    client: Path
    ready_path: str = "/readyz"
    live_path: str = "/livez"

    async def listening(self, timeout: float) -> bool:
        """Whether it accepts connections, ready or not."""
        try:
            async with asyncio.timeout(timeout):
                _, writer = await asyncio.open_connection(self.host, self.port)
        except OSError:
            return False
        writer.transport.abort()
        return True

    async def ready(self, timeout: float) -> bool:
        """Whether it serves requests now; any failure within ``timeout`` seconds is a no."""
        return await self._ask(self.ready_path, timeout)

    async def live(self, timeout: float) -> bool:
        """Whether it may be left running."""
        return await self._ask(self.live_path, timeout)

    async def _ask(self, path: str, timeout: float) -> bool:
        try:
            async with asyncio.timeout(timeout):
                return await self._status(path) == 200
        except (OSError, ValueError):  # TimeoutError and ssl.SSLError are OSErrors
            return False

    async def _status(self, path: str) -> int:
        context = ssl.create_default_context(cafile=str(self.authority))
        context.load_cert_chain(str(self.client))
        reader, writer = await asyncio.open_connection(
            self.host, self.port, ssl=context, limit=_MAX_STATUS_LINE
        )
        try:
            head = f"GET {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode())
            line = await reader.readline()
            return int(line.split(b" ", 2)[1]) if line.count(b" ") else 0
        finally:
            writer.transport.abort()
