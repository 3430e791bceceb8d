"""What in the cluster is the agent's own, told from what is somebody else's. Pure.

Sources: clusters-and-agents §2.3 (names in the registration manifest), §1.10 (what a removal takes away).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from outrider.delivery.entries import LABEL as DELIVERED
from outrider.delivery.entries import Ref
from outrider.delivery.ledger import LABEL as STATE
from outrider.kube.kind import Kind

NAMESPACE: Final = "cattle-system"
AGENT: Final = "cattle-cluster-agent"
ACCOUNT: Final = "cattle"
ROLE: Final = "cattle-admin"
BINDING: Final = "cattle-admin-binding"
MARK: Final = "outrider-removal"
LEASE: Final = "outrider-agent"

_RBAC: Final = "rbac.authorization.k8s.io"
_PULL_SECRET: Final = "management.cattle.io/cattle-cluster-agent-pull-secret"  # noqa: S105 - a label's name
_ACCOUNT_NAME: Final = "kubernetes.io/service-account.name"
_NAMES: Final = frozenset(
    {
        ("Deployment", AGENT),
        ("Service", AGENT),
        ("DaemonSet", "kube-api-auth"),
        ("ServiceAccount", ACCOUNT),
        ("Secret", "cattle-ca"),
        ("PodDisruptionBudget", "cattle-cluster-agent-pod-disruption-budget"),
        ("Lease", LEASE),
        ("ConfigMap", MARK),
    }
)
# Every namespace has these; they come and go with it
_AUTOMATIC: Final = frozenset(
    {
        ("ServiceAccount", "default"),
        ("ConfigMap", "kube-root-ca.crt"),
        ("ConfigMap", "openshift-service-ca.crt"),
    }
)
# Written by Kubernetes itself about others
_FOLLOWERS: Final = frozenset({"Lease", "PodDisruptionBudget"})


class Owner(msgspec.Struct, rename="camel", omit_defaults=True):
    """metav1.OwnerReference."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False
    block_owner_deletion: bool = False


class Metadata(msgspec.Struct, rename="camel"):
    """The part of metav1.ObjectMeta that matters here."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: list[Owner] = []


class Thing(msgspec.Struct):
    """An object of any kind, its metadata only."""

    metadata: Metadata = msgspec.field(default_factory=Metadata)


def kind_of(group: str, version: str, plural: str, kind: str, *, namespaced: bool = True) -> Kind[Thing]:
    """A kind of which only metadata is read."""
    return Kind(
        group=group,
        version=version,
        plural=plural,
        kind=kind,
        namespaced=namespaced,
        type=Thing,
        metadata_only=True,
    )


NAMESPACES: Final = kind_of("", "v1", "namespaces", "Namespace", namespaced=False)
ROLES: Final = kind_of(_RBAC, "v1", "clusterroles", "ClusterRole", namespaced=False)
BINDINGS: Final = kind_of(_RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False)
PRIORITIES: Final = kind_of("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", namespaced=False)
INSIDE: Final = (
    kind_of("apps", "v1", "deployments", "Deployment"),
    kind_of("apps", "v1", "daemonsets", "DaemonSet"),
    kind_of("apps", "v1", "statefulsets", "StatefulSet"),
    kind_of("batch", "v1", "jobs", "Job"),
    kind_of("batch", "v1", "cronjobs", "CronJob"),
    kind_of("", "v1", "pods", "Pod"),
    kind_of("", "v1", "services", "Service"),
    kind_of("", "v1", "configmaps", "ConfigMap"),
    kind_of("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim"),
    kind_of("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget"),
    kind_of("coordination.k8s.io", "v1", "leases", "Lease"),
    kind_of("", "v1", "secrets", "Secret"),
    kind_of("", "v1", "serviceaccounts", "ServiceAccount"),
)
"""What is looked for in the agent's namespace."""

_SPACE_ANNOTATIONS: Final = (
    "field.cattle.io/projectId",
    "field.cattle.io/creatorId",
    "field.cattle.io/resourceQuotaTemplateId",
    "lifecycle.cattle.io/create.namespace-auth",
    "cattle.io/status",
)
_SPACE_LABEL: Final = "field.cattle.io/projectId"

NAMED: Final = (
    (BINDINGS, "proxy-role-binding-kubernetes-master"),
    (ROLES, "proxy-clusterrole-kubeapiserver"),
    (PRIORITIES, "cattle-cluster-agent-priority-class"),
)
"""What the registration manifest makes beside the namespace, without the agent's own rights."""


def carries_the_agent(ref: Ref) -> bool:
    """Whether the agent cannot work without an object: it goes last, with everything in the namespace."""
    own = {("Namespace", NAMESPACE), ("ClusterRole", ROLE), ("ClusterRoleBinding", BINDING)}
    return ref.namespace == NAMESPACE or (not ref.namespace and (ref.kind, ref.name) in own)


def is_ours(kind: str, metadata: Metadata) -> bool:
    """Whether an object in the agent's namespace was made by the manifest, the desired state or the agent."""
    marks = {DELIVERED, STATE, _PULL_SECRET} & metadata.labels.keys()
    return (
        bool(marks)
        or (kind, metadata.name) in _NAMES
        or (kind == "Secret" and metadata.name.startswith("cattle-credentials"))
        or (kind == "Secret" and metadata.annotations.get(_ACCOUNT_NAME) == ACCOUNT)
    )


def is_foreign(kind: str, metadata: Metadata) -> bool:
    """Whether somebody else needs the namespace for this object. What has an owner is looked for there."""
    automatic = (kind, metadata.name) in _AUTOMATIC or metadata.annotations.get(_ACCOUNT_NAME) == "default"
    return not (automatic or metadata.owner_references or kind in _FOLLOWERS or is_ours(kind, metadata))


def owned_by(metadata: Metadata, owner: Owner) -> list[Owner]:
    """The owners of an object with one more among them."""
    return [*(one for one in metadata.owner_references if one.uid != owner.uid), owner]


def unmarked(space: Metadata) -> dict[str, Any]:
    """The merge patch that takes away what the management plane said of a namespace; empty: it said nothing."""
    annotations = dict.fromkeys(key for key in _SPACE_ANNOTATIONS if key in space.annotations)
    labels = dict.fromkeys(key for key in (_SPACE_LABEL,) if key in space.labels)
    return {part: keys for part, keys in (("annotations", annotations), ("labels", labels)) if keys}
