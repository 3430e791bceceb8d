"""Kinds that every Kubernetes cluster serves, as plain dicts."""

from typing import Any

from outrider.kube.kind import Kind


def untyped(group: str, version: str, plural: str, kind: str, *, namespaced: bool) -> Kind[dict[str, Any]]:
    """Return a Kind whose objects are plain dicts."""
    return Kind(
        group=group, version=version, plural=plural, kind=kind, namespaced=namespaced, type=dict[str, Any]
    )


def plain(kind: Kind[Any]) -> Kind[dict[str, Any]]:
    """Return the kind with its objects as plain dicts, so that nothing unknown is lost."""
    return untyped(kind.group, kind.version, kind.plural, kind.kind, namespaced=kind.namespaced)


NAMESPACES = untyped("", "v1", "namespaces", "Namespace", namespaced=False)
NODES = untyped("", "v1", "nodes", "Node", namespaced=False)
PERSISTENTVOLUMES = untyped("", "v1", "persistentvolumes", "PersistentVolume", namespaced=False)
PODS = untyped("", "v1", "pods", "Pod", namespaced=True)
SERVICES = untyped("", "v1", "services", "Service", namespaced=True)
ENDPOINTS = untyped("", "v1", "endpoints", "Endpoints", namespaced=True)
SECRETS = untyped("", "v1", "secrets", "Secret", namespaced=True)
CONFIGMAPS = untyped("", "v1", "configmaps", "ConfigMap", namespaced=True)
SERVICEACCOUNTS = untyped("", "v1", "serviceaccounts", "ServiceAccount", namespaced=True)
RESOURCEQUOTAS = untyped("", "v1", "resourcequotas", "ResourceQuota", namespaced=True)
LIMITRANGES = untyped("", "v1", "limitranges", "LimitRange", namespaced=True)
EVENTS = untyped("", "v1", "events", "Event", namespaced=True)

DEPLOYMENTS = untyped("apps", "v1", "deployments", "Deployment", namespaced=True)
DAEMONSETS = untyped("apps", "v1", "daemonsets", "DaemonSet", namespaced=True)
STATEFULSETS = untyped("apps", "v1", "statefulsets", "StatefulSet", namespaced=True)
REPLICASETS = untyped("apps", "v1", "replicasets", "ReplicaSet", namespaced=True)
JOBS = untyped("batch", "v1", "jobs", "Job", namespaced=True)
CRONJOBS = untyped("batch", "v1", "cronjobs", "CronJob", namespaced=True)

_RBAC = "rbac.authorization.k8s.io"
CLUSTERROLES = untyped(_RBAC, "v1", "clusterroles", "ClusterRole", namespaced=False)
CLUSTERROLEBINDINGS = untyped(_RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False)
ROLES = untyped(_RBAC, "v1", "roles", "Role", namespaced=True)
ROLEBINDINGS = untyped(_RBAC, "v1", "rolebindings", "RoleBinding", namespaced=True)

LEASES = untyped("coordination.k8s.io", "v1", "leases", "Lease", namespaced=True)
NETWORKPOLICIES = untyped("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", namespaced=True)
INGRESSES = untyped("networking.k8s.io", "v1", "ingresses", "Ingress", namespaced=True)
STORAGECLASSES = untyped("storage.k8s.io", "v1", "storageclasses", "StorageClass", namespaced=False)
CRDS = untyped(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)
APISERVICES = untyped("apiregistration.k8s.io", "v1", "apiservices", "APIService", namespaced=False)

_ADMISSION = "admissionregistration.k8s.io"
VALIDATINGADMISSIONPOLICIES = untyped(
    _ADMISSION, "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", namespaced=False
)
VALIDATINGADMISSIONPOLICYBINDINGS = untyped(
    _ADMISSION,
    "v1",
    "validatingadmissionpolicybindings",
    "ValidatingAdmissionPolicyBinding",
    namespaced=False,
)
VALIDATINGWEBHOOKCONFIGURATIONS = untyped(
    _ADMISSION, "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", namespaced=False
)
MUTATINGWEBHOOKCONFIGURATIONS = untyped(
    _ADMISSION, "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", namespaced=False
)
