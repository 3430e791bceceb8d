"""Schemas of `/v1`: what a kind is, and what somebody may do with it; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from outrider.facade.v1.catalogue import Catalogue, Resource
from outrider.facade.v1.place import Place
from outrider.kube.rules import Rights
from outrider.kube.table import Column

Json = dict[str, Any]

Name = tuple[str, str]
"""Group and plural of a kind."""

Columns = Mapping[Name, Sequence[Column]]
"""The columns of kinds' tables, where they are known."""

_EVERY: Final = "*"

OWN: Final[Mapping[str, Json]] = {
    "collection": {"pluralName": "collections"},
    "error": {"pluralName": "errors"},
    "schema": {"pluralName": "schemas", "collectionMethods": ["GET"], "resourceMethods": ["GET"]},
    "schemaDefinition": {"pluralName": "schemaDefinitions", "resourceMethods": ["GET"]},
    "apiRoot": {"pluralName": "apiRoots", "collectionMethods": ["GET"], "resourceMethods": ["GET"]},
    "subscribe": {"pluralName": "subscribes", "collectionMethods": ["GET"]},
    "count": {"pluralName": "counts", "collectionMethods": ["GET"], "resourceMethods": ["GET"]},
    "userpreference": {
        "pluralName": "userpreferences",
        "collectionMethods": ["GET"],
        "resourceMethods": ["GET", "PUT", "DELETE"],
    },
}
"""Types that are no kinds, at every root."""


class Permissions:
    """What one user may do with the kinds of a cluster; `namespaces` are those that were looked at.

    `open_lists` are kinds that everybody may list: what is not theirs is left out, and nobody is refused.
    """

    def __init__(
        self, rights: Rights, namespaces: Iterable[str] = (), *, open_lists: Collection[Name] = ()
    ) -> None:
        self._rights = rights
        self._namespaces = list(namespaces)
        self._open_lists = open_lists

    def some(self, verb: str, resource: Resource) -> bool:
        """Whether a verb may be used on any object of a kind."""
        kind = resource.kind
        return verb in resource.verbs and self._rights.allows_some(verb, kind.group, kind.plural)

    def sees(self, resource: Resource) -> bool:
        """Whether any object of a kind may be read."""
        return self.some("list", resource) or self.some("get", resource)

    def lists_all(self, resource: Resource) -> bool:
        """Whether all objects of a kind may be listed."""
        kind = resource.kind
        return "list" in resource.verbs and self._rights.allows("list", kind.group, kind.plural)

    def access(self, resource: Resource) -> Json:
        """Verb → where it may be used, on what; names, and `*` for all."""
        found = {verb: list(self._grants(verb, resource)) for verb in sorted(resource.verbs)}
        return {verb: grants for verb, grants in found.items() if grants}

    def _grants(self, verb: str, resource: Resource) -> Iterator[Json]:
        group, plural = resource.kind.group, resource.kind.plural
        names = self._rights.everywhere.names(verb, group, plural)
        if names is None:
            yield {"namespace": _EVERY, "resourceName": _EVERY}
            return
        yield from ({"namespace": _EVERY, "resourceName": name} for name in sorted(names))
        for namespace in self._namespaces if resource.kind.namespaced else ():
            within = self._rights.names(verb, group, plural, namespace=namespace)
            if within is None:
                yield {"namespace": namespace, "resourceName": _EVERY}
            else:
                yield from ({"namespace": namespace, "resourceName": name} for name in sorted(within - names))

    def collection_methods(self, resource: Resource) -> list[str]:
        """The methods of a collection."""
        allowed = {
            "GET": self.sees(resource) or self._is_open(resource),
            "POST": self.some("create", resource),
        }
        return [method for method, may in allowed.items() if may]

    def resource_methods(self, resource: Resource) -> list[str]:
        """The methods of single objects: those that the user may use on some of them."""
        allowed = {
            "GET": self.sees(resource),
            "DELETE": self.some("delete", resource),
            "PUT": self.some("update", resource),
            "PATCH": self.some("patch", resource),
        }
        return [method for method, may in allowed.items() if may]

    def any(self, resource: Resource) -> bool:
        """Whether the user has anything to do with a kind."""
        return self._is_open(resource) or any(self.some(verb, resource) for verb in resource.verbs)

    def _is_open(self, resource: Resource) -> bool:
        return (resource.kind.group, resource.kind.plural) in self._open_lists


def schema(resource: Resource, may: Permissions, place: Place, columns: Sequence[Column] | None) -> Json:
    """The schema of a kind."""
    kind = resource.kind
    attributes: Json = {
        "access": may.access(resource),
        "group": kind.group,
        "version": kind.version,
        "kind": kind.kind,
        "resource": kind.plural,
        "namespaced": kind.namespaced,
        "verbs": sorted(resource.verbs),
    }
    if columns is not None:
        attributes["columns"] = [_column(index, column) for index, column in enumerate(columns)]
    return {
        "id": resource.id,
        "type": "schema",
        "links": _links(place, resource.id, resource.plural),
        "actions": {},
        "pluralName": resource.plural,
        "resourceMethods": may.resource_methods(resource),
        "collectionMethods": may.collection_methods(resource),
        "resourceFields": {},
        "attributes": attributes,
    }


def schemas(catalogue: Catalogue, may: Permissions, place: Place, columns: Columns) -> list[Json]:
    """The schemas of all that a user has anything to do with, and of what every root has."""
    kinds = [
        schema(resource, may, place, columns.get((resource.kind.group, resource.kind.plural)))
        for resource in catalogue
        if may.any(resource)
    ]
    return sorted([*kinds, *(own(name, place) for name in OWN)], key=lambda one: str(one["id"]))


def own(name: str, place: Place) -> Json:
    """The schema of a type that is no kind."""
    empty: Json = {"resourceMethods": [], "collectionMethods": [], "resourceFields": {}, "attributes": {}}
    said = OWN[name]
    links = _links(place, name, said["pluralName"])
    return empty | {"id": name, "type": "schema", "links": links, "actions": {}} | said


def _links(place: Place, name: str, plural: str) -> Json:
    return {"self": f"{place.root}/schemas/{name}", "collection": f"{place.root}/{plural}"}


def _column(index: int, column: Column) -> Json:
    return {
        "name": column.name,
        "field": f"$.metadata.fields[{index}]",
        "type": column.type,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    }
