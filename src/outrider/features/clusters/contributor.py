"""Gathers what this feature wants in a cluster, and says which changes concern it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from outrider.apis.management.cluster import Cluster
from outrider.apis.management.group import LOCAL_CLUSTER
from outrider.apis.management.setting import Setting
from outrider.delivery.assembly import Contribution
from outrider.delivery.errors import NotReady
from outrider.features.clusters.desired import desired_entries, impersonation_namespace
from outrider.features.clusters.manifests import Manifests
from outrider.features.clusters.registration import DEFAULT_REGISTRATION, SYSTEM_REGISTRATION
from outrider.features.clusters.registry import Registry
from outrider.features.clusters.settings import ClusterSettings
from outrider.kube.meta import ObjectKey
from outrider.runtime.controller import Source
from outrider.runtime.informer import Informer

_SETTINGS: Final = frozenset(
    {
        "server-url",
        "cacerts",
        "agent-tls-mode",
        "server-version",
        "install-uuid",
        "ingress-ip-domain",
        "system-default-registry",
        "system-default-registry-pull-secrets",
        "cluster-agent-default-affinity",
    }
)


class ClusterObjects:
    """The agent, its credentials, the impersonation namespace."""

    def __init__(
        self,
        *,
        clusters: Informer[Cluster],
        registry: Registry,
        manifests: Manifests,
        settings: ClusterSettings,
        secrets: Informer[dict[str, Any]],
        stored_settings: Informer[Setting],
    ) -> None:
        self._clusters = clusters
        self._registry = registry
        self._manifests = manifests
        self._settings = settings
        self._sources: list[Source[Any, ObjectKey]] = [
            Source(stored_settings, lambda one: self._all() if one.metadata.name in _SETTINGS else ()),
            Source(secrets, lambda one: [ObjectKey("", one["metadata"]["namespace"])]),
        ]

    @property
    def sources(self) -> Sequence[Source[Any, ObjectKey]]:
        """What the objects are made of."""
        return self._sources

    async def contribute(self, cluster: Cluster) -> Contribution:
        """The objects. Raises NotReady without a credential, so that none is taken away for that, and KubeError."""
        name = cluster.metadata.name
        if name == LOCAL_CLUSTER:
            return Contribution([impersonation_namespace()])
        primary = self._registry.live_registration(name, DEFAULT_REGISTRATION)
        held = self._registry.held(name, primary) if primary else None
        server_url = self._settings.value("server-url")
        if held is None or not server_url:
            raise NotReady("no registration token, or no server-url")
        if cluster.status.desired_state is None and self._registry.held(name, SYSTEM_REGISTRATION) is None:
            # A new cluster's second token is a moment away: one state is stamped, instead of one for each
            raise NotReady("not all of its first registration tokens are made")
        manifest = await self._manifests.make(cluster, held.token, server_url=server_url)
        tokens = self._registry.tokens(name)
        former = {
            former: token
            for registration, token in sorted(tokens.items())
            for former in self._registry.former_names(name, registration)
        }
        entries = desired_entries(
            manifest,
            tokens=[tokens[registration] for registration in sorted(tokens)],
            former_names=former,
        )
        return Contribution(entries)

    def _all(self) -> list[ObjectKey]:
        return [cluster.key for cluster in self._clusters.list()]
