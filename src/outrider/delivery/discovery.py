"""Finds the resource that serves a kind, for objects whose kinds are only known when they arrive."""

from __future__ import annotations

import msgspec

from outrider.delivery.presence import Presence
from outrider.kube.client import Client
from outrider.kube.errors import DecodeError, NotFound
from outrider.kube.kind import Kind


class _Resource(msgspec.Struct):
    name: str
    kind: str
    namespaced: bool = False


class _Resources(msgspec.Struct):
    resources: list[_Resource] = []


class Discovery:
    """Kinds by apiVersion and kind, of which answers hold the metadata only; what is not known is asked for."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._kinds: dict[tuple[str, str], Kind[Presence]] = {}

    async def kind(self, api_version: str, kind: str) -> Kind[Presence]:
        """The served resource. Raises NotFound when the cluster has no such kind, KubeError."""
        found = self._kinds.get((api_version, kind))
        if found is not None:
            return found
        await self._read(api_version)
        found = self._kinds.get((api_version, kind))
        if found is None:
            raise NotFound(f"the cluster has no kind {kind} in {api_version}")
        return found

    def forget(self, api_version: str, kind: str) -> None:
        """The resource was not there: it may be served otherwise by now."""
        self._kinds.pop((api_version, kind), None)

    async def _read(self, api_version: str) -> None:
        group, _, version = api_version.rpartition("/")
        path = f"/apis/{group}/{version}" if group else f"/api/{version}"
        try:
            listed = msgspec.convert(await self._client.get_json(path), _Resources)
        except msgspec.ValidationError as error:
            raise DecodeError(f"the answer of {path} is not a list of resources: {error}") from None
        for resource in listed.resources:
            if "/" not in resource.name:
                self._kinds[(api_version, resource.kind)] = Kind(
                    group=group,
                    version=version,
                    plural=resource.name,
                    kind=resource.kind,
                    namespaced=resource.namespaced,
                    type=Presence,
                    metadata_only=True,
                )
