"""What an agent needs before it has any credential: manifest and CA (contract: §2.2, §2.4)."""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from outrider.apis.management.cluster import Cluster
from outrider.features.clusters.manifest import normal_pem, render
from outrider.features.clusters.manifests import Manifests
from outrider.features.clusters.registry import Registry
from outrider.features.clusters.requests import base_url
from outrider.features.clusters.settings import ClusterSettings
from outrider.kit.clock import Clock
from outrider.kube.client import Client
from outrider.kube.meta import ObjectKey
from outrider.link.claims import claim_of
from outrider.runtime.store import Lister

_UNKNOWN: Final = "cluster not found or invalid token"
_MALFORMED: Final = "invalid filename format, expected {token}_{clusterId}.yaml"
_IMAGE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._:/@-]{0,511}", re.ASCII)
_URL = re.compile(
    r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?", re.ASCII
)


class AddressBuckets:
    """Token buckets by address: `rate` a second, `burst` at once; the `size` used last are remembered."""

    def __init__(self, clock: Clock, *, rate: float = 2.0, burst: int = 60, size: int = 20_000) -> None:
        self._clock = clock
        self._rate = rate
        self._burst = float(burst)
        self._size = size
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allow(self, address: str) -> bool:
        """Take one token of the address; False when it has none left."""
        now = self._clock.monotonic()
        level, since = self._levels.pop(address, (self._burst, now))
        level = min(self._burst, level + (now - since) * self._rate)
        allowed = level >= 1.0
        self._levels[address] = (level - 1.0 if allowed else level, now)
        if len(self._levels) > self._size:
            self._levels.popitem(last=False)
        return allowed


class ImportRoutes:
    """`/v3/import/…`, `/cacerts`."""

    def __init__(
        self,
        *,
        client: Client,
        clusters: Lister[Cluster],
        registry: Registry,
        manifests: Manifests,
        settings: ClusterSettings,
        buckets: AddressBuckets,
    ) -> None:
        self._client = client
        self._clusters = clusters
        self._registry = registry
        self._manifests = manifests
        self._settings = settings
        self._buckets = buckets

    def routes(self) -> list[Route]:
        """GET, and with it HEAD."""
        return [
            Route("/v3/import/{file}", self.manifest, methods=["GET"]),
            Route("/cacerts", self.cacerts, methods=["GET"]),
        ]

    async def manifest(self, request: Request) -> Response:
        """The YAML to apply; the token in the path is the only credential."""
        if not self._buckets.allow(claim_of(request.scope).remote):
            return PlainTextResponse("too many requests", 429, {"Retry-After": "5"})
        name: str = request.path_params["file"]
        if not name.endswith(".yaml"):
            return PlainTextResponse("404 page not found", 404)
        token, underscore, wanted = name.removesuffix(".yaml").partition("_")
        if underscore and not (token and wanted):
            return PlainTextResponse(_MALFORMED, 400)
        found = self._registry.find(token)
        cluster = self._clusters.get(ObjectKey("", found[0])) if found else None
        if cluster is None or (underscore and cluster.metadata.name != wanted):
            # The short form has no cluster to be wrong about: there is no such file
            return PlainTextResponse(_UNKNOWN, 400 if underscore else 404)
        image = request.query_params.get("authImage", "")
        if image == "fixed":
            image = self._settings.value("auth-image")
        elif image and not _IMAGE.fullmatch(image):
            return PlainTextResponse("invalid authImage - not an image reference", 400)
        return await self._render(request, cluster, token, image)

    async def _render(self, request: Request, cluster: Cluster, token: str, image: str) -> Response:
        server_url = self._settings.value("server-url") or base_url(request)
        if not _URL.fullmatch(server_url):
            return PlainTextResponse("the Host of the request is not a host name", 400)
        manifest = await self._manifests.make(cluster, token, server_url=server_url, auth_image=image)
        return PlainTextResponse(render(manifest), headers={"Cache-Control": "no-store"})

    async def cacerts(self, request: Request) -> Response:
        """The PEM certificates that this server's certificate is checked against."""
        pem = self._settings.value("cacerts")
        return PlainTextResponse(normal_pem(pem) if pem.strip() else "")
