"""clusters.management.cattle.io: the management record of every cluster (spec: clusters §1.1, §1.2)."""

from typing import Annotated, ClassVar

import msgspec

from outrider.apis.crd import AGE, Column, Resource
from outrider.apis.management.cluster_spec import ClusterSpec
from outrider.apis.management.cluster_status import ClusterStatus
from outrider.apis.management.group import GROUP, VERSION
from outrider.apis.schema import Rule, Shape, prop
from outrider.kube.kind import Kind
from outrider.kube.meta import Object

# A cluster's name becomes a namespace that lives and dies with it, so a name must not be a namespace
# that others rely on.
_RESERVED = "['default', 'fleet-default', 'fleet-local']"
_NAME_IS_LABEL = Rule(
    "self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
    "metadata.name becomes a namespace: at most 63 of a-z, 0-9 and '-', with no '-' at either end",
)
_NAME_IS_FREE = Rule(
    "!self.metadata.name.startsWith('kube-') && !self.metadata.name.startsWith('cattle-')"
    f" && !(self.metadata.name in {_RESERVED})",
    "metadata.name becomes a namespace, and this one belongs to the system: choose another name",
)
_INTERNAL_IS_LOCAL = Rule(
    "!has(self.spec.internal) || !self.spec.internal || self.metadata.name == 'local'",
    "internal is reserved for the cluster named 'local', in which the management plane keeps its objects",
    field=".spec.internal",
    reason="FieldValueForbidden",
)
_DRIVER = "(has(self.status) && has(self.status.driver) ? self.status.driver : '')"
_NO_NETWORK_POLICY_LATER = Rule(
    f"!({_DRIVER} in ['k3s', 'rke2'])"
    " || !(has(self.spec.enableNetworkPolicy) && self.spec.enableNetworkPolicy == true)"
    " || (has(oldSelf.spec.enableNetworkPolicy) && oldSelf.spec.enableNetworkPolicy == true)",
    "enableNetworkPolicy cannot be turned on for an imported k3s or rke2 cluster",
    field=".spec.enableNetworkPolicy",
)
_ENDPOINT_ON = (
    "(has({0}.spec.localClusterAuthEndpoint)"
    " && has({0}.spec.localClusterAuthEndpoint.enabled) && {0}.spec.localClusterAuthEndpoint.enabled)"
)
_ENDPOINT_DRIVERS = Rule(
    f"!{_ENDPOINT_ON.format('self')} || {_ENDPOINT_ON.format('oldSelf')}"
    f" || {_DRIVER} in ['', 'imported', 'k3s', 'rke2']",
    "Can only enable LocalClusterAuthEndpoint with RKE2, or K3s",
    field=".spec.localClusterAuthEndpoint",
)


class Cluster(Object, kw_only=True):
    """A Kubernetes cluster under management.

    The object's name is the cluster's id and the name of the namespace that holds what belongs to it.
    """

    shape: ClassVar[Shape] = Shape(
        rules=(
            _NAME_IS_LABEL,
            _NAME_IS_FREE,
            _INTERNAL_IS_LOCAL,
            _NO_NETWORK_POLICY_LATER,
            _ENDPOINT_DRIVERS,
        ),
    )
    resource: ClassVar[Resource] = Resource(
        status=True,
        columns=(
            Column("Display Name", ".spec.displayName", description="The name that people see."),
            Column("State", ".status.state", description="The state that people see."),
            Column("Version", ".status.version.gitVersion", description="Version of its API server."),
            Column("Nodes", ".status.nodeCount", type="integer", description="Number of nodes."),
            Column(
                "Connected",
                ".status.connected",
                type="boolean",
                description="Whether its agent is connected.",
            ),
            AGE,
            Column("Driver", ".status.driver", description="How it is managed.", wide=True),
            Column("Provider", ".status.provider", description="Detected distribution.", wide=True),
            Column("Endpoint", ".status.apiEndpoint", description="URL of its own API server.", wide=True),
        ),
    )

    spec: Annotated[ClusterSpec, prop("What is wanted of the cluster.", required=True)] = msgspec.field(
        default_factory=ClusterSpec
    )
    status: Annotated[ClusterStatus, prop("What is known of the cluster.")] = msgspec.field(
        default_factory=ClusterStatus
    )


CLUSTERS: Kind[Cluster] = Kind(
    group=GROUP, version=VERSION, plural="clusters", kind="Cluster", namespaced=False, type=Cluster
)
