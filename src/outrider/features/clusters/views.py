"""How `/v3` shows clusters, their registrations and their nodes (contract: clusters §4.2, §4.3, §4.5, §2.1)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec

from outrider.apis.management.cluster import CLUSTERS, Cluster
from outrider.apis.management.group import LOCAL_CLUSTER
from outrider.apis.management.node import NODES, Node
from outrider.apis.management.registration_token import (
    REGISTRATION_TOKENS,
    ClusterRegistrationToken,
    ClusterRegistrationTokenStatus,
)
from outrider.apis.norman import NormanError
from outrider.apis.views.call import Call
from outrider.apis.views.view import (
    Access,
    Action,
    Context,
    Field,
    Hooks,
    InCluster,
    Invocation,
    Json,
    Need,
    Proceed,
    View,
)
from outrider.features.clusters.commands import commands
from outrider.features.clusters.endpoints import endpoints
from outrider.features.clusters.import_yaml import OUTPUT, Import, import_yaml
from outrider.features.clusters.kubeconfigs import Target, kubeconfig
from outrider.features.clusters.manifest import ca_checksum
from outrider.features.clusters.reconcile_cluster import NAME_INDEX
from outrider.features.clusters.settings import ClusterSettings
from outrider.features.clusters.view import readable_tokens, with_token
from outrider.kit.clock import Clock
from outrider.kube.client import Client
from outrider.kube.meta import ObjectKey
from outrider.link.messages import Claim
from outrider.runtime.store import Lister

MintToken = Callable[[Claim, str], Awaitable[str]]
"""Makes a kubeconfig token for whoever has the claim; the second argument is the cluster that it is limited to,
empty for none. Never may it reach further than the credential that the claim came with."""

Reach = Callable[[str, Claim], Awaitable[Client]]
"""A client that acts in a cluster as whoever has the claim. Raises NormanError for one that is out of reach."""

_KUBECONFIG_OUTPUT: Final = "generateKubeConfigOutput"
_SECRET_FIELDS: Final = ("kubeConfig",)
_LINKS: Final = (
    "nodes", "projects", "namespaces", "clusterRegistrationTokens", "clusterRoleTemplateBindings", "subscribe",
    "schemas", "nodePools", "persistentVolumes", "storageClasses", "apiServices", "etcdBackups",
)  # fmt: skip
_BLANK: Final = Field(access=Access.READ, absent="")
_STATUS_NAMES: Final = dict(
    zip(
        ClusterRegistrationTokenStatus.__struct_fields__,
        ClusterRegistrationTokenStatus.__struct_encode_fields__,
        strict=True,
    )
)


class ClusterViews:
    """The views of clusters and of what belongs to one. `patience` is how long a new object is waited for."""

    def __init__(
        self,
        *,
        clusters: Lister[Cluster],
        nodes: Lister[Node],
        settings: ClusterSettings,
        mint_token: MintToken,
        reach: Reach,
        clock: Clock,
        patience: float = 5.0,
    ) -> None:
        self._clusters = clusters
        self._nodes = nodes
        self._settings = settings
        self._mint_token = mint_token
        self._reach = reach
        self._clock = clock
        self._patience = patience
        self._naming = asyncio.Lock()

    def views(self) -> list[View]:
        """All of them."""
        return [self._cluster_view(), self._registration_view(), node_view()]

    # Clusters

    def _cluster_view(self) -> View:
        return View(
            kind=CLUSTERS,
            type="cluster",
            plural="clusters",
            names={"displayName": "name"},
            fields=CLUSTER_FIELDS,
            hidden=frozenset({"state", "serviceAccountToken", "serviceAccountTokenSecret", "clusterSecrets"}),
            generate_name="c-",
            actions=(
                Action(
                    name="generateKubeconfig",
                    run=self._generate_kubeconfig,
                    need=Need(verb="get"),
                    output=_KUBECONFIG_OUTPUT,
                ),
                Action(
                    name="importYaml",
                    run=self._import_yaml,
                    need=Need(verb="get"),
                    input="importClusterYamlInput",
                    output=OUTPUT,
                ),
            ),
            links=_LINKS,
            opens=Context.CLUSTER,
            compute=self._compute,
            removable=lambda cluster: cluster["metadata"]["name"] != LOCAL_CLUSTER,
            hooks=Hooks(create=self._create, update=self._rename),
            settles=True,
        )

    def _compute(self, cluster: Json, _: Call) -> Json:
        name = cluster["metadata"]["name"]
        computed: Json = {"nodeCount": sum(1 for _ in self._nodes.list(name))}
        imported = (cluster.get("spec") or {}).get("importedConfig")
        if isinstance(imported, dict):
            computed["importedConfig"] = {
                key: value for key, value in imported.items() if key not in _SECRET_FIELDS
            }
        return computed

    async def _create(self, _: Call, draft: Json, body: Json, proceed: Proceed) -> Json:
        spec = draft["spec"]
        name = _display_name(body)
        # Whoever imports says so by leaving out the provider
        if not any(key.endswith("Config") for key in spec):
            spec["importedConfig"] = {}
        async with self._naming:
            self._check_free(name)
            made = await proceed(draft)
            # Within the lock until the name is known here, so that two requests cannot both find it free
            key = ObjectKey("", made["metadata"]["name"])
            await self._eventually(lambda: self._clusters.get(key))
        return made

    async def _rename(self, _: Call, old: Json, patch: Json, body: Json, proceed: Proceed) -> Json:
        if "displayName" in (patch.get("spec") or {}):
            self._check_free(_display_name(body), except_for=old["metadata"]["name"])
        return await proceed(patch)

    def _check_free(self, name: str, *, except_for: str = "") -> None:
        others = self._clusters.index(NAME_INDEX, name.casefold())
        if any(not other.is_deleting and other.metadata.name != except_for for other in others):
            raise NormanError(
                422, f"a cluster named {name} exists already", code="NotUnique", field="Cluster name"
            )

    async def _generate_kubeconfig(self, asked: Invocation) -> Json:
        call = asked.call
        cluster = msgspec.convert(asked.object, Cluster)
        name = cluster.metadata.name
        ways = endpoints(cluster, self._nodes.list(name))
        token = ""
        if self._settings.value("kubeconfig-generate-token") != "false":
            token = await self._mint_token(_claim(call), name if ways else "")
        config = kubeconfig(
            [Target(cluster=name, name=cluster.spec.display_name, token=token, endpoints=tuple(ways))],
            server_url=self._settings.value("server-url") or call.base,
            cacerts=self._settings.value("cacerts"),
        )
        return {"type": _KUBECONFIG_OUTPUT, "baseType": _KUBECONFIG_OUTPUT, "config": config}

    async def _import_yaml(self, asked: Invocation) -> Json:
        name = (asked.object or {})["metadata"]["name"]
        wanted = Import(name, asked.body)
        return await import_yaml(await self._reach(name, _claim(asked.call)), wanted)

    # Registrations

    def _registration_view(self) -> View:
        blank = dict.fromkeys(("token", *_COMMANDS), _BLANK)
        return View(
            kind=REGISTRATION_TOKENS,
            type="clusterRegistrationToken",
            plural="clusterRegistrationTokens",
            names={"clusterName": "clusterId"},
            fields={
                "clusterId": Field(access=Access.CREATE, type="reference[cluster]", required=True),
                **blank,
            },
            hidden=frozenset({"tokenSecretName"}),
            placement=InCluster(),
            generate_name="crt-",
            methods=frozenset({"GET", "POST", "PUT", "DELETE"}),
            prepare=self._with_tokens,
            hooks=Hooks(create=self._create_registration),
        )

    async def _create_registration(self, call: Call, draft: Json, _: Json, proceed: Proceed) -> Json:
        """Answers when the commands are there, or after a moment without them."""
        await call.client.get(CLUSTERS, draft["metadata"]["namespace"])
        made = await proceed(draft)
        key = ObjectKey(made["metadata"]["namespace"], made["metadata"]["name"])
        deadline = self._clock.monotonic() + self._patience
        while True:
            now = await call.client.get(REGISTRATION_TOKENS, key.name, key.namespace)
            if now.status.token_secret_name or self._clock.monotonic() >= deadline:
                return REGISTRATION_TOKENS.encode(now)
            await self._clock.sleep(0.02)

    async def _with_tokens(self, call: Call, objects: Sequence[Json]) -> Sequence[Json]:
        """The registrations with their tokens, as far as the user may read their Secrets."""
        found = [msgspec.convert(one, ClusterRegistrationToken) for one in objects]
        namespaces = {one.metadata.namespace for one in found}
        tokens = await readable_tokens(call.client, found, namespaces.pop() if len(namespaces) == 1 else "")
        return [
            {**stored, "status": {**(stored.get("status") or {}), **self._filled(one, token, call.base)}}
            for stored, one, token in zip(objects, found, tokens, strict=True)
        ]

    def _filled(self, registration: ClusterRegistrationToken, token: str, base: str) -> Json:
        if not registration.status.command:
            registration = self._with_commands(registration, base)
        status = with_token(registration, token).status
        shown = {"token", *_COMMANDS}
        return {wire: getattr(status, name) for name, wire in _STATUS_NAMES.items() if wire in shown}

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

    async def _eventually(self, look: Callable[[], object]) -> None:
        deadline = self._clock.monotonic() + self._patience
        while look() is None and self._clock.monotonic() < deadline:
            await self._clock.sleep(0.02)


_COMMANDS: Final = (
    "command", "insecureCommand", "manifestUrl", "nodeCommand", "insecureNodeCommand", "windowsNodeCommand",
    "insecureWindowsNodeCommand",
)  # fmt: skip

CLUSTER_FIELDS: Final[dict[str, Field]] = {
    "name": Field(type="dnsLabel"),
    "internal": Field(access=Access.READ, absent=False),
    "description": Field(absent=""),
    "enableNetworkPolicy": Field(default=False),
    "windowsPreferedCluster": Field(access=Access.CREATE),
    "driver": _BLANK,
    "provider": _BLANK,
    "connected": Field(access=Access.READ, absent=False),
    "conditions": Field(access=Access.READ, absent=()),
    "componentStatuses": Field(access=Access.READ, absent=()),
    "nodeCount": Field(access=Access.READ, type="int", absent=0),
}


def _claim(call: Call) -> Claim:
    return Claim(identity=call.identity, user=call.user, token=call.token, remote=call.remote)


def _display_name(body: Json) -> str:
    name = body.get("name")
    if not isinstance(name, str) or not name.strip():
        raise NormanError(422, "give the cluster a name", code="MissingRequired", field="Cluster name")
    return name


# Nodes


def node_view() -> View:
    """Nodes, flat: what their cluster says of them beside the part that they have in it."""
    return View(
        kind=NODES,
        type="node",
        plural="nodes",
        names={"displayName": "name", "requestedHostname": "hostname"},
        fields={
            "name": Field(access=Access.READ),
            "hostname": Field(access=Access.READ),
            "labels": Field(access=Access.READ, type="map[string]"),
            "annotations": Field(access=Access.READ, type="map[string]"),
            "clusterId": Field(access=Access.READ, type="reference[cluster]"),
            "ipAddress": _BLANK,
            "externalIpAddress": _BLANK,
            **dict.fromkeys(
                ("etcd", "controlPlane", "worker", "imported"), Field(access=Access.READ, absent=False)
            ),
        },
        hidden=frozenset({"internalNodeSpec", "internalNodeStatus", "nodeLabels", "nodeAnnotations"}),
        placement=InCluster(),
        methods=frozenset({"GET", "DELETE"}),
        compute=_node_fields,
    )


def _node_fields(node: Json, _: Call) -> Json:
    spec, status = node.get("spec") or {}, node.get("status") or {}
    inner_spec, inner = spec.get("internalNodeSpec") or {}, status.get("internalNodeStatus") or {}
    addresses = {one.get("type"): one.get("address") for one in inner.get("addresses") or () if one}
    mirrored = status.get("conditions") or []
    known = {one.get("type") for one in mirrored}
    further = [one for one in inner.get("conditions") or () if one.get("type") not in known]
    computed: dict[str, Any] = {
        **{key: value for key, value in inner_spec.items() if key not in ("taints",)},
        **{key: value for key, value in inner.items() if key not in ("conditions", "images")},
        "conditions": [*mirrored, *further],
        "labels": status.get("nodeLabels") or {},
        "annotations": status.get("nodeAnnotations") or {},
        "taints": status.get("nodeTaints") or [],
        "ipAddress": addresses.get("InternalIP") or "",
        "externalIpAddress": addresses.get("ExternalIP") or "",
    }
    if not spec.get("displayName"):
        computed["name"] = status.get("nodeName") or spec.get("requestedHostname") or ""
    if inner_spec.get("unschedulable") and "unschedulable" not in computed:
        computed["unschedulable"] = True
    return computed
