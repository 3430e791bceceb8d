"""What the server knows of the cluster: kept as a snapshot, sent whole once and then as changes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final, Protocol

import msgspec

from outrider.agent.usage import PodSums
from outrider.tunnel.reports import (
    Health,
    InventoryDelta,
    NamespaceReport,
    NodeReport,
    Usage,
    VersionInfo,
    encode,
)
from outrider.tunnel.snapshot import Snapshot, pieces

_DELTA_BYTES: Final = 1 << 20


class Listener(Protocol):
    """A tunnel that reports go to."""

    def send_message(self, body: bytes) -> None:
        """Sends one message."""


class Facts(msgspec.Struct, kw_only=True, frozen=True):
    """What is known of the cluster as a whole. None: not known yet."""

    version: VersionInfo | None = None
    health: Health | None = None
    strict_tls: bool | None = None
    hints: list[str] | None = None


class Reporter:
    """Holds the snapshot, and what of it has not been told yet.

    `name` is random for this process. Nothing is sent to anybody before `mark_ready`, so that the server never
    takes the first moments of the agent for a cluster without nodes.
    """

    def __init__(self, name: str, *, agent_version: str = "") -> None:
        self._snapshot = Snapshot()
        self._snapshot.reporter = name
        self._snapshot.agent_version = agent_version
        self._ready = False
        self._listeners: list[Listener] = []
        self._waiting: list[Listener] = []
        self._facts = Facts()
        self._nodes: dict[str, NodeReport | None] = {}
        self._namespaces: dict[str, NamespaceReport | None] = {}
        self._loads: set[str] = set()
        self.changed = asyncio.Event()
        self.pods = PodSums(self._load_changed)

    # what changed in the cluster

    def node_changed(self, name: str, report: NodeReport | None) -> None:
        """A node is like this now; None: it is gone."""
        self._nodes[name] = report
        self._load_changed(name)

    def namespace_changed(self, name: str, report: NamespaceReport | None) -> None:
        """A namespace is like this now; None: it is gone."""
        self._namespaces[name] = report
        self.changed.set()

    def facts_changed(self, facts: Facts) -> None:
        """Facts that are not None replace what was known."""
        given = {name: value for name, value in msgspec.structs.asdict(facts).items() if value is not None}
        self._facts = msgspec.structs.replace(self._facts, **given)
        self.changed.set()

    def _load_changed(self, node: str) -> None:
        self._loads.add(node)
        self.changed.set()

    # who hears of it

    def attach(self, listener: Listener) -> None:
        """A tunnel opened: it gets everything now, and every change from now on."""
        if not self._ready:
            self._waiting.append(listener)
            return
        self.flush()
        self._send_whole(listener)
        self._listeners.append(listener)

    def detach(self, listener: Listener) -> None:
        """A tunnel closed."""
        self._listeners = [other for other in self._listeners if other is not listener]
        self._waiting = [other for other in self._waiting if other is not listener]

    def resync(self, listener: Listener) -> None:
        """The server asks for everything again."""
        if listener in self._listeners:
            self.flush()
            self._send_whole(listener)

    def mark_ready(self) -> None:
        """The first lists were read."""
        if self._ready:
            return
        self._ready = True
        waiting, self._waiting = self._waiting, []
        for listener in waiting:
            self.attach(listener)

    def flush(self) -> None:
        """Tells every listener what changed since the last time."""
        self.changed.clear()
        if not self._ready:
            return
        for delta in self._deltas():
            body = encode(self._snapshot.record(delta))
            for listener in self._listeners:
                listener.send_message(body)

    def _send_whole(self, listener: Listener) -> None:
        for piece in pieces(self._snapshot.inventory()):
            listener.send_message(encode(piece))

    # what is worth telling

    def _deltas(self) -> Iterator[InventoryDelta]:
        """The changes, cut so that each message stays small; all but the last say that more follows."""
        batches = [batch for batch in self._batches() if not batch.empty]
        for number, batch in enumerate(batches, start=1):
            yield batch.delta(more=number < len(batches))

    def _batches(self) -> Iterator[_Batch]:
        held = self._snapshot
        batch = _Batch(_new_facts(self._facts, held))
        nodes, self._nodes = self._nodes, {}
        for name, node in nodes.items():
            if node is None and name in held.nodes:
                batch.nodes_removed.append(name)
            elif node is not None and node != held.nodes.get(name):
                batch.add_node(node)
            if batch.full:
                yield batch
                batch = _Batch(Facts())
        namespaces, self._namespaces = self._namespaces, {}
        for name, namespace in namespaces.items():
            if namespace is None and name in held.namespaces:
                batch.namespaces_removed.append(name)
            elif namespace is not None and namespace != held.namespaces.get(name):
                batch.add_namespace(namespace)
            if batch.full:
                yield batch
                batch = _Batch(Facts())
        batch.usage = self._new_usage(held.nodes.keys() | {n for n, report in nodes.items() if report})
        yield batch

    def _new_usage(self, nodes: set[str]) -> dict[str, Usage]:
        """Sums that changed, of nodes that are still there."""
        loads, self._loads = self._loads, set()
        sums = {node: self.pods.usage(node) for node in loads & nodes}
        return {node: usage for node, usage in sums.items() if usage != self._snapshot.usage.get(node)}


def _new_facts(facts: Facts, held: Snapshot) -> Facts:
    return Facts(
        version=facts.version if facts.version != held.version else None,
        health=facts.health if facts.health != held.health else None,
        strict_tls=facts.strict_tls if facts.strict_tls != held.strict_tls else None,
        hints=facts.hints if facts.hints is not None and facts.hints != held.hints else None,
    )


class _Batch:
    """Changes that travel in one message."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.nodes: list[NodeReport] = []
        self.nodes_removed: list[str] = []
        self.namespaces: list[NamespaceReport] = []
        self.namespaces_removed: list[str] = []
        self.usage: dict[str, Usage] = {}
        self._size = 0

    @property
    def full(self) -> bool:
        return self._size > _DELTA_BYTES

    @property
    def empty(self) -> bool:
        lists = (self.nodes, self.nodes_removed, self.namespaces, self.namespaces_removed, self.usage)
        return self.facts == Facts() and not any(lists)

    def add_node(self, node: NodeReport) -> None:
        self.nodes.append(node)
        self._size += len(msgspec.json.encode(node))

    def add_namespace(self, namespace: NamespaceReport) -> None:
        self.namespaces.append(namespace)
        self._size += len(namespace.name) + len(namespace.project) + 64

    def delta(self, *, more: bool) -> InventoryDelta:
        return InventoryDelta(
            reporter="",
            sequence=0,
            digest="",
            more=more,
            version=self.facts.version,
            health=self.facts.health,
            strict_tls=self.facts.strict_tls,
            hints=self.facts.hints,
            nodes=self.nodes,
            nodes_removed=self.nodes_removed,
            usage=self.usage,
            namespaces=self.namespaces,
            namespaces_removed=self.namespaces_removed,
        )
