"""What servers tell of their kinds: in one document (KEP-3352), and as those before 1.26 do, one version at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from outrider.facade.v1.catalogue import Resource
from outrider.facade.v3.edge import gather
from outrider.kube.builtin import untyped
from outrider.kube.client import Client
from outrider.kube.errors import DecodeError
from outrider.kube.transport import Request, Response


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


def aggregated(answered: Response) -> Iterator[Resource]:
    """The kinds in one document. Raises DecodeError."""
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


async def one_by_one(client: Client, path: str, answered: Response) -> list[Resource]:
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
