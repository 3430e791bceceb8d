"""Which kinds a cluster serves (Kubernetes: aggregated discovery, KEP-3352), and what `/v1` calls them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from outrider.facade.v3.edge import gather
from outrider.kube.builtin import untyped
from outrider.kube.client import Client
from outrider.kube.errors import ApiError, DecodeError
from outrider.kube.kind import Kind
from outrider.kube.transport import Request, Response

_AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"


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


@dataclass
class _Known:
    """What was read of a cluster, and when; parts by path, with what they were tagged."""

    catalogue: Catalogue
    read_at: float
    tags: dict[str, tuple[str, list[Resource]]]


class Discovery:
    """The kinds of clusters, read as whoever asks and kept for `fresh` seconds; unchanged answers cost no body."""

    def __init__(
        self, *, fresh: float = 3.0, now: Callable[[], float] | None = None, most: int = 256
    ) -> None:
        self._fresh = fresh
        self._now = now
        self._most = most
        self._known: dict[str, _Known] = {}

    async def read(self, client: Client, cluster: str, *, anew: bool = False) -> Catalogue:
        """The catalogue of a cluster; `anew`, as it is now. Raises KubeError."""
        now = asyncio.get_running_loop().time() if self._now is None else self._now()
        known = self._known.get(cluster)
        if known is not None and not anew and now - known.read_at < self._fresh:
            return known.catalogue
        tags = known.tags if known is not None else {}
        parts = await asyncio.gather(
            *(self._part(client, path, tags.get(path)) for path in ("/api", "/apis"))
        )
        found = dict(zip(("/api", "/apis"), parts, strict=True))
        if known is not None and found == known.tags:
            known.read_at = now
            return known.catalogue
        catalogue = Catalogue(resource for _, resources in parts for resource in resources)
        self._known.pop(cluster, None)
        self._known[cluster] = _Known(catalogue, now, found)
        if len(self._known) > self._most:
            self._known.pop(next(iter(self._known)))
        return catalogue

    async def find(self, client: Client, cluster: str, name: str) -> tuple[Catalogue, Resource | None]:
        """The catalogue with the kind of that name; what is not known is looked for anew."""
        catalogue = await self.read(client, cluster)
        resource = catalogue.find(name)
        if resource is None:
            catalogue = await self.read(client, cluster, anew=True)
            resource = catalogue.find(name)
        return catalogue, resource

    async def _part(
        self, client: Client, path: str, held: tuple[str, list[Resource]] | None
    ) -> tuple[str, list[Resource]]:
        asked = [("If-None-Match", held[0])] if held is not None and held[0] else []
        answered = await client.raw(
            Request(method="GET", path=path, headers=[("Accept", _AGGREGATED), *asked])
        )
        if answered.status == 304 and held is not None:
            return held
        if answered.status != 200:
            raise ApiError.from_response(answered.status, answered.body, answered.headers)
        if "apidiscovery" in answered.headers.get("content-type", ""):
            return answered.headers.get("etag", ""), list(_aggregated(answered))
        return "", await _one_by_one(client, path, answered)


class _Sub(msgspec.Struct):
    subresource: str = ""


class _Kind(msgspec.Struct):
    kind: str = ""


class _Resource(msgspec.Struct, rename="camel"):
    resource: str
    response_kind: _Kind | None = None
    scope: str = ""
    verbs: list[str] = []
    subresources: list[_Sub] = []


class _Version(msgspec.Struct):
    version: str
    resources: list[_Resource] = []


class _Name(msgspec.Struct):
    name: str = ""


class _Group(msgspec.Struct):
    metadata: _Name = msgspec.field(default_factory=_Name)
    versions: list[_Version] = []


class _Groups(msgspec.Struct):
    items: list[_Group] = []


def _aggregated(answered: Response) -> Iterator[Resource]:
    for group in _decoded(answered.body, _Groups).items:
        for rank, version in enumerate(group.versions):
            for one in version.resources:
                kind = one.response_kind.kind if one.response_kind is not None else ""
                if kind and one.verbs:
                    yield Resource(
                        untyped(
                            group.metadata.name,
                            version.version,
                            one.resource,
                            kind,
                            namespaced=one.scope == "Namespaced",
                        ),
                        frozenset(one.verbs),
                        frozenset(sub.subresource for sub in one.subresources),
                        preferred=rank == 0,
                    )


class _OldResource(msgspec.Struct):
    name: str
    kind: str = ""
    namespaced: bool = False
    verbs: list[str] = []


class _OldResources(msgspec.Struct, rename="camel"):
    group_version: str = ""
    resources: list[_OldResource] = []


class _OldVersion(msgspec.Struct, rename="camel"):
    group_version: str


class _OldGroup(msgspec.Struct, rename="camel"):
    versions: list[_OldVersion] = []
    preferred_version: _OldVersion | None = None


class _OldGroups(msgspec.Struct):
    groups: list[_OldGroup] = []


async def _one_by_one(client: Client, path: str, answered: Response) -> list[Resource]:
    """What a server older than 1.26 tells, one version of one group at a time."""
    if path == "/api":
        return await _of_version(client, "/api/v1", preferred=True)
    asked: list[tuple[str, bool]] = []
    for group in _decoded(answered.body, _OldGroups).groups:
        best = group.preferred_version.group_version if group.preferred_version is not None else ""
        asked += [
            (f"/apis/{version.group_version}", version.group_version == best) for version in group.versions
        ]
    parts = await gather(lambda one=one: _of_version(client, one[0], preferred=one[1]) for one in asked)  # type: ignore[misc]
    return [resource for part in parts for resource in part]


async def _of_version(client: Client, path: str, *, preferred: bool) -> list[Resource]:
    answered = await client.raw(Request(method="GET", path=path))
    if answered.status != 200:
        return []  # an aggregated server that is away hides its own kinds only
    listed = _decoded(answered.body, _OldResources)
    group, _, version = listed.group_version.rpartition("/")
    subresources: dict[str, set[str]] = {}
    for one in listed.resources:
        name, slash, sub = one.name.partition("/")
        if slash:
            subresources.setdefault(name, set()).add(sub)
    return [
        Resource(
            untyped(group, version, one.name, one.kind, namespaced=one.namespaced),
            frozenset(one.verbs),
            frozenset(subresources.get(one.name, ())),
            preferred=preferred,
        )
        for one in listed.resources
        if "/" not in one.name
    ]


def _decoded(body: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise DecodeError(f"cannot read what kinds the cluster serves: {error}") from None


def _joined(group: str, name: str) -> str:
    return f"{group}.{name}" if group else name
