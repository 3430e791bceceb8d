"""Leader election by a coordination.k8s.io Lease, by the algorithm of client-go."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

from outrider.kit.clock import Clock, SystemClock
from outrider.kit.tasks import cancel_and_wait
from outrider.kube.builtin import LEASES
from outrider.kube.client import Client
from outrider.kube.errors import AlreadyExists, Conflict, KubeError, NotFound

log = logging.getLogger(__name__)

_JITTER = 1.2
_ERA = datetime(2025, 1, 1, tzinfo=UTC)


class Durations(NamedTuple):
    """Seconds. A leader that could not renew for ``renew_deadline`` stops; others wait for ``lease``."""

    lease: float = 15.0
    renew_deadline: float = 10.0
    retry: float = 2.0


class _Record(NamedTuple):
    """What a Lease says. Times in it are other machines' and are only compared for equality."""

    holder: str
    duration: float
    transitions: int
    acquired: str
    renewed: str
    resource_version: str


class LeaderElector:
    """Runs something on at most one of many processes.

    ``identity`` names this process and must differ between processes that live at the same time; one that
    comes back under its old name takes over without waiting. A lease counts as expired when this process has
    seen it unchanged, by its own clock, for the lease's duration.
    """

    def __init__(
        self,
        client: Client,
        name: str,
        namespace: str,
        identity: str,
        *,
        clock: Clock | None = None,
        durations: Durations | None = None,
        rand: Callable[[], float] = random.random,
    ) -> None:
        durations = durations or Durations()
        if not durations.lease > durations.renew_deadline > durations.retry * _JITTER > 0:
            raise ValueError(
                f"leader election needs lease > renew_deadline > {_JITTER} * retry, got {durations}"
            )
        if not identity:
            raise ValueError("leader election needs an identity")
        self._client = client
        self._name = name
        self._namespace = namespace
        self._identity = identity
        self._clock = clock or SystemClock()
        self._durations = durations
        self._rand = rand
        self._seen: _Record | None = None
        self._seen_at = 0.0
        self._renewed_at = 0.0
        self._leading = False
        self._epoch = 0

    @property
    def is_leader(self) -> bool:
        """Whether this process leads, as far as it can know."""
        return self._leading

    @property
    def epoch(self) -> int:
        """The number of the current (or last) term of this process, greater than those of all terms before.

        It is the lease's ``leaseTransitions``, which grows by at least one with each term. It is never below
        the seconds since 2025, so that it keeps growing when the lease was deleted or restored from a
        backup.
        """
        return self._epoch

    @property
    def leader(self) -> str:
        """The identity of the leader as last seen, empty when there is none."""
        return self._seen.holder if self._seen else ""

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Wait to be elected, then run ``lead``; on loss of the lease cancel it and wait to be elected again.

        Ends when ``lead`` ends, or when it is cancelled; the lease is then released for the next one.
        """
        while True:
            await self._acquire()
            if await self._hold(lead):
                return

    async def _acquire(self) -> None:
        while not await self._try():
            await self._clock.sleep(self._durations.retry * (1 + _JITTER * self._rand()))
        self._leading = True
        log.info("leading %s/%s as %s, epoch %d", self._namespace, self._name, self._identity, self._epoch)

    async def _hold(self, lead: Callable[[], Awaitable[None]]) -> bool:
        """Lead while the lease lasts; return whether ``lead`` ended by itself."""
        work = asyncio.ensure_future(lead())
        renewal = asyncio.create_task(self._renew(), name=f"lease {self._name}")
        try:
            await asyncio.wait((work, renewal), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await work
                return True
            log.error("lost the lease %s/%s; stopping what only a leader does", self._namespace, self._name)
            return False
        finally:
            # Nobody else may lead before what we do has ended: first stop, then release.
            lost = renewal.done()
            await cancel_and_wait(work, renewal)
            self._leading = False
            if not lost:
                await self._release()

    async def _renew(self) -> None:
        """Renew until that has not succeeded for the renew deadline, or another process holds the lease."""
        while (left := self._renewed_at + self._durations.renew_deadline - self._clock.monotonic()) > 0:
            await self._clock.sleep(min(self._durations.retry, left))
            held = await self._try()
            if not held and self._seen is not None and self._seen.holder not in (self._identity, ""):
                return

    async def _try(self) -> bool:
        """Acquire or renew once, within what the renew deadline leaves; return whether the lease is ours."""
        started = self._clock.monotonic()
        left = self._durations.renew_deadline
        if self._leading:
            left -= started - self._renewed_at
        try:
            async with asyncio.timeout(max(left, 0.001)):
                held = await self._attempt()
        except (KubeError, TimeoutError) as error:
            log.warning("lease %s/%s: %s", self._namespace, self._name, str(error) or "no answer in time")
            return False
        if held:
            # From before the request was sent: the others count from when they see it, which is later.
            self._renewed_at = started
        return held

    async def _attempt(self) -> bool:
        try:
            return await self._write() if self._leading else await self._read_and_take()
        except (Conflict, AlreadyExists, NotFound):
            # Another process wrote, or the lease is gone: look at it now, write or give up at the next turn.
            await self._read()
            return False

    async def _read_and_take(self) -> bool:
        record = await self._read()
        if record is not None and record.holder not in ("", self._identity) and not self._expired(record):
            return False
        last = max(record.transitions if record else 0, self._epoch)
        self._epoch = max(last + 1, int((self._clock.now() - _ERA).total_seconds()))
        return await self._write(acquire=True)

    def _expired(self, record: _Record) -> bool:
        return self._clock.monotonic() - self._seen_at >= record.duration

    async def _read(self) -> _Record | None:
        try:
            lease = await self._client.get(LEASES, self._name, self._namespace)
        except NotFound:
            self._seen = None
            return None
        self._observe(_record(lease))
        return self._seen

    def _observe(self, record: _Record) -> None:
        if record != self._seen:
            self._seen = record
            self._seen_at = self._clock.monotonic()

    async def _write(self, *, acquire: bool = False) -> bool:
        now = _micro_time(self._clock.now())
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._durations.lease)),
            "acquireTime": now if acquire or self._seen is None else self._seen.acquired or now,
            "renewTime": now,
            "leaseTransitions": self._epoch,
        }
        if self._seen is None:
            meta = {"name": self._name, "namespace": self._namespace}
            lease = await self._client.create(LEASES, {"metadata": meta, "spec": spec})
        else:
            patch = {"metadata": {"resourceVersion": self._seen.resource_version}, "spec": spec}
            lease = await self._client.patch(LEASES, self._name, patch, self._namespace)
        self._observe(_record(lease))
        return True

    async def _release(self) -> None:
        """Say that nobody holds the lease, so that the next one need not wait; failing to is harmless."""
        if self._seen is None or self._seen.holder != self._identity:
            return
        now = _micro_time(self._clock.now())
        spec = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": now, "acquireTime": now}
        patch = {"metadata": {"resourceVersion": self._seen.resource_version}, "spec": spec}
        try:
            async with asyncio.timeout(self._durations.retry):
                lease = await self._client.patch(LEASES, self._name, patch, self._namespace)
        except (KubeError, TimeoutError) as error:
            log.warning(
                "lease %s/%s was not released: %s",
                self._namespace,
                self._name,
                str(error) or "no answer in time",
            )
        else:
            self._observe(_record(lease))
            log.info("released the lease %s/%s", self._namespace, self._name)


def _record(lease: dict[str, Any]) -> _Record:
    spec = cast(dict[str, Any], lease.get("spec") or {})
    return _Record(
        holder=str(spec.get("holderIdentity") or ""),
        duration=float(spec.get("leaseDurationSeconds") or 0),
        transitions=int(spec.get("leaseTransitions") or 0),
        acquired=str(spec.get("acquireTime") or ""),
        renewed=str(spec.get("renewTime") or ""),
        resource_version=LEASES.resource_version(lease),
    )


def _micro_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
