"""From an object to the resource that clients of `/v1` see, and back (contract, clusters §4.4); pure.

A resource is the object itself with `id`, `type`, `links` and `actions`, and in its metadata `state`, `relationships`
and `fields`, the cells that `kubectl get` prints. What is not looked at is passed on as the JSON that came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec

from outrider.facade.v1 import paths
from outrider.facade.v1.catalogue import Resource
from outrider.facade.v1.heads import flagged, state_in
from outrider.facade.v1.paths import Path, members
from outrider.facade.v1.place import Place
from outrider.facade.v1.relations import Scoped, relationships
from outrider.facade.v1.values import Entry, aged, state_fields
from outrider.kube.meta import ObjectKey
from outrider.kube.rules import Rights
from outrider.kube.table import Column

Json = dict[str, Any]

RESERVED: Final = ("id", "type", "links", "actions")
"""Members that are the resource's own: an object's member of that name is shown with a `_` before it."""

_OWN: Final = frozenset({*RESERVED, "resourcePermissions"})
_SHOWN_METADATA: Final = ("fields", "relationships", "state")
_FLAGS: Final = frozenset({"error", "transitioning"})

_LINKS: Final = (("update", "update"), ("patch", "patch"), ("remove", "delete"))
"""Link → the verb that backs it."""

Actions = Callable[[Entry, str], Mapping[str, str]]
"""The actions of an object, by its link."""


def _no_actions(_: Entry, __: str) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How the objects of one kind are shown to one user.

    `columns` are those of the cells, where these were read a while ago. `hidden` are members that are never shown.
    `include`, `exclude` and `emptied` are what a request asks for; so are `permissions`, where it asks for any.
    """

    resource: Resource
    place: Place
    rights: Rights
    scoped: Scoped
    now: datetime
    columns: Sequence[Column] = ()
    hidden: frozenset[str] = frozenset()
    include: Sequence[Path] = ()
    exclude: Sequence[Path] = ()
    emptied: Sequence[Path] = ()
    permissions: Mapping[ObjectKey, Json] = field(default_factory=dict)
    actions: Actions = field(default=_no_actions)
    _grants: dict[str, list[tuple[str, frozenset[str] | None]]] = field(default_factory=dict, init=False)

    def show(self, entry: Entry) -> Json:
        """The resource of an object. Its values may be JSON, which msgspec passes on."""
        link = self.place.resource(self.resource, entry.key)
        own = {
            "id": str(entry.key),
            "type": self.resource.id,
            "links": self._links(entry.key, link),
            "actions": self.actions(entry, link),
        }
        content = self._content(entry)
        if entry.key in self.permissions:
            own["resourcePermissions"] = self.permissions[entry.key]
        return own | {f"_{name}" if name in RESERVED else name: held for name, held in content.items()}

    def _content(self, entry: Entry) -> Json:
        content = members(entry.data)
        for name in self.hidden:
            content.pop(name, None)
        content.setdefault("apiVersion", self.resource.kind.api_version)
        content.setdefault("kind", self.resource.kind.kind)
        metadata = members(content["metadata"]) if "metadata" in content else {}
        owners = metadata.get("ownerReferences")
        content["metadata"] = metadata | {
            "fields": (aged(entry, self.columns, self.now) if self.columns else entry.cells) or None,
            "relationships": relationships(self.resource.kind, entry.key, entry.data, owners, self.scoped),
            "state": state_fields(state_in(entry.data, self.now)),
        }
        _flag_conditions(content)
        return self._chosen(content)

    def _chosen(self, content: Json) -> Json:
        if self.include:
            content = paths.only(content, self.include)
        for path in self.exclude:
            content = paths.without(content, path)
        for path in self.emptied:
            content = paths.emptied(content, path)
        return content

    def _links(self, key: ObjectKey, link: str) -> Json:
        links = {"self": link, "view": self.place.view(self.resource, key)}
        granted = self._grants.get(key.namespace)
        if granted is None:
            granted = self._grants[key.namespace] = self._granted(key.namespace)
        for name, names in granted:
            if names is None or key.name in names:
                links[name] = link
        return links

    def _granted(self, namespace: str) -> list[tuple[str, frozenset[str] | None]]:
        """The links of what may be done in a namespace, each with the names that it may be done to (None: all)."""
        kind = self.resource.kind
        return [
            (name, self.rights.names(verb, kind.group, kind.plural, namespace=namespace))
            for name, verb in _LINKS
            if verb in self.resource.verbs
        ]


def _flag_conditions(content: Json) -> None:
    status = content.get("status")
    held = members(status) if isinstance(status, msgspec.Raw) else {}
    if "conditions" in held:
        held["conditions"] = flagged(msgspec.json.decode(held["conditions"]))
        content["status"] = held


def unshaped(body: Json) -> Json:
    """The object that a resource stands for: without what only `/v1` shows."""
    content = {name: value for name, value in body.items() if name not in _OWN}
    for name in RESERVED:
        if f"_{name}" in content:
            content[name] = content.pop(f"_{name}")
    metadata = content.get("metadata")
    if isinstance(metadata, dict):
        content["metadata"] = {name: held for name, held in metadata.items() if name not in _SHOWN_METADATA}
    status = content.get("status")
    if isinstance(status, dict) and isinstance(status.get("conditions"), list):
        content["status"] = status | {"conditions": [_unflagged(one) for one in status["conditions"]]}
    return content


def _unflagged(condition: Any) -> Any:
    if not isinstance(condition, dict):
        return condition
    return {name: held for name, held in condition.items() if name not in _FLAGS}
