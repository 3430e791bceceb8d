"""What is wanted of a cluster (spec: clusters §1.1)."""

from typing import Annotated, Any, ClassVar

import msgspec

from outrider.apis.crd import immutable
from outrider.apis.management.agent_deployment import (
    AgentDeploymentCustomization,
    EnvVar,
    LocalClusterAuthEndpoint,
    WebhookDeploymentCustomization,
)
from outrider.apis.schema import Rule, Shape, prop

_ONE_PROVIDER = Rule(
    "[has(self.eksConfig), has(self.aksConfig),"
    " has(self.gkeConfig), has(self.aliConfig)]"
    ".filter(given, given).size() <= 1",
    "eksConfig, aksConfig, gkeConfig and aliConfig exclude each other: a cluster has one provider",
)
DISPLAY_NAME_RULES = (
    Rule("self.trim() != ''", "the display name must not be empty: give the name that people see"),
    Rule(r"!self.matches('[\\x00-\\x1f\\x7f]')", "the display name must not contain control characters"),
)


class ImportedConfig(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """Marks an imported cluster, even when empty."""

    kube_config: Annotated[str, prop("Unused; kept for clients that send it.")] = ""
    private_registry_url: Annotated[str, prop("Registry that the agent's images are pulled from.")] = (
        msgspec.field(name="privateRegistryURL", default="")
    )
    private_registry_pull_secrets: Annotated[
        list[Any] | None, prop("Pull secrets that are copied into the cluster for that registry.")
    ] = None


class UpgradeStrategy(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """How many nodes an upgrade takes at a time."""

    server_concurrency: Annotated[int, prop("Control plane nodes at a time.")] = 0
    worker_concurrency: Annotated[int, prop("Worker nodes at a time.")] = 0
    drain_server_nodes: Annotated[bool, prop("Whether control plane nodes are drained first.")] = False
    drain_worker_nodes: Annotated[bool, prop("Whether worker nodes are drained first.")] = False


class K3sConfig(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """Desired version of an imported k3s cluster; filled in after the distribution was detected."""

    kubernetes_version: Annotated[str, prop("Desired version, such as v1.33.4+k3s1.")] = ""
    k3supgrade_strategy: Annotated[UpgradeStrategy | None, prop("How many nodes are upgraded at a time.")] = (
        None
    )


class Rke2Config(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """Desired version of an imported rke2 cluster; filled in after the distribution was detected."""

    kubernetes_version: Annotated[str, prop("Desired version, such as v1.33.4+rke2r1.")] = ""
    rke2upgrade_strategy: Annotated[
        UpgradeStrategy | None, prop("How many nodes are upgraded at a time.")
    ] = None


class ClusterSpec(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What is wanted of a cluster."""

    shape: ClassVar[Shape] = Shape(
        rules=(
            immutable("internal", default="false"),
            immutable("windowsPreferedCluster", default="false"),
            _ONE_PROVIDER,
        ),
    )

    display_name: Annotated[
        str,
        prop(
            "The name that people see; unique among all clusters, whatever its case.",
            required=True,
            max_length=253,
            rules=DISPLAY_NAME_RULES,
        ),
    ] = ""
    description: Annotated[str, prop("Free text about the cluster.")] = ""
    internal: Annotated[
        bool, prop("True for the cluster that the management plane keeps its own objects in. Never changes.")
    ] = False
    fleet_workspace_name: Annotated[
        str, prop("Namespace of the cluster's GitOps objects. Default: setting fleet-default-workspace-name.")
    ] = ""
    imported_config: Annotated[
        ImportedConfig | None, prop("Present, even when empty: the cluster is imported.")
    ] = None
    k3s_config: Annotated[K3sConfig | None, prop("Desired version of an imported k3s cluster.")] = (
        msgspec.field(name="k3sConfig", default=None)
    )
    rke2_config: Annotated[Rke2Config | None, prop("Desired version of an imported rke2 cluster.")] = (
        msgspec.field(name="rke2Config", default=None)
    )
    eks_config: Annotated[dict[str, Any] | None, prop("An Amazon EKS cluster, to be created or adopted.")] = (
        None
    )
    aks_config: Annotated[dict[str, Any] | None, prop("An Azure AKS cluster, to be created or adopted.")] = (
        None
    )
    gke_config: Annotated[dict[str, Any] | None, prop("A Google GKE cluster, to be created or adopted.")] = (
        None
    )
    ali_config: Annotated[
        dict[str, Any] | None, prop("An Alibaba ACK cluster, to be created or adopted.")
    ] = None
    agent_env_vars: Annotated[
        list[EnvVar] | None, prop("Environment variables added to the agent's.", max_items=256)
    ] = None
    desired_agent_image: Annotated[
        str, prop("Image of the agent. Empty or 'fixed': setting agent-image.")
    ] = ""
    desired_auth_image: Annotated[
        str, prop("Image of kube-api-auth. Empty or 'fixed': setting auth-image.")
    ] = ""
    desired_assets_image: Annotated[
        str, prop("Image of the agent's assets. Empty or 'fixed': the default.")
    ] = ""
    agent_image_override: Annotated[str, prop("Image of the agent; wins over everything else.")] = ""
    assets_image_override: Annotated[str, prop("Image of the agent's assets; wins over everything else.")] = (
        ""
    )
    cluster_agent_deployment_customization: Annotated[
        AgentDeploymentCustomization | None, prop("Changes to the Deployment of the cluster agent.")
    ] = None
    fleet_agent_deployment_customization: Annotated[
        AgentDeploymentCustomization | None, prop("Changes to the Deployment of the GitOps agent.")
    ] = None
    webhook_deployment_customization: Annotated[
        WebhookDeploymentCustomization | None, prop("Changes to the Deployment of the webhook.")
    ] = None
    enable_network_policy: Annotated[
        bool | None,
        prop("Whether projects are isolated from each other by network policies. Default: false."),
    ] = None
    local_cluster_auth_endpoint: Annotated[
        LocalClusterAuthEndpoint | None, prop("The authorized cluster endpoint.")
    ] = None
    default_pod_security_admission_configuration_template_name: Annotated[
        str, prop("Template of the cluster's pod security admission; needs Kubernetes 1.23.")
    ] = ""
    default_cluster_role_for_project_members: Annotated[
        str, prop("Unused; kept for clients that send it.")
    ] = ""
    docker_root_dir: Annotated[str, prop("Folder of the container runtime on the nodes.")] = ""
    windows_prefered_cluster: Annotated[
        bool, prop("Whether the cluster is meant for Windows nodes. Never changes.")
    ] = False
    cluster_secrets: Annotated[
        dict[str, Any] | None, prop("Names of the secrets that hold the cluster's credentials.")
    ] = None
