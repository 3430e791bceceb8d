"""Kubernetes Events: what `kubectl describe` shows beside an object."""

import hashlib
import logging
import re
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from outrider.kit.clock import Clock, SystemClock
from outrider.kube.builtin import EVENTS
from outrider.kube.client import Client
from outrider.kube.errors import KubeError, NotFound
from outrider.kube.kind import Kind

log = logging.getLogger(__name__)

_MAX_MESSAGE = 1024
_NOT_IN_NAMES = re.compile(r"[^a-z0-9.-]+")


class ObjectReference(msgspec.Struct, rename="camel", omit_defaults=True, frozen=True, kw_only=True):
    """v1.ObjectReference: what an event is about."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""
    uid: str = ""


def reference(kind: Kind[Any], obj: Any) -> ObjectReference:
    """Return a reference to ``obj``."""
    key = kind.key(obj)
    return ObjectReference(
        api_version=kind.api_version,
        kind=kind.kind,
        name=key.name,
        namespace=key.namespace,
        uid=kind.uid(obj),
    )


class _Known(msgspec.Struct):
    """An event that was written already."""

    name: str
    count: int


class _Bucket(msgspec.Struct):
    """A token bucket of one object."""

    tokens: float
    filled_at: float


class Events:
    """Writes events; an equal one only raises the first one's count, as client-go's recorder does.

    An object may cause ``burst`` events at once and then one every ``interval`` seconds; the rest is dropped.
    Failures to write are logged and never raised: an event is a courtesy. Memory is bounded by ``capacity``
    entries.
    """

    def __init__(
        self,
        client: Client,
        component: str,
        *,
        burst: int = 25,
        interval: float = 300.0,
        capacity: int = 4096,
        clock: Clock | None = None,
    ) -> None:
        self._client = client
        self._component = component
        self._burst = burst
        self._interval = interval
        self._capacity = capacity
        self._clock = clock or SystemClock()
        self._known: OrderedDict[tuple[ObjectReference, str, str, str], _Known] = OrderedDict()
        self._buckets: OrderedDict[ObjectReference, _Bucket] = OrderedDict()

    async def event(
        self,
        about: ObjectReference,
        type: Literal["Normal", "Warning"],  # noqa: A002
        reason: str,
        message: str,
    ) -> None:
        """Report that ``reason`` (CamelCase) happened to ``about``; ``message`` is for people."""
        if not self._allowed(about):
            return
        message = message[:_MAX_MESSAGE]
        same = (about, type, reason, message)
        try:
            known = self._known.get(same)
            if known is None or not await self._count(about, known):
                known = _Known(await self._create(about, type, reason, message), 1)
        except KubeError as error:
            log.warning("the event %s of %s %s was not written: %s", reason, about.kind, about.name, error)
            return
        self._known[same] = known
        self._known.move_to_end(same)
        if len(self._known) > self._capacity:
            self._known.popitem(last=False)

    async def _create(self, about: ObjectReference, kind: str, reason: str, message: str) -> str:
        now = self._clock.now()
        body = {
            "metadata": {"name": _event_name(about, now), "namespace": _namespace(about)},
            "involvedObject": msgspec.to_builtins(about),
            "type": kind,
            "reason": reason,
            "message": message,
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "count": 1,
            "firstTimestamp": _time(now),
            "lastTimestamp": _time(now),
        }
        return EVENTS.key(await self._client.create(EVENTS, body)).name

    async def _count(self, about: ObjectReference, known: _Known) -> bool:
        """Raise the count of a written event; return False when it has expired."""
        patch = {"count": known.count + 1, "lastTimestamp": _time(self._clock.now())}
        try:
            await self._client.patch(EVENTS, known.name, patch, _namespace(about))
        except NotFound:
            return False
        known.count += 1
        return True

    def _allowed(self, about: ObjectReference) -> bool:
        now = self._clock.monotonic()
        bucket = self._buckets.setdefault(about, _Bucket(float(self._burst), now))
        self._buckets.move_to_end(about)
        if len(self._buckets) > self._capacity:
            self._buckets.popitem(last=False)
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.filled_at) / self._interval)
        bucket.filled_at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True


def _namespace(about: ObjectReference) -> str:
    return about.namespace or "default"


def _event_name(about: ObjectReference, now: datetime) -> str:
    """A name that is valid whatever the object is called, and differs between its events."""
    stem = _NOT_IN_NAMES.sub("-", about.name.lower())[:200].strip("-.") or "object"
    digest = hashlib.sha256(f"{about.uid} {about.name} {now.timestamp()}".encode()).hexdigest()
    return f"{stem}.{digest[:16]}"


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
