"""The thinnest `/v3/clusters` and `/v3/clusterregistrationtokens`, until the façade proper replaces them.

Reads and writes as the user who asks (contract: clusters §4.2, §4.3, §2.1).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from outrider.apis.management.cluster import CLUSTERS, Cluster
from outrider.apis.management.cluster_spec import ClusterSpec
from outrider.apis.management.group import CREATOR_ID, LOCAL_CLUSTER
from outrider.apis.management.node import Node
from outrider.apis.management.registration_token import REGISTRATION_TOKENS, ClusterRegistrationToken
from outrider.apis.norman import NormanError
from outrider.features.clusters.commands import commands
from outrider.features.clusters.endpoints import endpoints
from outrider.features.clusters.kubeconfigs import kubeconfig
from outrider.features.clusters.manifest import ca_checksum
from outrider.features.clusters.norman import cluster_view, collection, matches, registration_view
from outrider.features.clusters.reconcile_cluster import NAME_INDEX
from outrider.features.clusters.requests import answer, as_caller, base_url, body_of, caller_of
from outrider.features.clusters.settings import ClusterSettings
from outrider.features.clusters.view import readable_token, readable_tokens, with_token
from outrider.kit.clock import Clock
from outrider.kube.client import Client
from outrider.kube.errors import NotFound
from outrider.kube.meta import ObjectKey
from outrider.link.messages import Claim
from outrider.runtime.store import Lister

MintToken = Callable[[Claim, str], Awaitable[str]]
"""Makes a kubeconfig token for whoever has the claim; the second argument is the cluster that it is limited to,
empty for none. Never may it reach further than the credential that the claim came with."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_SPEC_FIELDS: Final = frozenset(
    field.encode_name for field in msgspec.structs.fields(ClusterSpec) if field.name not in ("display_name", "internal")
)  # fmt: skip


