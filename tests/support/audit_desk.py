"""The front door with its audit trail, and the writer's half in the same process: requests in, log lines out."""

import os
from pathlib import Path
from typing import Any

import msgspec

from outrider.gateway.audit import AuditTrail
from outrider.gateway.audit_fifo import open_fifo
from outrider.gateway.audit_log import Lines
from outrider.gateway.forwarding import Forwarding
from tests.unit.gateway.desk import Desk


class AuditDesk(Desk):
    """A desk whose exchanges are recorded at `level`; `log` is what the writer would have written."""

    def __init__(self, folder: Path, level: int) -> None:
        super().__init__()
        self._pipe = open_fifo(folder / "audit.pipe")
        self.trail = AuditTrail(folder / "audit.pipe", Forwarding(), level=level)
        self.dispatcher._audit = self.trail
        self._lines = Lines()
        self.text = b""

    def log(self) -> list[dict[str, Any]]:
        """All lines so far."""
        self.trail._channel._write()
        while True:
            try:
                self.text += self._lines.feed(os.read(self._pipe, 1 << 20))
            except BlockingIOError:
                return [msgspec.json.decode(line) for line in self.text.splitlines()]

    def close(self) -> None:
        """Ends the trail."""
        self.trail.close()
        os.close(self._pipe)
