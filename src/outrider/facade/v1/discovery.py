"""Reads which kinds a cluster serves, and keeps that for a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from outrider.facade.v1.catalogue import Catalogue, Resource
from outrider.facade.v1.discovered import aggregated, one_by_one
from outrider.kube.client import Client
from outrider.kube.errors import ApiError
from outrider.kube.transport import Request

_AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"


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
            return answered.headers.get("etag", ""), list(aggregated(answered))
        return "", await one_by_one(client, path, answered)
