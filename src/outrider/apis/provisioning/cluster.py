"""clusters.provisioning.cattle.io: the record of a cluster that its users edit (spec: clusters §1.8)."""

from typing import Annotated, Any, ClassVar

import msgspec

from outrider.apis.crd import AGE, Column, Resource
from outrider.apis.management.agent_deployment import (
    AgentDeploymentCustomization,
    EnvVar,
    LocalClusterAuthEndpoint,
    WebhookDeploymentCustomization,
)
from outrider.apis.schema import Rule, Shape, prop
from outrider.kube.kind import Kind
from outrider.kube.meta import Condition, Object

GROUP = "provisioning.cattle.io"
VERSION = "v1"

_HAS_RKE = "(has({0}.spec) && has({0}.spec.rkeConfig))"
_RKE_STAYS = Rule(
    f"self.metadata.name == 'local' || {_HAS_RKE.format('self')} == {_HAS_RKE.format('oldSelf')}",
    "rkeConfig can neither be added to a cluster nor removed from it",
    field=".spec",
)


class ClusterSpec(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What is wanted of a cluster."""

    cloud_credential_secret_name: Annotated[
        str, prop("Secret of the cloud credential, as namespace:name.", max_length=317)
    ] = ""
    kubernetes_version: Annotated[str, prop("Desired version, such as v1.33.4+rke2r1.")] = ""
    rke_config: Annotated[dict[str, Any] | None, prop("Machines and settings of an RKE2 or K3s cluster.")] = (
        None
    )
    eks_config: Annotated[dict[str, Any] | None, prop("An Amazon EKS cluster, to be created or adopted.")] = (
        None
    )
    local_cluster_auth_endpoint: Annotated[
        LocalClusterAuthEndpoint | None, prop("The authorized cluster endpoint.")
    ] = None
    agent_env_vars: Annotated[
        list[EnvVar] | None, prop("Environment variables added to the agent's.", max_items=256)
    ] = None
    cluster_agent_deployment_customization: Annotated[
        AgentDeploymentCustomization | None, prop("Changes to the Deployment of the cluster agent.")
    ] = None
    fleet_agent_deployment_customization: Annotated[
        AgentDeploymentCustomization | None, prop("Changes to the Deployment of the GitOps agent.")
    ] = None
    webhook_deployment_customization: Annotated[
        WebhookDeploymentCustomization | None, prop("Changes to the Deployment of the webhook.")
    ] = None
    default_pod_security_admission_configuration_template_name: Annotated[
        str, prop("Template of the cluster's pod security admission; needs Kubernetes 1.23.")
    ] = ""
    enable_network_policy: Annotated[
        bool | None,
        prop("Whether projects are isolated from each other by network policies. Default: false."),
    ] = None
    redeploy_system_agent_generation: Annotated[int, prop("Raise it to deploy the system agents again.")] = 0
    cluster_api_config: Annotated[
        dict[str, Any] | None, prop("Deprecated: the Cluster API cluster to adopt.")
    ] = msgspec.field(name="clusterAPIConfig", default=None)
    default_cluster_role_for_project_members: Annotated[
        str, prop("Unused; kept for clients that send it.")
    ] = ""


class ClusterStatus(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What is known of a cluster."""

    conditions: Annotated[
        list[Condition], prop("Details of the state, one entry a type.", list_keys=("type",))
    ] = []
    ready: Annotated[bool, prop("Whether the cluster was ever connected; stays true from then on.")] = False
    cluster_name: Annotated[str, prop("Name of the management.cattle.io Cluster that belongs to it.")] = ""
    fleet_workspace_name: Annotated[str, prop("Namespace of the cluster's GitOps objects.")] = ""
    client_secret_name: Annotated[str, prop("Secret that holds a kubeconfig of the cluster.")] = ""
    agent_deployed: Annotated[bool, prop("Whether the agent was deployed.")] = False
    observed_generation: Annotated[int, prop("Generation that this status speaks of.")] = 0


class Cluster(Object, kw_only=True):
    """A cluster as its users create and edit it; it lives in the namespace of its workspace."""

    shape: ClassVar[Shape] = Shape(rules=(_RKE_STAYS,))
    resource: ClassVar[Resource] = Resource(
        status=True,
        columns=(
            Column("Ready", ".status.ready", type="boolean", description="Whether it was ever connected."),
            Column("Cluster", ".status.clusterName", description="Name of its management.cattle.io Cluster."),
            Column("Kubeconfig", ".status.clientSecretName", description="Secret that holds a kubeconfig."),
            AGE,
        ),
    )

    spec: Annotated[ClusterSpec, prop("What is wanted of the cluster.")] = msgspec.field(
        default_factory=ClusterSpec
    )
    status: Annotated[ClusterStatus, prop("What is known of the cluster.")] = msgspec.field(
        default_factory=ClusterStatus
    )


PROVISIONING_CLUSTERS: Kind[Cluster] = Kind(
    group=GROUP, version=VERSION, plural="clusters", kind="Cluster", namespaced=True, type=Cluster
)
