"""The parameter `checkPermissions`: what somebody may do with other kinds where an object has its things.

A cluster has them in the namespace of its name, a project in the namespace that backs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from outrider.apis.norman import NormanError
from outrider.facade.v1.asked import Asked
from outrider.facade.v1.catalogue import Resource
from outrider.facade.v1.paths import dig
from outrider.facade.v1.values import Entry
from outrider.facade.v3.edge import gather
from outrider.kube.meta import ObjectKey
from outrider.kube.rules import Rules, own_rules

Json = dict[str, Any]

MOST: Final = 100
"""Objects that are looked at for one answer: each is a request of its own."""

MOST_TYPES: Final = 32
_VERBS: Final = ("create", "delete", "get", "list", "patch", "update", "watch")


async def permissions(
    asked: Asked, entries: Iterable[Entry], types: Sequence[str]
) -> Mapping[ObjectKey, Json]:
    """Object → type → verb → where it may be used. Raises NormanError (422) for too much at once, KubeError."""
    if not types:
        return {}
    looked = list(entries)
    if len(looked) > MOST or len(types) > MOST_TYPES:
        text = f"checkPermissions takes {MOST_TYPES} types, and {MOST} objects: ask for a page"
        raise NormanError(422, text, code="MaxLimitExceeded", field="checkPermissions")
    kinds = {name: kind for name in types if (kind := asked.catalogue.find(name)) is not None}
    spaces = {entry.key: namespace_of(entry) for entry in looked}
    names = sorted(set(spaces.values()))
    rules = dict(
        zip(names, await gather(partial(own_rules, asked.call.client, name) for name in names), strict=True)
    )
    return {key: _of(asked, kinds, space, rules[space]) for key, space in spaces.items()}


def namespace_of(entry: Entry) -> str:
    """The namespace in which an object has its things."""
    backing = dig(entry.data, ("status", "backingNamespace"))
    return backing if isinstance(backing, str) and backing else str(entry.key).replace("/", "-", 1)


def _of(asked: Asked, kinds: Mapping[str, Resource], namespace: str, rules: Rules) -> Json:
    found: Json = {}
    for name, resource in kinds.items():
        kind = resource.kind
        link = asked.place.native(resource, namespace if kind.namespaced else "")
        may = {verb: link for verb in _VERBS if rules.allows(verb, kind.group, kind.plural)}
        if may:
            found[name] = may
    return found
