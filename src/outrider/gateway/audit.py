"""The audit trail's fast half: one JSON line a request, handed in batches to the process that writes them.

Level 1 records metadata; what levels 2 and 3 add (bodies) is teed here, at most `BODY` bytes each, and parsed,
redacted and rendered by the writer, never on the data path. The writer reads a pipe; when it cannot keep up,
lines are dropped and counted, and the next line that goes through says how many.
"""

import asyncio
import os
import time
import uuid
from datetime import UTC, datetime
from typing import Any

import msgspec

from outrider.gateway import routing
from outrider.gateway.exchange import Exchange

BODY = 64 * 1024
FLUSH_SECONDS = 0.2
MAX_WAITING = 8 << 20
"""Bytes of lines that wait for the writer at most."""

_encode = msgspec.json.Encoder().encode
_UNRECORDED = frozenset({routing.PING, routing.HEALTH, routing.READY})


class NoAudit:
    """Level 0: nothing is recorded."""

    def began(self, exchange: Exchange) -> None:
        """Ignored."""

    def ended(self, exchange: Exchange) -> None:
        """Ignored."""


class AuditPipe:
    """Records exchanges as lines on a pipe (`descriptor`, which is closed with this object)."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._lines: list[bytes] = []
        self._size = 0
        self._lost = 0
        self._scheduled = False
        self._offset = time.time() - time.monotonic()
        os.set_blocking(descriptor, False)

    def began(self, exchange: Exchange) -> None:
        """An upgraded exchange opens: it may last for hours, so its beginning is on record, too."""
        self._record(exchange, "open")

    def ended(self, exchange: Exchange) -> None:
        """An exchange is over."""
        if exchange.route not in _UNRECORDED:
            self._record(exchange, "close" if exchange.switched else "")

    def flush(self) -> None:
        """Writes what has gathered; the rest stays for the next turn."""
        self._scheduled = False
        data = b"".join(self._lines)
        try:
            written = os.write(self._descriptor, data)
        except BlockingIOError:
            written = 0
        except OSError:
            self._lost += len(self._lines)
            written = len(data)
        rest = data[written:]
        self._lines, self._size = ([rest], len(rest)) if rest else ([], 0)
        if rest:
            self._schedule()

    def close(self) -> None:
        """Hands over what is left and closes the pipe."""
        os.set_blocking(self._descriptor, True)
        self.flush()
        os.close(self._descriptor)

    def _record(self, exchange: Exchange, stage: str) -> None:
        if self._size > MAX_WAITING:
            self._lost += 1
            return
        line = _encode(self._entry(exchange, stage)) + b"\n"
        self._lines.append(line)
        self._size += len(line)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_later(FLUSH_SECONDS, self.flush)

    def _entry(self, exchange: Exchange, stage: str) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "auditID": str(uuid.UUID(bytes=os.urandom(16), version=4)),
            "requestURI": _uri(exchange),
            "method": exchange.method.decode("ascii"),
            "remoteAddr": exchange.connection.remote,
            "responseCode": exchange.status,
            "requestTimestamp": self._stamp(exchange.started),
            "responseTimestamp": self._stamp(time.monotonic()),
            "requestBytes": exchange.bytes_in,
            "responseBytes": exchange.bytes_out,
        }
        verdict = exchange.grant.verdict if exchange.grant is not None else None
        if verdict is not None and verdict.identity is not None:
            entry["user"] = verdict.identity
            entry["userLoginName"] = ",".join(verdict.identity.extra.get("username", ()))
        if stage:
            entry["stage"] = stage
        if self._lost:
            entry["auditLogError"] = f"{self._lost} earlier records were lost: the writer could not keep up"
            self._lost = 0
        return entry

    def _stamp(self, monotonic: float) -> str:
        return datetime.fromtimestamp(monotonic + self._offset, UTC).isoformat(timespec="microseconds")


def _uri(exchange: Exchange) -> str:
    target = exchange.target.decode("ascii", "replace")
    if exchange.cluster and exchange.route in {routing.CLUSTER, routing.LOCAL}:
        target = f"/k8s/clusters/{exchange.cluster}{target}"
    if target.startswith("/v3/import/"):
        return "/v3/import/[redacted]"
    return target
