"""The façade's way into clusters: through this replica's gateway, as whoever asks.

The gateway sends a request down the cluster's tunnel, and the agent acts as the identity that goes with it. Whether
somebody may reach a cluster at all is decided here, by the API server: whoever may `get` its record may.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import msgspec

from outrider.apis.management.cluster import CLUSTERS
from outrider.apis.management.group import LOCAL_CLUSTER
from outrider.apis.norman import NormanError, Unauthenticated, retry_later
from outrider.kube.client import Client
from outrider.kube.errors import Forbidden, NotFound, TransportError
from outrider.kube.identity import Identity
from outrider.kube.kubeconfig import ClusterAccess
from outrider.kube.transport import HttpTransport, Request, Response, StreamedResponse, Transport
from outrider.link.messages import CLAIM_HEADER, CLUSTER_HEADER, Claim

WATCHES = 4096
"""Watches in all clusters together: one for each kind that somebody follows in one, who is there as themselves."""

_DISCONNECTED = 503


class ClusterReach:
    """Makes clients of clusters. `client` is the server's own at the management cluster, `socket` the gateway's."""

    def __init__(self, client: Client, socket: Path) -> None:
        self._client = client
        self._transport = HttpTransport(ClusterAccess(server=f"unix:{socket}"), max_streams=WATCHES)

    async def client(self, cluster: str, claim: Claim) -> Client:
        """A client that acts in a cluster as whoever has the claim.

        Raises NormanError: 404 for a cluster that is not there or not theirs, which nothing tells apart.
        """
        if claim.identity is None:
            raise Unauthenticated(claim.message)
        as_user = self._client.as_user(claim.identity)
        try:
            await as_user.get(CLUSTERS, cluster)
        except (Forbidden, NotFound, ValueError):
            raise NormanError(404, "failed to find cluster") from None
        if cluster == LOCAL_CLUSTER:
            return as_user
        return Client(Tunnelled(self._transport, cluster, claim.identity), max_retries=0)

    async def close(self) -> None:
        """Release the connections."""
        await self._transport.close()


class Tunnelled:
    """Carries requests to one cluster with one identity; that it cannot be reached is an answer, 503."""

    def __init__(self, transport: Transport, cluster: str, identity: Identity) -> None:
        encoded = base64.urlsafe_b64encode(msgspec.json.encode(identity)).decode("ascii")
        self._added = [(CLUSTER_HEADER, cluster), (CLAIM_HEADER, encoded)]
        self._transport = transport
        self._cluster = cluster

    async def request(self, request: Request, *, timeout: float) -> Response:
        """Send and wait for the whole answer."""
        try:
            answered = await self._transport.request(self._marked(request), timeout=timeout)
        except TransportError:
            raise unavailable(self._cluster) from None
        self._check(answered.status, answered.headers)
        return answered

    def stream(self, request: Request, *, timeout: float) -> AbstractAsyncContextManager[StreamedResponse]:
        """Send and read the answer as it comes."""
        return self._stream(request, timeout)

    @asynccontextmanager
    async def _stream(self, request: Request, timeout: float) -> AsyncIterator[StreamedResponse]:
        async with self._transport.stream(self._marked(request), timeout=timeout) as answered:
            self._check(answered.status, answered.headers)
            yield answered

    async def close(self) -> None:
        """Nothing: the connections are everybody's."""

    def _marked(self, request: Request) -> Request:
        return msgspec.structs.replace(request, headers=[*request.headers, *self._added])

    def _check(self, status: int, headers: Mapping[str, str]) -> None:
        # the gateway's own refusal; that of an API server names its audit
        if status == _DISCONNECTED and "audit-id" not in headers:
            raise unavailable(self._cluster)


def unavailable(cluster: str) -> NormanError:
    """The answer for a cluster that is not connected (contract, auth-and-rbac §4.2)."""
    return retry_later(
        _DISCONNECTED, f"cluster {cluster}: cluster agent disconnected", 5.0, code="ClusterUnavailable"
    )
