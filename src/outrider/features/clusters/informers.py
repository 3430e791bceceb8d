"""The local copies that the feature reads, and whom a change in one concerns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from outrider.apis.management.cluster import CLUSTERS, Cluster
from outrider.apis.management.feature import FEATURES, Feature
from outrider.apis.management.node import NODES, Node
from outrider.apis.management.registration_token import REGISTRATION_TOKENS, ClusterRegistrationToken
from outrider.apis.management.setting import SETTINGS, Setting
from outrider.apis.provisioning.cluster import PROVISIONING_CLUSTERS
from outrider.apis.provisioning.cluster import Cluster as ProvisioningCluster
from outrider.features.clusters.lifecycle import name_key
from outrider.features.clusters.reconcile_cluster import NAME_INDEX, TWIN_INDEX, twin_keys
from outrider.features.clusters.reconcile_registration import READER_ROLE
from outrider.features.clusters.registry import SECRET_SELECTOR, TOKEN_INDEX, token_hashes
from outrider.features.clusters.sessions import (
    NAMESPACE,
    SELECTOR,
)
from outrider.features.clusters.tombstones import CREDENTIAL_INDEX, credentials_in
from outrider.features.clusters.tombstones import SELECTOR as TOMBSTONES
from outrider.kube.builtin import CONFIGMAPS, ROLES, SECRETS
from outrider.kube.client import Client
from outrider.kube.meta import ObjectKey
from outrider.runtime.informer import Informer
from outrider.runtime.manager import Manager

_OF_REGISTRATIONS = frozenset(
    {
        "server-url",
        "cacerts",
        "crt-ttl-unit",
        "crt-default-ttl-minutes",
        "crt-default-grace-period-minutes",
    }
)


def cluster_informer(client: Client) -> Informer[Cluster]:
    """The informer of clusters that this feature needs; it may be shared with others."""
    return Informer(client, CLUSTERS, indexes={NAME_INDEX: lambda cluster: (name_key(cluster),)})


class Informers:
    """The local copies that the feature reads."""

    def __init__(self, client: Client, manager: Manager, clusters: Informer[Cluster]) -> None:
        add = manager.add_informer
        self.clusters = add(clusters)
        self.registrations: Informer[ClusterRegistrationToken] = add(Informer(client, REGISTRATION_TOKENS))
        self.secrets: Informer[dict[str, Any]] = add(
            Informer(client, SECRETS, labels=SECRET_SELECTOR, indexes={TOKEN_INDEX: token_hashes})
        )
        self.tombstones: Informer[dict[str, Any]] = add(
            Informer(
                client,
                CONFIGMAPS,
                namespace=NAMESPACE,
                labels=TOMBSTONES,
                indexes={CREDENTIAL_INDEX: credentials_in},
            )
        )
        self.readers: Informer[dict[str, Any]] = add(
            Informer(client, ROLES, fields=f"metadata.name={READER_ROLE}")
        )
        self.nodes: Informer[Node] = add(Informer(client, NODES))
        self.twins: Informer[ProvisioningCluster] = add(
            Informer(client, PROVISIONING_CLUSTERS, indexes={TWIN_INDEX: twin_keys})
        )
        self.settings: Informer[Setting] = add(Informer(client, SETTINGS))
        self.features: Informer[Feature] = add(Informer(client, FEATURES))
        self.sets: Informer[dict[str, Any]] = add(
            Informer(client, CONFIGMAPS, namespace=NAMESPACE, labels=SELECTOR)
        )

    def registrations_of(self, cluster: Cluster) -> Iterable[ObjectKey]:
        """Keys of a cluster's registrations."""
        return [one.key for one in self.registrations.list(cluster.metadata.name)]

    def registrations_for(self, setting: Setting) -> Iterable[ObjectKey]:
        """Keys of all registrations, for a setting that they depend on."""
        if setting.metadata.name not in _OF_REGISTRATIONS:
            return ()
        return [one.key for one in self.registrations.list()]

    def same_name(self, cluster: Cluster) -> Iterable[ObjectKey]:
        """Keys of the cluster and of those with its display name."""
        return {cluster.key, *(other.key for other in self.clusters.index(NAME_INDEX, name_key(cluster)))}

    def twins_of(self, cluster: Cluster) -> Iterable[ObjectKey]:
        """Keys of the provisioning clusters that belong to a cluster, or may."""
        paired = [twin.key for twin in self.twins.index(TWIN_INDEX, cluster.metadata.name)]
        return {*paired, ObjectKey(cluster.spec.fleet_workspace_name, cluster.metadata.name)}


def owner_keys(secret: dict[str, Any]) -> list[ObjectKey]:
    """Keys of the registrations that own a Secret."""
    metadata = secret["metadata"]
    return [
        ObjectKey(metadata["namespace"], owner.get("name", ""))
        for owner in metadata.get("ownerReferences") or []
        if owner.get("kind") == REGISTRATION_TOKENS.kind
    ]
