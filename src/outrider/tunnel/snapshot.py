"""The inventory of one cluster as both ends hold it: the agent to find what changed, the server to follow.

The digest is a sum of the hashes of all entries, so that it follows a change in the time of that change, not
of the whole. It tells lost or reordered messages; it is no defence against a forger, who holds the tunnel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, MutableMapping
from typing import Any, Final, Self

import msgspec

from outrider.tunnel.reports import (
    MAX_MESSAGE,
    Health,
    Inventory,
    InventoryDelta,
    NamespaceReport,
    NodeReport,
    Usage,
    VersionInfo,
)

_MODULUS: Final = 1 << 128
_canonical = msgspec.json.Encoder(order="deterministic")
_node = msgspec.json.Decoder(NodeReport)


class PackedNodes(MutableMapping[str, NodeReport]):
    """Node reports by name, kept as JSON: a fifth of what their decoded statuses weigh, and read seldom.

    Each reading decodes anew, so what is handed out may be kept and nobody shares it.
    """

    def __init__(self) -> None:
        self._held: dict[str, bytes] = {}

    def __getitem__(self, name: str) -> NodeReport:
        return _node.decode(self._held[name])

    def __setitem__(self, name: str, node: NodeReport) -> None:
        self._held[name] = _canonical.encode(node)

    def __delitem__(self, name: str) -> None:
        del self._held[name]

    def __contains__(self, name: object) -> bool:
        return name in self._held

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)


class OutOfStep(Exception):
    """The snapshot missed something and has to be sent again; the message says what."""


def _fingerprint(part: str, name: str, value: Any) -> int:
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{part}\0{name}\0".encode())
    digest.update(_canonical.encode(value))
    return int.from_bytes(digest.digest(), "big")


class Snapshot:
    """Nodes, usage, namespaces, version and health of one cluster.

    The attributes are for reading. The server writes with `received` and `apply`, the agent with `record`.
    """

    def __init__(self) -> None:
        self.reporter = ""
        self.sequence = 0
        self.complete = False
        self.agent_version = ""
        self.version: VersionInfo | None = None
        self.health: Health | None = None
        self.strict_tls: bool | None = None
        self.hints: list[str] = []
        self.nodes = PackedNodes()
        self.usage: dict[str, Usage] = {}
        self.namespaces: dict[str, NamespaceReport] = {}
        self._prints: dict[tuple[str, str], int] = {}
        self._sum = 0

    @property
    def digest(self) -> str:
        """32 hex digits over everything held."""
        return f"{self._sum:032x}"

    @classmethod
    def received(cls, inventory: Inventory) -> Self:
        """What a full report says. Raises `OutOfStep` when its digest is not what its content gives."""
        snapshot = cls()
        snapshot.reporter, snapshot.sequence = inventory.reporter, inventory.sequence
        snapshot.agent_version = inventory.agent_version
        snapshot._put_facts(inventory.version, inventory.health, inventory.strict_tls, inventory.hints)
        snapshot._put_entries(inventory.nodes, inventory.usage, inventory.namespaces)
        snapshot._check(inventory.digest, inventory.more)
        return snapshot

    def apply(self, delta: InventoryDelta) -> None:
        """Follow a change. Raises `OutOfStep` for a gap, another reporter or another digest."""
        if delta.reporter != self.reporter:
            raise OutOfStep("a change from a reporter whose inventory was never received")
        if delta.sequence != self.sequence + 1:
            raise OutOfStep(f"change {delta.sequence} arrived after {self.sequence}")
        self.sequence = delta.sequence
        self._put(delta)
        self._check(delta.digest, delta.more)

    def record(self, delta: InventoryDelta) -> InventoryDelta:
        """Take in a change that was seen here; returns it with the number and digest to send it with."""
        self.sequence += 1
        self._put(delta)
        return msgspec.structs.replace(
            delta, reporter=self.reporter, sequence=self.sequence, digest=self.digest
        )

    def inventory(self) -> Inventory:
        """Everything held, as one message with the number of the last change."""
        return Inventory(
            reporter=self.reporter,
            sequence=self.sequence,
            digest=self.digest,
            agent_version=self.agent_version,
            version=self.version,
            health=self.health,
            strict_tls=self.strict_tls,
            hints=list(self.hints),
            nodes=list(self.nodes.values()),
            usage=dict(self.usage),
            namespaces=list(self.namespaces.values()),
        )

    def _check(self, digest: str, more: bool) -> None:
        if digest != self.digest:
            raise OutOfStep("the digest of the inventory differs")
        self.complete = not more

    def _put(self, delta: InventoryDelta) -> None:
        self._put_facts(delta.version, delta.health, delta.strict_tls, delta.hints)
        for name in delta.nodes_removed:
            self.nodes.pop(name, None)
            self.usage.pop(name, None)
            self._forget("node", name)
            self._forget("usage", name)
        for name in delta.namespaces_removed:
            self.namespaces.pop(name, None)
            self._forget("namespace", name)
        self._put_entries(delta.nodes, delta.usage, delta.namespaces)

    def _put_facts(
        self,
        version: VersionInfo | None,
        health: Health | None,
        strict_tls: bool | None,
        hints: list[str] | None,
    ) -> None:
        if version is not None:
            self.version = version
            self._remember("fact", "version", version)
        if health is not None:
            self.health = health
            self._remember("fact", "health", health)
        if strict_tls is not None:
            self.strict_tls = strict_tls
            self._remember("fact", "strictTls", strict_tls)
        if hints is not None:
            self.hints = list(hints)
            # An empty list travels as an absent one: both must leave the same digest.
            self._remember("fact", "hints", hints) if hints else self._forget("fact", "hints")

    def _put_entries(
        self, nodes: list[NodeReport], usage: dict[str, Usage], namespaces: list[NamespaceReport]
    ) -> None:
        for node in nodes:
            self.nodes[node.name] = node
            self._remember("node", node.name, node)
        for name, used in usage.items():
            if name in self.nodes:
                self.usage[name] = used
                self._remember("usage", name, used)
        for namespace in namespaces:
            self.namespaces[namespace.name] = namespace
            self._remember("namespace", namespace.name, namespace)

    def _remember(self, part: str, name: str, value: Any) -> None:
        self._forget(part, name)
        mark = self._prints[(part, name)] = _fingerprint(part, name, value)
        self._sum = (self._sum + mark) % _MODULUS

    def _forget(self, part: str, name: str) -> None:
        self._sum = (self._sum - self._prints.pop((part, name), 0)) % _MODULUS


def pieces(inventory: Inventory, *, limit: int = MAX_MESSAGE) -> Iterator[Inventory | InventoryDelta]:
    """The inventory cut so that each message stays below `limit` bytes.

    Sequence numbers end with the inventory's own. An entry that is larger than the limit by itself still
    travels whole.
    """
    batches = list(_batches(inventory, limit // 2))
    following = Snapshot()
    following._put_facts(inventory.version, inventory.health, inventory.strict_tls, inventory.hints)
    for left, batch in zip(range(len(batches) - 1, -1, -1), batches, strict=True):
        following._put_entries(batch.nodes, batch.usage, batch.namespaces)
        first = left == len(batches) - 1
        head = inventory if first else InventoryDelta(reporter=inventory.reporter, sequence=0, digest="")
        yield msgspec.structs.replace(
            head,
            nodes=batch.nodes,
            usage=batch.usage,
            namespaces=batch.namespaces,
            sequence=inventory.sequence - left,
            digest=following.digest,
            more=left > 0,
        )


class _Batch:
    """Entries that travel in one message."""

    def __init__(self) -> None:
        self.size = 0
        self.nodes: list[NodeReport] = []
        self.usage: dict[str, Usage] = {}
        self.namespaces: list[NamespaceReport] = []

    def full(self, size: int, limit: int) -> bool:
        return self.size > 0 and self.size + size > limit


def _batches(inventory: Inventory, limit: int) -> Iterator[_Batch]:
    batch = _Batch()
    entries: list[NodeReport | NamespaceReport] = [*inventory.nodes, *inventory.namespaces]
    for entry in entries:
        size = len(_canonical.encode(entry))
        if batch.full(size, limit):
            yield batch
            batch = _Batch()
        batch.size += size
        if isinstance(entry, NodeReport):
            batch.nodes.append(entry)
            if entry.name in inventory.usage:
                batch.usage[entry.name] = inventory.usage[entry.name]
        else:
            batch.namespaces.append(entry)
    yield batch
