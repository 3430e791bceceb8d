"""What the pods of each node request: sums that follow pods as they come and go.

A pod's effective requests follow KEP-753 (sidecars) and KEP-2837 (pod-level resources).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import NamedTuple

import msgspec

from outrider.kube.kind import Kind
from outrider.kube.meta import ObjectKey
from outrider.kube.quantity import Quantity, QuantityError, parse
from outrider.tunnel.reports import Usage

RUNNING_PODS = "status.phase!=Succeeded,status.phase!=Failed,spec.nodeName!="
"""Field selector: a pod that ends leaves the watch as if it were deleted."""


class Amount(NamedTuple):
    """Thousandths of a CPU, and bytes of memory."""

    cpu: int = 0
    memory: int = 0


class Load(NamedTuple):
    """What one pod adds to its node."""

    requests: Amount
    limits: Amount


class _Resources(msgspec.Struct, gc=False):
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}


class _Container(msgspec.Struct, rename="camel"):
    resources: _Resources = msgspec.field(default_factory=_Resources)
    restart_policy: str = ""


class _Spec(msgspec.Struct, rename="camel"):
    node_name: str = ""
    containers: list[_Container] = []
    init_containers: list[_Container] = []
    overhead: dict[str, str] = {}
    resources: _Resources | None = None


class _Meta(msgspec.Struct, rename="camel", gc=False):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""


class Pod(msgspec.Struct, rename="camel"):
    """A pod as far as its requests go."""

    metadata: _Meta
    spec: _Spec = msgspec.field(default_factory=_Spec)


PODS = Kind(group="", version="v1", plural="pods", kind="Pod", namespaced=True, type=Pod)


def load_of(pod: Pod) -> Load:
    """The effective requests and limits of a pod."""
    spec = pod.spec
    return Load(
        _effective(spec, lambda resources: resources.requests, overhead=True),
        _effective(spec, lambda resources: resources.limits, overhead=False),
    )


def _effective(spec: _Spec, pick: Callable[[_Resources], dict[str, str]], *, overhead: bool) -> Amount:
    running = _sum(_amount(pick(container.resources)) for container in spec.containers)
    sidecars, peak = Amount(), Amount()
    for container in spec.init_containers:
        own = _amount(pick(container.resources))
        if container.restart_policy == "Always":
            sidecars = _sum((sidecars, own))
            peak = _larger(peak, sidecars)
        else:
            peak = _larger(peak, _sum((sidecars, own)))
    total = _larger(_sum((running, sidecars)), peak)
    if spec.resources is not None:
        total = _stated(pick(spec.resources), total)
    return _sum((total, _amount(spec.overhead))) if overhead else total


def _amount(resources: dict[str, str]) -> Amount:
    return Amount(_read(resources, "cpu", 1000), _read(resources, "memory", 1))


def _read(resources: dict[str, str], name: str, scale: int) -> int:
    try:
        return math.ceil(parse(resources[name]).value * scale) if name in resources else 0
    except QuantityError:
        return 0  # one odd pod must not spoil the sums of the others


def _stated(resources: dict[str, str], otherwise: Amount) -> Amount:
    stated = _amount(resources)
    return Amount(
        stated.cpu if "cpu" in resources else otherwise.cpu,
        stated.memory if "memory" in resources else otherwise.memory,
    )


def _sum(amounts: Iterable[Amount]) -> Amount:
    cpu = memory = 0
    for amount in amounts:
        cpu += amount.cpu
        memory += amount.memory
    return Amount(cpu, memory)


def _larger(one: Amount, other: Amount) -> Amount:
    return Amount(max(one.cpu, other.cpu), max(one.memory, other.memory))


class _Sums:
    """Running sums of one node, as numbers."""

    __slots__ = ("limits", "pods", "requests")

    def __init__(self) -> None:
        self.pods = 0
        self.requests = Amount()
        self.limits = Amount()

    def add(self, load: Load, sign: int) -> None:
        self.pods += sign
        self.requests = _shift(self.requests, load.requests, sign)
        self.limits = _shift(self.limits, load.limits, sign)


def _shift(total: Amount, part: Amount, sign: int) -> Amount:
    return Amount(total.cpu + sign * part.cpu, total.memory + sign * part.memory)


class PodSums:
    """A Sink of pods that keeps a sum for each node.

    Of a pod only its node and its load are kept, both shared between pods that have the same. `changed` is
    called with the name of each node whose sums changed.
    """

    def __init__(self, changed: Callable[[str], None]) -> None:
        self._changed = changed
        self._pods: dict[ObjectKey, tuple[str, Load]] = {}
        self._same: dict[tuple[str, Load], tuple[str, Load]] = {}
        self._nodes: dict[str, _Sums] = {}

    def put(self, key: ObjectKey, obj: Pod) -> None:
        """Sink."""
        entry = (obj.spec.node_name, load_of(obj))
        known = self._pods.get(key)
        if entry == known:
            return
        if known is not None:
            self._add(known, -1)
        self._pods[key] = self._same.setdefault(entry, entry)
        self._add(entry, 1)
        if len(self._same) > 2 * len(self._pods) + 1000:
            self._forget_unused()

    def remove(self, key: ObjectKey) -> None:
        """Sink."""
        known = self._pods.pop(key, None)
        if known is not None:
            self._add(known, -1)

    def retain(self, keys: set[ObjectKey]) -> None:
        """Sink."""
        for key in self._pods.keys() - keys:
            self.remove(key)
        self._forget_unused()

    def _forget_unused(self) -> None:
        """Drops shared loads that no pod has any more."""
        self._same = {entry: entry for entry in self._pods.values()}

    def usage(self, node: str) -> Usage:
        """The sums of a node, as quantities."""
        sums = self._nodes.get(node) or _Sums()
        return Usage(
            requested={**_quantities(sums.requests), "pods": str(sums.pods)}, limits=_quantities(sums.limits)
        )

    def _add(self, entry: tuple[str, Load], sign: int) -> None:
        node, load = entry
        sums = self._nodes.setdefault(node, _Sums())
        sums.add(load, sign)
        if not sums.pods:
            del self._nodes[node]
        self._changed(node)


def _quantities(amount: Amount) -> dict[str, str]:
    cpu, memory = Quantity(Fraction(amount.cpu, 1000)), Quantity(Fraction(amount.memory), "BinarySI")
    return {"cpu": str(cpu), "memory": str(memory)}
