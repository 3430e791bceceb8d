"""Gathers what a cluster's manifest is made of: settings, the cluster's own wishes, pull secrets."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Final

from outrider.apis.management.cluster import Cluster
from outrider.features.clusters.manifest import AgentManifest, PullSecret, image_reference
from outrider.features.clusters.settings import ClusterSettings
from outrider.kube.builtin import SECRETS
from outrider.kube.client import Client
from outrider.kube.errors import NotFound

log = logging.getLogger(__name__)

_SYSTEM: Final = "cattle-system"
_MAX_PULL_SECRETS: Final = 16
_DOCKER_CONFIG: Final = ".dockerconfigjson"


class Manifests:
    """Makes manifests. Reads pull secrets as the server itself."""

    def __init__(self, client: Client, settings: ClusterSettings) -> None:
        self._client = client
        self._settings = settings

    async def make(
        self, cluster: Cluster, token: str, *, server_url: str, auth_image: str = ""
    ) -> AgentManifest:
        """The manifest for `cluster`; `server_url` is what the agent is to dial.

        Its image is the one in the cluster's status, so that another one comes by an upgrade; a cluster that
        has none yet gets the one that it should have.
        """
        value = self._settings.value
        registry = self._registry(cluster)
        of_registry = _names(value("system-default-registry-pull-secrets").split(","))
        secrets = await self._pull_secrets(cluster, of_registry)
        return AgentManifest(
            server_url=server_url,
            token=token,
            image=cluster.status.agent_image or self.image(cluster),
            cacerts=value("cacerts"),
            registry=registry,
            pull_secrets=tuple(secrets),
            registry_pull_secrets=tuple(s.name for s in secrets if s.name in of_registry),
            env=tuple(cluster.spec.agent_env_vars or ()),
            strict_tls=value("agent-tls-mode") != "system-store",
            server_version=value("server-version"),
            install_uuid=value("install-uuid"),
            ingress_ip_domain=value("ingress-ip-domain"),
            default_affinity=self._settings.default_affinity,
            customization=cluster.spec.cluster_agent_deployment_customization,
            auth_image=image_reference(auth_image, registry) if auth_image else "",
        )

    def image(self, cluster: Cluster) -> str:
        """Which image of the agent the cluster should have."""
        wanted = cluster.spec.agent_image_override or cluster.spec.desired_agent_image
        image = wanted if wanted and wanted != "fixed" else self._settings.agent_image
        return image_reference(image, self._registry(cluster))

    def _registry(self, cluster: Cluster) -> str:
        own = cluster.spec.imported_config.private_registry_url if cluster.spec.imported_config else ""
        return own or self._settings.value("system-default-registry")

    async def _pull_secrets(self, cluster: Cluster, of_registry: list[str]) -> list[PullSecret]:
        wanted = [(_SYSTEM, name) for name in of_registry]
        if cluster.spec.imported_config and cluster.spec.fleet_workspace_name:
            own = _names(cluster.spec.imported_config.private_registry_pull_secrets or ())
            wanted += [(cluster.spec.fleet_workspace_name, name) for name in own]
        found: dict[str, PullSecret] = {}
        for namespace, name in wanted[:_MAX_PULL_SECRETS]:
            config = await self._docker_config(namespace, name)
            if config:
                found[name] = PullSecret(name=name, config=config)
        return list(found.values())

    async def _docker_config(self, namespace: str, name: str) -> str:
        try:
            secret = await self._client.get(SECRETS, name, namespace)
        except (NotFound, ValueError):
            log.warning("pull secret %s/%s does not exist; the manifest goes without it", namespace, name)
            return ""
        return str((secret.get("data") or {}).get(_DOCKER_CONFIG) or "")


def _names(entries: Iterable[Any]) -> list[str]:
    """Names given as texts or as references with a ``name``."""
    names = [entry.get("name", "") if isinstance(entry, dict) else entry for entry in entries]
    return [name.strip() for name in names if isinstance(name, str) and name.strip()]
