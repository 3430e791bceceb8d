"""The audit trail's fast half: one line of JSON a request, handed to the process that writes them.

Level 1 records metadata; for levels 2 and 3 a tap copies the bodies, which the writer parses, redacts and renders,
never the data path. Of a login the request is copied at every level, since its record names who signs in.
"""

from collections.abc import Collection
from pathlib import Path

from outrider.gateway import routing
from outrider.gateway.audit_channel import Channel
from outrider.gateway.audit_events import is_login
from outrider.gateway.audit_record import Clients, Recorder
from outrider.gateway.audit_tap import Holdings, Tap
from outrider.gateway.exchange import Exchange

METADATA, REQUESTS, RESPONSES = 1, 2, 3
"""Levels (ruling in the contract's README): 0 is off."""

_UNRECORDED = frozenset({routing.PING, routing.HEALTH, routing.READY})
_BODIES_DROPPED = b',"auditLogError":"its bodies were dropped: the writer could not keep up"'
_WITH_BODY = frozenset({b"POST", b"PUT", b"PATCH"})


class NoAudit:
    """Level 0: nothing is recorded."""

    taps = False

    def began(self, exchange: Exchange) -> None:
        """Ignored."""

    def ended(self, exchange: Exchange) -> None:
        """Ignored."""

    def tap(self, exchange: Exchange) -> Tap | None:
        """Nothing is copied."""
        return None

    def values(self) -> dict[str, float]:
        """Nothing is counted."""
        return {}

    def close(self) -> None:
        """Nothing to do."""


class AuditTrail:
    """Records exchanges on a FIFO at `level`. `taps` says whether every exchange is to be offered to `tap`."""

    def __init__(
        self, pipe: Path, clients: Clients, *, level: int = METADATA, excluded: Collection[str] = ()
    ) -> None:
        self.taps = level >= REQUESTS
        self._level = level
        self._channel = Channel(pipe)
        self._recorder = Recorder(clients, excluded=excluded)
        self._holdings = Holdings()
        self._number = 0
        self._lost = 0
        self._open: dict[Exchange, int] = {}

    def began(self, exchange: Exchange) -> None:
        """An upgraded exchange opens: it may last for hours, so its beginning is on record, too."""
        self._number += 1
        self._open[exchange] = self._number
        self._record(exchange, self._number, b',"stage":"open"')

    def ended(self, exchange: Exchange) -> None:
        """An exchange is over. The end of an upgraded one has the id of its beginning."""
        if exchange.route in _UNRECORDED:
            return
        if exchange.switched:
            number = self._open.pop(exchange, 0)
            if number:
                return self._record(exchange, number, b',"stage":"close"')
        self._number += 1
        return self._record(exchange, self._number)

    def tap(self, exchange: Exchange) -> Tap | None:
        """The tap for an exchange that begins, if its bodies are to be copied."""
        if exchange.upgrade or exchange.route in _UNRECORDED:
            return None
        if is_login(exchange):
            return Tap(
                self._holdings,
                request=True,
                response=self._level >= RESPONSES,
                name_only=self._level < REQUESTS,
            )
        if not self.taps:
            return None
        request, response = exchange.method in _WITH_BODY, self._level >= RESPONSES
        return Tap(self._holdings, request=request, response=response) if request or response else None

    def values(self) -> dict[str, float]:
        """Samples for `/metrics`."""
        return {
            "rancher_audit_events_total": self._number,
            "rancher_audit_dropped_total": self._lost + self._channel.lost,
        }

    def close(self) -> None:
        """Hands over what is left."""
        self._channel.close()

    def _record(self, exchange: Exchange, number: int, extra: bytes = b"") -> None:
        channel, tap = self._channel, exchange.tap
        if channel.room <= 0:
            channel.lost += 1
            if tap is not None:
                tap.release()
            return
        if channel.lost:
            extra += self._confession()
        if tap is not None and channel.room < channel.limit // 2:
            # better all records without bodies than some with them
            tap.release()
            tap = None
            extra = extra or _BODIES_DROPPED
        line = self._recorder.line(exchange, number, extra)
        if tap is not None:
            line = tap.attach(line, exchange)
        channel.put(line)

    def _confession(self) -> bytes:
        lost, self._channel.lost = self._channel.lost, 0
        self._lost += lost
        return b',"auditLogError":"%d records were lost before this one: the writer could not keep up"' % lost
