"""nodes.management.cattle.io: the mirror of a cluster's nodes (spec: clusters §4.5)."""

from typing import Annotated, Any, ClassVar

import msgspec

from outrider.apis.crd import AGE, Column, Resource
from outrider.apis.management.group import GROUP, VERSION
from outrider.apis.schema import prop
from outrider.kube.kind import Kind
from outrider.kube.meta import Condition, Object

NODE_NAME_LABEL = "management.cattle.io/nodename"


class NodeDrainInput(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """How a node is drained, as kubectl drain means it."""

    force: Annotated[bool, prop("Also delete pods that no controller owns.")] = False
    ignore_daemon_sets: Annotated[bool | None, prop("Leave pods of DaemonSets alone. Default: true.")] = None
    delete_local_data: Annotated[bool, prop("Also delete pods that use emptyDir volumes.")] = False
    grace_period: Annotated[int, prop("Seconds that a pod has to end; negative: its own.")] = -1
    timeout: Annotated[int, prop("Seconds until the drain is given up.", minimum=0, maximum=10800)] = 120


class MapDelta(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """Changes to labels or annotations."""

    add: Annotated[dict[str, str] | None, prop("Entries to set.")] = None
    delete: Annotated[dict[str, bool] | None, prop("Keys to remove.")] = None


class MetadataUpdate(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """Changes to the metadata of the node in its cluster."""

    labels: Annotated[MapDelta | None, prop("Changes to its labels.")] = None
    annotations: Annotated[MapDelta | None, prop("Changes to its annotations.")] = None


class NodeSpec(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """The node's part in its cluster, and what is wanted of it."""

    etcd: Annotated[bool, prop("Whether it runs etcd.")] = False
    control_plane: Annotated[bool, prop("Whether it runs the control plane.")] = False
    worker: Annotated[bool, prop("Whether it runs workloads; so does a node without any role.")] = False
    requested_hostname: Annotated[str, prop("Host name of the machine.")] = ""
    display_name: Annotated[str, prop("Name that people see.")] = ""
    imported: Annotated[bool, prop("Whether the node came with an imported cluster.")] = False
    custom_config: Annotated[
        dict[str, Any] | None, prop("Addresses of a machine that registered itself.")
    ] = None
    internal_node_spec: Annotated[
        dict[str, Any] | None, prop("Spec (core/v1 NodeSpec) of the node in its cluster.")
    ] = None
    desired_node_taints: Annotated[
        list[dict[str, Any]] | None, prop("Taints (core/v1) that the node is to have.")
    ] = None
    update_taints_from_api: Annotated[bool | None, prop("Whether desiredNodeTaints come from a client.")] = (
        msgspec.field(name="updateTaintsFromAPI", default=None)
    )
    desired_node_unschedulable: Annotated[
        str,
        prop(
            "Cordons (true), uncordons (false) or drains the node, or stops a drain.",
            enum=("", "true", "false", "drain", "stopDrain"),
        ),
    ] = ""
    node_drain_input: Annotated[NodeDrainInput | None, prop("How the node is drained.")] = None
    metadata_update: Annotated[
        MetadataUpdate | None, prop("Changes to labels and annotations of the node.")
    ] = None
    scaledown_time: Annotated[str, prop("When the node is to leave its pool (RFC 3339).")] = ""


class NodeStatus(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """The node as its cluster shows it."""

    conditions: Annotated[
        list[Condition], prop("Details of the state, one entry a type.", list_keys=("type",))
    ] = []
    node_name: Annotated[str, prop("Name of the node in its cluster.")] = ""
    internal_node_status: Annotated[
        dict[str, Any] | None, prop("Status (core/v1 NodeStatus) of the node in its cluster.")
    ] = None
    node_labels: Annotated[dict[str, str] | None, prop("Labels of the node in its cluster.")] = None
    node_annotations: Annotated[dict[str, str] | None, prop("Annotations of the node in its cluster.")] = None
    node_taints: Annotated[list[dict[str, Any]] | None, prop("Taints of the node in its cluster.")] = None
    requested: Annotated[dict[str, int | str] | None, prop("What the pods on the node request.")] = None
    limits: Annotated[dict[str, int | str] | None, prop("What the pods on the node are limited to.")] = None
    docker_info: Annotated[dict[str, Any] | None, prop("Container runtime of the node.")] = None


class Node(Object, kw_only=True):
    """A node of a cluster; it lives in the namespace of that cluster."""

    resource: ClassVar[Resource] = Resource(
        status=True,
        columns=(
            Column("Node", ".status.nodeName", description="Name in its cluster."),
            Column(
                "Ready",
                '.status.internalNodeStatus.conditions[?(@.type=="Ready")].status',
                description="Whether its kubelet is healthy.",
            ),
            Column(
                "Control Plane", ".spec.controlPlane", type="boolean", description="Runs the control plane."
            ),
            Column("Worker", ".spec.worker", type="boolean", description="Runs workloads."),
            Column(
                "Version", ".status.internalNodeStatus.nodeInfo.kubeletVersion", description="Its kubelet."
            ),
            AGE,
            Column("OS", ".status.internalNodeStatus.nodeInfo.osImage", description="Its system.", wide=True),
        ),
    )

    spec: Annotated[NodeSpec, prop("The node's part in its cluster, and what is wanted of it.")] = (
        msgspec.field(default_factory=NodeSpec)
    )
    status: Annotated[NodeStatus, prop("The node as its cluster shows it.")] = msgspec.field(
        default_factory=NodeStatus
    )


NODES: Kind[Node] = Kind(
    group=GROUP, version=VERSION, plural="nodes", kind="Node", namespaced=True, type=Node
)
