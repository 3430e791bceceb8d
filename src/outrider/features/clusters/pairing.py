"""Pairs a management cluster with its provisioning twin (contract: clusters §1.8); pure functions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from outrider.apis.management.cluster import Cluster
from outrider.apis.management.group import CREATOR_ID, LOCAL_CLUSTER
from outrider.apis.provisioning.cluster import Cluster as ProvisioningCluster
from outrider.features.clusters.inventory import ADMINISTRATED
from outrider.kube import conditions as c

DISPLAY_NAME: Final = "provisioning.cattle.io/management-cluster-display-name"
MANAGEMENT_NAME: Final = "provisioning.cattle.io/management-cluster-name"
DESCRIPTION: Final = "field.cattle.io/description"
TWIN_FINALIZER: Final = "wrangler.cattle.io/provisioning-cluster-remove"

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
_CUSTOMIZATIONS: Final = (
    "clusterAgentDeploymentCustomization",
    "fleetAgentDeploymentCustomization",
    "webhookDeploymentCustomization",
    "agentEnvVars",
    "localClusterAuthEndpoint",
    "enableNetworkPolicy",
    "defaultPodSecurityAdmissionConfigurationTemplateName",
)


def management_id(uid: str) -> str:
    """``c-m-`` and eight characters that follow from the twin's uid, so that a retry makes no second one."""
    digest = hashlib.sha256(uid.encode()).digest()
    return "c-m-" + "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:8])


def public_metadata(values: Mapping[str, str]) -> dict[str, str]:
    """Labels or annotations without those that belong to the system or to kubectl."""
    # A key without a slash is a group's own too: the label provider.cattle.io
    return {
        key: value
        for key, value in values.items()
        if not key.split("/", 1)[0].endswith(("cattle.io", "kubectl.kubernetes.io"))
    }


def twin_of(cluster: Cluster) -> dict[str, Any]:
    """The provisioning cluster of a management cluster that came first."""
    spec = msgspec.to_builtins(cluster.spec)
    return {
        "metadata": {
            "name": cluster.metadata.name,
            "namespace": cluster.spec.fleet_workspace_name,
            "labels": public_metadata(cluster.metadata.labels),
            "annotations": {
                **public_metadata(cluster.metadata.annotations),
                DISPLAY_NAME: cluster.spec.display_name,
            },
        },
        "spec": {key: spec[key] for key in _CUSTOMIZATIONS if key in spec},
    }


def management_of(twin: ProvisioningCluster) -> dict[str, Any]:
    """The management cluster of a provisioning cluster that came first."""
    annotations = twin.metadata.annotations
    spec = msgspec.to_builtins(twin.spec)
    creator = {CREATOR_ID: annotations[CREATOR_ID]} if CREATOR_ID in annotations else {}
    return {
        "metadata": {
            "name": management_name(twin),
            "labels": public_metadata(twin.metadata.labels),
            "annotations": {
                **public_metadata(annotations),
                **creator,
                ADMINISTRATED: "true" if twin.spec.rke_config is not None else "false",
            },
        },
        "spec": {
            "displayName": twin.metadata.name,
            "description": annotations.get(DESCRIPTION, ""),
            "fleetWorkspaceName": twin.metadata.namespace,
            "importedConfig": {},
            **{key: spec[key] for key in _CUSTOMIZATIONS if key in spec},
        },
    }


def management_name(twin: ProvisioningCluster) -> str:
    """The id of the twin's management cluster, whether it exists already or not."""
    wanted = twin.status.cluster_name or twin.metadata.annotations.get(MANAGEMENT_NAME, "")
    return wanted or management_id(twin.metadata.uid)


def came_second(twin: ProvisioningCluster) -> bool:
    """Whether the twin was made for a management cluster, and goes when that goes."""
    return twin.metadata.name == LOCAL_CLUSTER or DISPLAY_NAME in twin.metadata.annotations


def twin_status(twin: ProvisioningCluster, cluster: Cluster) -> dict[str, Any]:
    """The twin's status as its management cluster makes it; once ready it stays ready."""
    ready = twin.status.ready or c.is_true(cluster.status.conditions, "Connected")
    conditions = []
    for kind in ("Ready", "Provisioned", "Updated"):
        condition = c.get_condition(cluster.status.conditions, kind)
        if condition is not None:
            conditions.append(condition)
    created = c.get_condition(twin.status.conditions, "Created")
    status = msgspec.structs.replace(
        twin.status,
        cluster_name=cluster.metadata.name,
        fleet_workspace_name=twin.metadata.namespace,
        ready=ready,
        agent_deployed=c.is_true(cluster.status.conditions, "AgentDeployed"),
        observed_generation=twin.metadata.generation,
        conditions=[*([created] if created else []), *conditions],
    )
    plain: dict[str, Any] = msgspec.to_builtins(status)
    return plain