class ClusterRoutes:
    """Routes of clusters and their registrations. `patience` is how long a new object is waited for."""

    def __init__(
        self,
        *,
        client: Client,
        clusters: Lister[Cluster],
        nodes: Lister[Node],
        settings: ClusterSettings,
        mint_token: MintToken,
        clock: Clock,
        patience: float = 5.0,
    ) -> None:
        self._client = client
        self._clusters = clusters
        self._nodes = nodes
        self._settings = settings
        self._mint_token = mint_token
        self._clock = clock
        self._patience = patience
        self._creating = asyncio.Lock()

    def routes(self) -> list[Route]:
        """All of them, in the spellings that clients use."""
        found = [
            Route("/v3/clusters", self.list_clusters, methods=["GET"]),
            Route("/v3/clusters", self.create_cluster, methods=["POST"]),
            Route("/v3/clusters/{id}", self.get_cluster, methods=["GET"]),
            Route("/v3/clusters/{id}", self.act_on_cluster, methods=["POST"]),
            Route("/v3/clusters/{id}", self.delete_cluster, methods=["DELETE"]),
        ]
        for plural in ("clusterregistrationtokens", "clusterRegistrationTokens"):
            path = f"/v3/{plural}"
            found += [
                Route(path, self.list_registrations, methods=["GET"]),
                Route(path, self.create_registration, methods=["POST"]),
                Route(path + "/{id}", self.get_registration, methods=["GET"]),
                Route(path + "/{id}", self.delete_registration, methods=["DELETE"]),
                Route("/v3/clusters/{cluster}/" + plural, self.list_registrations, methods=["GET"]),
            ]
        return found

    # Clusters

    async def list_clusters(self, request: Request) -> Response:
        """All clusters, if the user may list them."""
        found = await as_caller(self._client, request).list(CLUSTERS)
        views = [self._view(request, cluster) for cluster in found.items]
        kept = [view for view in views if matches(view, request.query_params.multi_items())]
        return answer(collection("cluster", "clusters", kept, base=base_url(request)))

    async def get_cluster(self, request: Request) -> Response:
        """One cluster."""
        cluster = await as_caller(self._client, request).get(CLUSTERS, _path_name(request, "id"))
        return answer(self._view(request, cluster))

    async def create_cluster(self, request: Request) -> Response:
        """Create a cluster that is to be imported."""
        user = as_caller(self._client, request)
        body = await body_of(request)
        name = body.get("name")
        if not isinstance(name, str) or not name.strip():
            raise NormanError(422, "give the cluster a name", code="MissingRequired", field="Cluster name")
        async with self._creating:
            self._check_free(name)
            made = await user.create(CLUSTERS, new_cluster(body, creator=caller_of(request).user))
            # Within the lock until the name is known here, so that two requests cannot both find it free
            await self._until(lambda: self._clusters.get(made.key))
        return answer(self._view(request, made), 201)

    def _check_free(self, name: str) -> None:
        if any(not other.is_deleting for other in self._clusters.index(NAME_INDEX, name.casefold())):
            raise NormanError(
                422, f"a cluster named {name} exists already", code="NotUnique", field="Cluster name"
            )

    async def delete_cluster(self, request: Request) -> Response:
        """Delete a cluster's record; the cluster itself goes on."""
        user, name = as_caller(self._client, request), _path_name(request, "id")
        if name == LOCAL_CLUSTER:
            raise NormanError(405, "the cluster 'local' is this server's own and cannot be removed")
        cluster = await user.get(CLUSTERS, name)
        await user.delete(CLUSTERS, name, uid=cluster.metadata.uid)
        with contextlib.suppress(NotFound):
            cluster = await user.get(CLUSTERS, name)
        return answer(self._view(request, cluster))

    async def act_on_cluster(self, request: Request) -> Response:
        """`?action=generateKubeconfig`; nothing else is offered."""
        user, name = as_caller(self._client, request), _path_name(request, "id")
        cluster = await user.get(CLUSTERS, name)
        if request.query_params.get("action", "").lower() != "generatekubeconfig":
            raise NormanError(404, "this action is not available", code="ActionNotAvailable")
        ways = endpoints(cluster, self._nodes.list(name))
        token = ""
        if self._settings.value("kubeconfig-generate-token") != "false":
            token = await self._mint_token(caller_of(request), name if ways else "")
        config = kubeconfig(
            cluster=name,
            display_name=cluster.spec.display_name,
            server_url=self._settings.value("server-url") or base_url(request),
            cacerts=self._settings.value("cacerts"),
            token=token,
            endpoints=ways,
        )
        kind = "generateKubeConfigOutput"
        return answer({"type": kind, "baseType": kind, "config": config})

    def _view(self, request: Request, cluster: Cluster) -> dict[str, Any]:
        count = sum(1 for _ in self._nodes.list(cluster.metadata.name))
        return cluster_view(cluster, base=base_url(request), node_count=count, now=self._clock.now())

    # Registrations

    async def list_registrations(self, request: Request) -> Response:
        """The registrations of one cluster, or of all."""
        user = as_caller(self._client, request)
        cluster = request.path_params.get("cluster") or request.query_params.get("clusterId", "")
        if cluster and not _NAME.fullmatch(cluster):
            raise NormanError(404, "no such cluster")
        found = await user.list(REGISTRATION_TOKENS, cluster)
        tokens = await readable_tokens(user, found.items, cluster)
        views = [self._shown(request, *pair) for pair in zip(found.items, tokens, strict=True)]
        kept = [view for view in views if matches(view, request.query_params.multi_items())]
        kind, plural = "clusterRegistrationToken", "clusterregistrationtokens"
        return answer(collection(kind, plural, kept, base=base_url(request)))

    async def get_registration(self, request: Request) -> Response:
        """One registration, with its commands."""
        user = as_caller(self._client, request)
        namespace, name = _pair(request)
        return answer(
            await self._registration(request, user, await user.get(REGISTRATION_TOKENS, name, namespace))
        )

    async def create_registration(self, request: Request) -> Response:
        """A further registration; answers when its commands are there, or after a moment without them."""
        user, body = as_caller(self._client, request), await body_of(request)
        cluster = body.get("clusterId") or body.get("clusterName")
        if not isinstance(cluster, str) or not _NAME.fullmatch(cluster):
            raise NormanError(422, "clusterId is missing", code="MissingRequired", field="clusterId")
        await user.get(CLUSTERS, cluster)
        made = await user.create(REGISTRATION_TOKENS, new_registration(cluster, body))
        key = made.key

        async def filled() -> ClusterRegistrationToken | None:
            now = await user.get(REGISTRATION_TOKENS, key.name, key.namespace)
            return now if now.status.token_secret_name else None

        made = await self._eventually(filled) or made
        return answer(await self._registration(request, user, made), 201)

    async def delete_registration(self, request: Request) -> Response:
        """Delete a registration; its token is void at once."""
        user = as_caller(self._client, request)
        namespace, name = _pair(request)
        registration = await user.get(REGISTRATION_TOKENS, name, namespace)
        await user.delete(REGISTRATION_TOKENS, name, namespace, uid=registration.metadata.uid)
        return answer(self._shown(request, registration, ""))

    async def _registration(
        self, request: Request, user: Client, registration: ClusterRegistrationToken
    ) -> dict[str, Any]:
        return self._shown(request, registration, await readable_token(user, registration))

    def _shown(self, request: Request, registration: ClusterRegistrationToken, token: str) -> dict[str, Any]:
        if not registration.status.command:
            registration = self._with_commands(registration, base_url(request))
        shown = with_token(registration, token)
        return registration_view(shown, base=base_url(request), now=self._clock.now())

    def _with_commands(
        self, registration: ClusterRegistrationToken, server_url: str
    ) -> ClusterRegistrationToken:
        """While the setting is empty nothing can be stored: what the client used is as good."""
        cluster = self._clusters.get(ObjectKey("", registration.metadata.namespace))
        lines = commands(
            server_url=server_url,
            cluster=registration.metadata.namespace,
            ca_checksum=ca_checksum(self._settings.value("cacerts")),
            env=(cluster.spec.agent_env_vars if cluster else None) or (),
        )
        status = msgspec.structs.replace(registration.status, **msgspec.structs.asdict(lines))
        return msgspec.structs.replace(registration, status=status)

    async def _until(self, found: Callable[[], object]) -> None:
        async def look() -> object:
            return found()

        await self._eventually(look)

    async def _eventually(self, look: Callable[[], Awaitable[Any]]) -> Any:
        deadline = self._clock.monotonic() + self._patience
        while True:
            result = await look()
            if result is not None or self._clock.monotonic() >= deadline:
                return result
            await asyncio.sleep(0.02)


