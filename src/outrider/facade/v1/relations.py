"""`metadata.relationships`: what an object belongs to, and what it selects (contract, clusters §4.4); pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from outrider.facade.v1.paths import dig
from outrider.kube.kind import Kind
from outrider.kube.meta import ObjectKey
from outrider.kube.selectors import SelectorError, from_label_selector

Json = dict[str, Any]

_SELECTING: Final[Mapping[tuple[str, str], tuple[str, str]]] = {
    ("", "Service"): ("selector", "selects"),
    ("", "ReplicationController"): ("selector", "creates"),
    ("apps", "DaemonSet"): ("selector", "creates"),
    ("apps", "Deployment"): ("selector", "creates"),
    ("apps", "ReplicaSet"): ("selector", "creates"),
    ("apps", "StatefulSet"): ("selector", "creates"),
    ("batch", "Job"): ("selector", "creates"),
    ("networking.k8s.io", "NetworkPolicy"): ("podSelector", "applies"),
    ("policy", "PodDisruptionBudget"): ("selector", "applies"),
}
"""(group, kind) → the field of the spec that selects pods, and what the object has to do with them."""

_PLAIN: Final = frozenset({"Service", "ReplicationController"})
"""Kinds whose selector is a map of labels."""


class Owner(msgspec.Struct, rename="camel"):
    """Who an object belongs to."""

    api_version: str = ""
    kind: str = ""
    name: str = ""


_OWNERS: Final = msgspec.json.Decoder(list[Owner])


Scoped = Callable[[str, str], bool]
"""Whether the kind that an API version and a name stand for has its objects in namespaces."""


def relationships(
    kind: Kind[Any], key: ObjectKey, data: bytes | msgspec.Raw, owners: msgspec.Raw | None, scoped: Scoped
) -> list[Json]:
    """The relationships of an object; `owners` are its owner references as JSON."""
    return [*_owned(key, owners, scoped), *_selecting(kind, key, data)]


def _owned(key: ObjectKey, owners: msgspec.Raw | None, scoped: Scoped) -> Iterator[Json]:
    try:
        found = _OWNERS.decode(owners) if owners is not None else []
    except msgspec.MsgspecError:
        found = []
    for owner in found:
        # an owner lives where its object does, or in no namespace
        namespace = key.namespace if scoped(owner.api_version, owner.kind) else ""
        yield {
            "fromId": str(ObjectKey(namespace, owner.name)),
            "fromType": type_of(owner.api_version, owner.kind),
            "rel": "owner",
        }


def _selecting(kind: Kind[Any], key: ObjectKey, data: bytes | msgspec.Raw) -> Iterator[Json]:
    found = _SELECTING.get((kind.group, kind.kind))
    if found is None:
        return
    field, relation = found
    held = dig(data, ("spec", field))
    if not isinstance(held, dict) or (not held and relation != "applies"):
        return
    try:
        selector = from_label_selector({"matchLabels": held} if kind.kind in _PLAIN else held)
    except SelectorError:
        return
    yield {"toType": "pod", "toNamespace": key.namespace, "rel": relation, "selector": str(selector)}


def type_of(api_version: str, kind: str) -> str:
    """The type that `/v1` calls a kind."""
    group, slash, _ = api_version.partition("/")
    return f"{group}.{kind.lower()}" if slash else kind.lower()
