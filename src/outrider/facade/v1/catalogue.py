"""The kinds of a cluster, and what `/v1` calls them; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from outrider.kube.kind import Kind


@dataclass(frozen=True)
class Resource:
    """One kind of a cluster. `preferred`: its version is the one that its group's server prefers."""

    kind: Kind[dict[str, Any]]
    verbs: frozenset[str]
    subresources: frozenset[str] = frozenset()
    preferred: bool = True

    @property
    def id(self) -> str:
        """The name of its type: `pod`, `apps.deployment`."""
        return _joined(self.kind.group, self.kind.kind.lower())

    @property
    def plural(self) -> str:
        """The name of its collection: `pods`, `apps.deployments`."""
        return _joined(self.kind.group, self.kind.plural)


class Catalogue:
    """The kinds of a cluster, each in one version."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._by_name: dict[str, Resource] = {}
        self._all: dict[str, Resource] = {}
        for resource in resources:
            if resource.id not in self._all or (resource.preferred and not self._all[resource.id].preferred):
                self._all[resource.id] = resource
        for resource in self._all.values():
            self._by_name.setdefault(resource.plural.lower(), resource)
        # a type's own name goes before another's plural
        self._by_name |= self._all

    def __iter__(self) -> Iterator[Resource]:
        return iter(self._all.values())

    def find(self, name: str) -> Resource | None:
        """The kind with a type's or a collection's name, whatever its case."""
        return self._by_name.get(name.lower())

    def of(self, api_version: str, kind: str) -> Resource | None:
        """The kind that an object or a reference names, in whatever version it is served."""
        group, slash, _ = api_version.partition("/")
        return self._all.get(_joined(group if slash else "", kind.lower()))


def _joined(group: str, name: str) -> str:
    return f"{group}.{name}" if group else name
