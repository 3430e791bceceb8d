"""What is known of a cluster (spec: clusters §1.2)."""

from datetime import datetime
from typing import Annotated, Any

import msgspec

from outrider.apis.schema import prop
from outrider.kube.meta import Condition


class VersionInfo(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """The version that the cluster's API server reports (apimachinery version.Info)."""

    major: Annotated[str, prop("Major version.")] = ""
    minor: Annotated[str, prop("Minor version.")] = ""
    git_version: Annotated[str, prop("Full version, such as v1.34.2.")] = ""
    git_commit: Annotated[str, prop("Commit that it was built from.")] = ""
    git_tree_state: Annotated[str, prop("State of that commit's tree.")] = ""
    build_date: Annotated[str, prop("Always empty.")] = ""
    go_version: Annotated[str, prop("Go that it was built with.")] = ""
    compiler: Annotated[str, prop("Compiler that it was built with.")] = ""
    platform: Annotated[str, prop("Always empty.")] = ""


class ComponentCondition(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """Health of a component (core/v1 ComponentCondition)."""

    type: Annotated[str, prop("Healthy.")] = ""
    status: Annotated[str, prop("True, False or Unknown.")] = ""
    message: Annotated[str, prop("What the component says.")] = ""
    error: Annotated[str, prop("What is wrong.")] = ""


class ComponentStatus(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """A component of a control plane older than Kubernetes 1.22."""

    name: Annotated[str, prop("Name of the component.")] = ""
    conditions: Annotated[list[ComponentCondition] | None, prop("Its health.")] = None


class ClusterInfo(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """The cluster in brief, for lists."""

    machine_provider: Annotated[
        str, prop("Where its machines come from: imported, local, eks, and others")
    ] = ""
    kubernetes_version: Annotated[str, prop("Version that its API server reports.")] = ""
    node_count: Annotated[int, prop("Number of nodes.")] = 0
    arch: Annotated[str, prop("Architecture of its nodes: amd64, arm64 or mixed.")] = ""
    provisioning_cluster_ref: Annotated[
        dict[str, Any] | None, prop("The provisioning.cattle.io Cluster that belongs to it.")
    ] = None


class DesiredStateStatus(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """Which desired state the cluster's agent is to apply. The state itself is derived, never stored here."""

    epoch: Annotated[int, prop("Term of the server that stamped it; with the counter, its version.")] = 0
    counter: Annotated[int, prop("Counts the states within an epoch.")] = 0
    hash: Annotated[str, prop("SHA-256 of the state.")] = ""
    objects: Annotated[int, prop("Number of objects and templates in it.")] = 0
    problem: Annotated[str, prop("Why a newer state cannot be handed over; the one before stays.")] = ""


class OwnerStateStatus(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """How far the objects of one feature are."""

    name: Annotated[str, prop("Name of the feature.")] = ""
    applied: Annotated[int, prop("Objects that are as they should be.")] = 0
    failed: Annotated[int, prop("Objects that are not.")] = 0
    message: Annotated[str, prop("The first failure.")] = ""


class ShareStatus(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What the namespaces of a project have of its quota."""

    project: Annotated[str, prop("The project, as cluster:project.")] = ""
    used: Annotated[dict[str, str], prop("Quantities by resource, such as limitsCpu.")] = {}
    refused: Annotated[list[str], prop("Some namespaces that asked for more than is left.")] = []


class AppliedStateStatus(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What the cluster's agent reported of the desired state last."""

    epoch: Annotated[int, prop("Of the version that is applied.")] = 0
    counter: Annotated[int, prop("Of the version that is applied.")] = 0
    hash: Annotated[str, prop("SHA-256 of the state that is applied.")] = ""
    term: Annotated[int, prop("Term of the agent's replica that applies; orders its reports.")] = 0
    sequence: Annotated[int, prop("Number of the report within the term.")] = 0
    applied: Annotated[int, prop("Objects that are as they should be, those from templates included.")] = 0
    failed: Annotated[int, prop("Objects that are not.")] = 0
    failures: Annotated[list[str], prop("The first ten failures.")] = []
    owners: Annotated[list[OwnerStateStatus], prop("The same by feature.")] = []
    shares: Annotated[list[ShareStatus], prop("What the namespaces of each project have of its quota.")] = []
    leaving: Annotated[list[str], prop("Projects that are being deleted and have namespaces yet.")] = []
    agent_image: Annotated[
        str, prop("Image of the agent that applied it. Empty: one that was not started by its Deployment.")
    ] = ""
    agent_version: Annotated[str, prop("Version of that agent.")] = ""


class AgentUpgradeStatus(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """How the agent came, or comes, to the image in `agentImage`. Absent: without an upgrade."""

    previous: Annotated[str, prop("Image that served when the upgrade began.")] = ""
    failing: Annotated[int, prop("Objects of the desired state that failed already then.")] = 0
    started_at: Annotated[datetime | None, prop("When the image was put into the desired state.")] = None
    finished_at: Annotated[
        datetime | None, prop("When the new agent had connected, applied the state and told its image.")
    ] = None
    failed_at: Annotated[datetime | None, prop("When it was given up; a later success removes it.")] = None


class ClusterStatus(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What is known of a cluster."""

    conditions: Annotated[
        list[Condition], prop("Details of the state, one entry a type.", list_keys=("type",))
    ] = []
    state: Annotated[
        str,
        prop("The state that people see, computed from the conditions: pending, waiting, active, and others"),
    ] = ""
    connected: Annotated[bool | None, prop("Whether the cluster's agent is connected; true for 'local'.")] = (
        None
    )
    driver: Annotated[
        str, prop("How the cluster is managed: imported, local, k3s, rke2, EKS and others. Empty: undecided.")
    ] = ""
    provider: Annotated[str, prop("Detected distribution, such as k3s, rke2, eks. Empty: unknown.")] = ""
    api_endpoint: Annotated[str, prop("URL of the cluster's own API server, as its agent sees it.")] = ""
    ca_cert: Annotated[str, prop("Base64 of the PEM certificates of that API server.")] = ""
    service_account_token_secret: Annotated[
        str, prop("Unused: no credential of the cluster is kept here.")
    ] = ""
    version: Annotated[VersionInfo | None, prop("Version that the API server reports.")] = None
    node_count: Annotated[int | None, prop("Number of nodes; absent until the agent has told.")] = None
    linux_worker_count: Annotated[int, prop("Number of workers that run Linux.")] = 0
    windows_worker_count: Annotated[int, prop("Number of workers that run Windows.")] = 0
    capacity: Annotated[dict[str, int | str] | None, prop("cpu, memory and pods of all counted nodes.")] = (
        None
    )
    allocatable: Annotated[dict[str, int | str] | None, prop("What of the capacity pods may use.")] = None
    requested: Annotated[dict[str, int | str] | None, prop("What the pods of the cluster request.")] = None
    limits: Annotated[dict[str, int | str] | None, prop("What the pods of the cluster are limited to.")] = (
        None
    )
    component_statuses: Annotated[
        list[ComponentStatus] | None, prop("Control plane components, before Kubernetes 1.22 only.")
    ] = None
    agent_image: Annotated[
        str,
        prop("Image of the agent in the cluster's desired state: the wanted one once its wave has come."),
    ] = ""
    agent_upgrade: Annotated[
        AgentUpgradeStatus | None, prop("How the agent came, or comes, to that image.")
    ] = None
    applied_enable_network_policy: Annotated[
        bool | None, prop("Whether projects are isolated from each other in the cluster.")
    ] = None
    auth_image: Annotated[str, prop("Image of kube-api-auth that was deployed last.")] = ""
    assets_image: Annotated[str, prop("Image of the agent's assets that was deployed last.")] = ""
    agent_features: Annotated[dict[str, bool] | None, prop("Features that the agent was given last.")] = None
    applied_agent_env_vars: Annotated[
        list[dict[str, Any]] | None, prop("Environment that the agent was given last.")
    ] = None
    applied_spec: Annotated[dict[str, Any] | None, prop("The spec that was applied last.")] = None
    applied_cluster_agent_deployment_customization: Annotated[
        dict[str, Any] | None, prop("The customization of the agent that was applied last.")
    ] = None
    eks_status: Annotated[dict[str, Any] | None, prop("What is known of the Amazon EKS cluster.")] = None
    aks_status: Annotated[dict[str, Any] | None, prop("What is known of the Azure AKS cluster.")] = None
    gke_status: Annotated[dict[str, Any] | None, prop("What is known of the Google GKE cluster.")] = None
    ali_status: Annotated[dict[str, Any] | None, prop("What is known of the Alibaba ACK cluster.")] = None
    capabilities: Annotated[dict[str, Any] | None, prop("What the cluster's provider can do.")] = None
    certificates_expiration: Annotated[
        dict[str, Any] | None, prop("When the control plane's certificates expire, by name.")
    ] = None
    ready_reconciling: Annotated[bool, prop("While true, health does not decide the Ready condition.")] = (
        False
    )
    info: Annotated[ClusterInfo | None, prop("The cluster in brief.")] = None
    desired_state: Annotated[
        DesiredStateStatus | None, prop("Which desired state the cluster's agent is to apply.")
    ] = None
    applied_state: Annotated[
        AppliedStateStatus | None, prop("What the agent reported of the desired state last.")
    ] = None