def _path_name(request: Request, key: str) -> str:
    name: str = request.path_params[key]
    if len(name) > 253 or not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", name):
        raise NormanError(404, "no such object")
    return name


def _pair(request: Request) -> ObjectKey:
    namespace, colon, name = str(request.path_params["id"]).partition(":")
    if not colon or not _NAME.fullmatch(namespace) or not re.fullmatch(r"[a-z0-9][-a-z0-9.]{0,252}", name):
        raise NormanError(404, "no such object: an id is <cluster>:<name>")
    return ObjectKey(namespace, name)


def new_cluster(body: dict[str, Any], *, creator: str) -> dict[str, Any]:
    """The object that a `/v3` body asks for; what the spec does not know is left out."""
    given = body.get("annotations")
    annotations = dict(given) if isinstance(given, dict) else {}
    if creator:
        annotations[CREATOR_ID] = creator
    spec = {key: value for key, value in body.items() if key in _SPEC_FIELDS and value is not None}
    # Whoever imports says so by leaving out the provider
    if not any(key.endswith("Config") for key in spec):
        spec["importedConfig"] = {}
    labels = body.get("labels")
    return {
        "metadata": {
            "generateName": "c-",
            "annotations": annotations,
            "labels": labels if isinstance(labels, dict) else {},
        },
        "spec": {**spec, "displayName": body["name"]},
    }


def new_registration(cluster: str, body: dict[str, Any]) -> dict[str, Any]:
    """The object that a `/v3` body asks for."""
    name = body.get("name")
    named = {"name": name} if isinstance(name, str) and name else {"generateName": "crt-"}
    numbers: Iterable[tuple[str, Any]] = ((key, body.get(key)) for key in ("ttl", "gracePeriod"))
    spec = {key: value for key, value in numbers if value is not None}
    return {"metadata": {**named, "namespace": cluster}, "spec": {"clusterName": cluster, **spec}}
