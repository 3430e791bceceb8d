"""Follows the cluster and feeds the reporter: nodes, namespaces, sums of pods, version and health."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from outrider.agent import mirror
from outrider.agent.mirror import Namespace, Node
from outrider.agent.probes import Probes
from outrider.agent.reporter import Facts, Reporter
from outrider.agent.usage import PODS, RUNNING_PODS
from outrider.kit.backoff import Backoff
from outrider.kube.client import Client
from outrider.kube.kind import Kind
from outrider.kube.meta import ObjectKey
from outrider.runtime.following import Follower, Sink

T = TypeVar("T")

_UNWELL: Final = 2.0


class Inventory:
    """Keeps a `Reporter` up to date and makes it send.

    `report_after`: seconds that changes are gathered. `poll_every`: seconds between two probes, less while the
    cluster is not well. `first_within`: seconds after which the first report goes out even if a list could not be read.
    """

    def __init__(
        self,
        client: Client,
        reporter: Reporter,
        *,
        report_after: float = 1.0,
        poll_every: float = 15.0,
        first_within: float = 10.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._reporter = reporter
        self._report_after = report_after
        self._poll_every = poll_every
        self._first_within = first_within
        self._sleep = sleep
        self._probes = Probes(client)
        self._rancherd = False
        self._hints: dict[str, list[str]] = {}
        self._read: list[asyncio.Event] = []

        def follow(kind: Kind[T], sink: Sink[T], fields: str = "") -> Follower[T]:
            announced = _Announcing(sink)
            self._read.append(announced.read)
            return Follower(client, kind, announced, sleep=sleep, backoff=Backoff(0.5, 30.0), fields=fields)

        self._followers = (
            follow(mirror.NODES, _Nodes(reporter, self._hints)),
            follow(mirror.NAMESPACES, _Namespaces(reporter)),
            follow(PODS, reporter.pods, RUNNING_PODS),
        )

    async def run(self) -> None:
        """Follows and reports forever."""
        async with asyncio.TaskGroup() as group:
            for follower in self._followers:
                group.create_task(follower.run())
            group.create_task(self._probe())
            group.create_task(self._report())

    async def _report(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._first_within):
                for read in self._read:
                    await read.wait()
        self._tell_hints()
        self._reporter.mark_ready()
        while True:
            await self._reporter.changed.wait()
            await self._sleep(self._report_after)
            self._tell_hints()
            self._reporter.flush()

    async def _probe(self) -> None:
        self._rancherd = await self._probes.rancherd()
        while True:
            version, health = await asyncio.gather(self._probes.version(), self._probes.health())
            self._reporter.facts_changed(Facts(version=version, health=health))
            # That it is well again should not be news a whole interval later
            await self._sleep(self._poll_every if health.ok else min(self._poll_every, _UNWELL))

    def _tell_hints(self) -> None:
        found = {hint for hints in self._hints.values() for hint in hints}
        if self._rancherd:
            found.add("rancherd")
        self._reporter.facts_changed(Facts(hints=sorted(found)))


class _Announcing(Generic[T]):
    """A Sink around another that tells when the first list was read."""

    def __init__(self, sink: Sink[T]) -> None:
        self._sink = sink
        self.read = asyncio.Event()

    def put(self, key: ObjectKey, obj: T) -> None:
        self._sink.put(key, obj)

    def remove(self, key: ObjectKey) -> None:
        self._sink.remove(key)

    def retain(self, keys: set[ObjectKey]) -> None:
        self._sink.retain(keys)
        self.read.set()


class _Nodes:
    """Sink of nodes."""

    def __init__(self, reporter: Reporter, hints: dict[str, list[str]]) -> None:
        self._reporter = reporter
        self._hints = hints

    def put(self, key: ObjectKey, obj: Node) -> None:
        self._hints[key.name] = mirror.node_hints(obj)
        self._reporter.node_changed(key.name, mirror.node_report(obj))

    def remove(self, key: ObjectKey) -> None:
        self._hints.pop(key.name, None)
        self._reporter.node_changed(key.name, None)

    def retain(self, keys: set[ObjectKey]) -> None:
        for name in self._hints.keys() - {key.name for key in keys}:
            self.remove(ObjectKey("", name))


class _Namespaces:
    """Sink of namespaces."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._names: set[str] = set()

    def put(self, key: ObjectKey, obj: Namespace) -> None:
        self._names.add(key.name)
        self._reporter.namespace_changed(key.name, mirror.namespace_report(obj))

    def remove(self, key: ObjectKey) -> None:
        self._names.discard(key.name)
        self._reporter.namespace_changed(key.name, None)

    def retain(self, keys: set[ObjectKey]) -> None:
        for name in self._names - {key.name for key in keys}:
            self.remove(ObjectKey("", name))
