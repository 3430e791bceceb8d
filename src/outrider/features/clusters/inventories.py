"""The inventories of the clusters that have a tunnel to this replica, one for each tunnel."""

from __future__ import annotations

import logging
from typing import Final

from outrider.kit.clock import Clock
from outrider.tunnel.reports import Inventory, InventoryDelta, Resync
from outrider.tunnel.snapshot import OutOfStep, Snapshot

log = logging.getLogger(__name__)

_RESYNC_PAUSE: Final = 5.0


class Inventories:
    """Follows reports. A tunnel that loses step is asked for everything, every few seconds at most."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._snapshots: dict[str, dict[int, Snapshot]] = {}
        self._asked: dict[tuple[str, int], float] = {}

    def of(self, cluster: str) -> Snapshot | None:
        """The newest complete inventory of a cluster."""
        complete = [snap for snap in self._snapshots.get(cluster, {}).values() if snap.complete]
        return complete[-1] if complete else None

    def put(self, cluster: str, snapshot: Snapshot, session: int = 0) -> None:
        """Hold an inventory that was not received through a tunnel."""
        self._snapshots.setdefault(cluster, {})[session] = snapshot

    def follow(self, cluster: str, session: int, report: Inventory | InventoryDelta) -> Resync | None:
        """Take in a report; what to answer when it does not fit."""
        held = self._snapshots.setdefault(cluster, {})
        try:
            if isinstance(report, Inventory):
                held.pop(session, None)
                held[session] = Snapshot.received(report)
            else:
                # Before any inventory there is an empty one, which no change fits
                held.setdefault(session, Snapshot()).apply(report)
        except OutOfStep as error:
            held.pop(session, None)
            return self._resync(cluster, session, str(error))
        self._asked.pop((cluster, session), None)
        return None

    def forget(self, cluster: str, session: int) -> None:
        """A tunnel is gone."""
        self._asked.pop((cluster, session), None)
        held = self._snapshots.get(cluster, {})
        held.pop(session, None)
        if not held:
            self._snapshots.pop(cluster, None)

    def _resync(self, cluster: str, session: int, reason: str) -> Resync | None:
        now = self._clock.monotonic()
        if now - self._asked.get((cluster, session), -_RESYNC_PAUSE) < _RESYNC_PAUSE:
            return None
        self._asked[(cluster, session)] = now
        log.info("cluster %s: %s; asking for the whole inventory", cluster, reason)
        return Resync(reason=reason)
