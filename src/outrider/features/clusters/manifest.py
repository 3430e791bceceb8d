"""The manifest that a person applies to import a cluster: settings, cluster and token in, YAML out.

Names, labels, the order of objects and of environment variables follow the contract (clusters §2.3 to §2.6),
because existing clusters and scripts know them. Objects are plain dicts; only `render` makes text of them.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from outrider.apis.management.agent_deployment import (
    AgentDeploymentCustomization,
    EnvVar,
    PodDisruptionBudget,
    PriorityClass,
)
from outrider.features.clusters.scheduling import affinity, tolerations
from outrider.kit import yaml

NAMESPACE: Final = "cattle-system"
AGENT: Final = "cattle-cluster-agent"
CREDENTIALS: Final = "cattle-credentials"
CA_SECRET: Final = "cattle-ca"  # noqa: S105 - a name
PRIORITY_CLASS: Final = "cattle-cluster-agent-priority-class"
DISRUPTION_BUDGET: Final = "cattle-cluster-agent-pod-disruption-budget"
AGENT_GROUP: Final = 65532
"""The group of the image's user (images/Containerfile)."""
PROBE_PORT: Final = 8081
"""Where the agent answers its readiness probe: ready means that it has a tunnel."""
PULL_SECRET_LABEL: Final = "management.cattle.io/cattle-cluster-agent-pull-secret"  # noqa: S105

_NORMAN: Final = {"cattle.io/creator": "norman"}
_RBAC: Final = "rbac.authorization.k8s.io"
_SELECTOR: Final = {"app": AGENT}


class PullSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A registry credential to copy into the cluster; `config` is base64 of a ``.dockerconfigjson``."""

    name: str
    config: str

    def __repr__(self) -> str:
        return f"PullSecret({self.name!r})"


class AgentManifest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a manifest is made of.

    Attributes:
        server_url: what the agent dials.
        token: clear registration token.
        credential_namespace: third part of the credential's key: empty for the import endpoint, the
            cluster's id when the server deploys.
        cacerts: PEM, or empty when the server's certificate is signed by a public authority.
        image: of the agent, with its registry.
        features: passed to the agent; empty leaves the variable out.
        registry_pull_secrets: names of those of `pull_secrets` that belong to the default registry.
        auth_image: of kube-api-auth; empty leaves the DaemonSet out.
    """

    server_url: str
    token: str
    image: str
    credential_namespace: str = ""
    cacerts: str = ""
    registry: str = ""
    pull_secrets: tuple[PullSecret, ...] = ()
    registry_pull_secrets: tuple[str, ...] = ()
    features: Mapping[str, bool] = {}
    env: tuple[EnvVar, ...] = ()
    strict_tls: bool = True
    server_version: str = ""
    install_uuid: str = ""
    ingress_ip_domain: str = ""
    default_affinity: Mapping[str, Any] | None = None
    customization: AgentDeploymentCustomization | None = None
    auth_image: str = ""

    def __repr__(self) -> str:
        return f"AgentManifest(server_url={self.server_url!r}, image={self.image!r})"


def render(manifest: AgentManifest) -> str:
    """The manifest as YAML documents."""
    return yaml.dump_all(objects(manifest))


def objects(manifest: AgentManifest) -> list[dict[str, Any]]:
    """The manifest's objects, in the order in which they are applied."""
    return [
        *_proxy_rbac(),
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _in_system("cattle")},
        _admin_binding(),
        *credentials(manifest),
        *(_pull_secret(secret) for secret in manifest.pull_secrets),
        _admin_role(),
        *_scheduling(manifest),
        _deployment(manifest),
        *([_auth_daemon(manifest)] if manifest.auth_image else []),
        _service(),
    ]


def ca_checksum(cacerts: str) -> str:
    """Lower-case hex SHA-256 of the PEM with exactly one newline at its end; empty for no PEM."""
    if not cacerts.strip():
        return ""
    return hashlib.sha256(normal_pem(cacerts).encode()).hexdigest()


def normal_pem(cacerts: str) -> str:
    """The PEM with exactly one newline at its end."""
    return cacerts.rstrip("\r\n") + "\n"


def credentials_name(server_url: str, token: str, namespace: str) -> str:
    """The name of the credential: another URL, token or namespace makes another Secret, hence a roll-out."""
    key = hashlib.sha256(f"{server_url}.{token}.{namespace}".encode()).hexdigest()[:10]
    return f"{CREDENTIALS}-{key}"


def credentials(manifest: AgentManifest) -> list[dict[str, Any]]:
    """The credential, once more under its plain name, and the CA when there is one."""
    content = {
        "url": manifest.server_url,
        "token": manifest.token,
        "namespace": manifest.credential_namespace,
    }
    name = credentials_name(manifest.server_url, manifest.token, manifest.credential_namespace)
    secrets = [_secret(name, content), _secret(CREDENTIALS, content)]
    if manifest.cacerts.strip():
        secrets.append(_secret(CA_SECRET, {"ca.crt": normal_pem(manifest.cacerts)}))
    return secrets


def _in_system(name: str) -> dict[str, Any]:
    return {"name": name, "namespace": NAMESPACE}


def _secret(name: str, content: Mapping[str, str]) -> dict[str, Any]:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in content.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _in_system(name),
        "type": "Opaque",
        "data": data,
    }


def _pull_secret(secret: PullSecret) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {**_in_system(secret.name), "labels": {PULL_SECRET_LABEL: "true"}},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": secret.config},
    }


def _proxy_rbac() -> list[dict[str, Any]]:
    rules = [
        {
            "apiGroups": [""],
            "resources": [f"nodes/{part}" for part in ("metrics", "proxy", "stats", "log", "spec")],
            "verbs": ["get", "list", "watch", "create"],
        }
    ]
    name = "proxy-clusterrole-kubeapiserver"
    return [
        {"apiVersion": f"{_RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules},
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "proxy-role-binding-kubernetes-master"},
            "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": _RBAC, "kind": "User", "name": "kube-apiserver"}],
        },
    ]


def _admin_binding() -> dict[str, Any]:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "cattle-admin-binding", "labels": _NORMAN},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": "cattle-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "cattle", "namespace": NAMESPACE}],
    }


def _admin_role() -> dict[str, Any]:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "cattle-admin", "labels": _NORMAN},
        "rules": [
            {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
            {"nonResourceURLs": ["*"], "verbs": ["*"]},
        ],
    }


def _scheduling(manifest: AgentManifest) -> Iterable[dict[str, Any]]:
    wanted = manifest.customization and manifest.customization.scheduling_customization
    if not wanted:
        return
    if wanted.priority_class is not None:
        yield priority_class(wanted.priority_class)
    if wanted.pod_disruption_budget is not None:
        yield from disruption_budget(wanted.pod_disruption_budget)


def priority_class(wanted: PriorityClass) -> dict[str, Any]:
    """The PriorityClass of the agent's pods; it precedes the Deployment, which names it."""
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": PRIORITY_CLASS},
        "value": wanted.value,
        "preemptionPolicy": wanted.preemption_policy or "PreemptLowerPriority",
        "description": "Priority of the cluster agent",
    }


def disruption_budget(wanted: PodDisruptionBudget) -> Iterable[dict[str, Any]]:
    """The budget, unless both of its numbers are unset."""
    amounts = {"minAvailable": wanted.min_available, "maxUnavailable": wanted.max_unavailable}
    given = {name: _amount(value) for name, value in amounts.items() if value not in (None, "", "0", 0)}
    if given:
        yield {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": _in_system(DISRUPTION_BUDGET),
            "spec": {**given, "selector": {"matchLabels": _SELECTOR}},
        }


def _amount(value: int | str | None) -> int | str | None:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


def _deployment(manifest: AgentManifest) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            **_in_system(AGENT),
            "annotations": {"management.cattle.io/scale-available": "2"},
            "labels": _SELECTOR,
        },
        "spec": {
            "selector": {"matchLabels": _SELECTOR},
            # An agent that connects and falls over must not replace one that works
            "minReadySeconds": 30,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {"metadata": {"labels": _SELECTOR}, "spec": _pod(manifest)},
        },
    }


def _pod(manifest: AgentManifest) -> dict[str, Any]:
    custom = manifest.customization or AgentDeploymentCustomization()
    name = credentials_name(manifest.server_url, manifest.token, manifest.credential_namespace)
    # 0500 octal, as the contract says. A kubelet adds the group of `fsGroup` as reader: the agent's own user,
    # which is not root and could not read it otherwise.
    volume = {"name": CREDENTIALS, "secret": {"secretName": name, "defaultMode": 0o500}}
    pod: dict[str, Any] = {
        "affinity": affinity(custom.override_affinity, manifest.default_affinity),
        "securityContext": {"fsGroup": AGENT_GROUP},
        "serviceAccountName": "cattle",
        "tolerations": tolerations(custom.append_tolerations),
        "containers": [_container(manifest, custom.override_resource_requirements)],
        "volumes": [volume],
    }
    if manifest.pull_secrets:
        pod["imagePullSecrets"] = [{"name": secret.name} for secret in manifest.pull_secrets]
    if custom.scheduling_customization and custom.scheduling_customization.priority_class:
        pod["priorityClassName"] = PRIORITY_CLASS
    return pod


def _container(manifest: AgentManifest, resources: Mapping[str, Any] | None) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": "cluster-register",
        "image": manifest.image,
        "imagePullPolicy": "IfNotPresent",
        "env": environment(manifest),
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": PROBE_PORT},
            "periodSeconds": 5,
            "timeoutSeconds": 5,
        },
        "volumeMounts": [{"name": CREDENTIALS, "mountPath": "/cattle-credentials", "readOnly": True}],
    }
    if resources:
        container["resources"] = dict(resources)
    return container


def environment(manifest: AgentManifest) -> list[dict[str, Any]]:
    """The agent's environment variables, in the contract's order; ours come last."""
    features = ",".join(f"{name}={str(on).lower()}" for name, on in sorted(manifest.features.items()))
    of_registry = ",".join(manifest.registry_pull_secrets)
    pull = ",".join(secret.name for secret in manifest.pull_secrets)
    fixed = {
        **({"CATTLE_FEATURES": features} if features else {}),
        "CATTLE_SERVER": manifest.server_url,
        "CATTLE_CA_CHECKSUM": ca_checksum(manifest.cacerts),
        "CATTLE_CLUSTER": "true",
        "CATTLE_K8S_MANAGED": "true",
        "CATTLE_SYSTEM_DEFAULT_REGISTRY": manifest.registry,
        "CATTLE_CREDENTIAL_NAME": credentials_name(
            manifest.server_url, manifest.token, manifest.credential_namespace
        ),
        "CATTLE_SUC_APP_NAME_OVERRIDE": "",
        **({"CATTLE_SYSTEM_DEFAULT_REGISTRY_PULL_SECRETS": of_registry} if of_registry else {}),
        **({"CATTLE_AGENT_PULL_SECRETS": pull} if pull else {}),
        "CATTLE_SERVER_VERSION": manifest.server_version,
        "CATTLE_INSTALL_UUID": manifest.install_uuid,
        "CATTLE_INGRESS_IP_DOMAIN": manifest.ingress_ip_domain,
    }
    own = {"OUTRIDER_AGENT_IMAGE": manifest.image, "OUTRIDER_AGENT_PROBE_PORT": str(PROBE_PORT)}
    wanted = [msgspec.to_builtins(variable) for variable in manifest.env if variable.name not in own]
    variables = [{"name": name, "value": value} for name, value in fixed.items()]
    if not any(variable.name == "STRICT_VERIFY" for variable in manifest.env):
        wanted.append({"name": "STRICT_VERIFY", "value": str(manifest.strict_tls).lower()})
    return variables + wanted + [{"name": name, "value": value} for name, value in own.items()]


def _auth_daemon(manifest: AgentManifest) -> dict[str, Any]:
    labels = {"app": "kube-api-auth"}
    linux_control_plane = [
        {
            "matchExpressions": [
                {"key": "beta.kubernetes.io/os", "operator": "NotIn", "values": ["windows"]},
                {"key": key, "operator": "In", "values": ["true"]},
            ]
        }
        for key in ("node-role.kubernetes.io/controlplane", "node-role.kubernetes.io/control-plane")
    ]
    pod = {
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": linux_control_plane}
            }
        },
        "hostNetwork": True,
        "serviceAccountName": "cattle",
        "tolerations": [{"operator": "Exists"}],
        "containers": [
            {
                "name": "kube-api-auth",
                "image": manifest.auth_image,
                "imagePullPolicy": "IfNotPresent",
                "volumeMounts": [{"name": "k8s-ssl", "mountPath": "/etc/kubernetes"}],
            }
        ],
        "volumes": [
            {"name": "k8s-ssl", "hostPath": {"path": "/etc/kubernetes", "type": "DirectoryOrCreate"}}
        ],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": _in_system("kube-api-auth"),
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%"}},
        },
    }


def _service() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _in_system(AGENT),
        "spec": {
            "ports": [
                {"port": 80, "targetPort": 80, "protocol": "TCP", "name": "http"},
                {"port": 443, "targetPort": 444, "protocol": "TCP", "name": "https-internal"},
            ],
            "selector": _SELECTOR,
        },
    }


def image_reference(image: str, registry: str) -> str:
    """`image` pulled through `registry` (host, perhaps with port and path); unchanged without one.

    The path of an image of Docker Hub is kept as it was written: ``library/`` is neither added nor removed.
    An image that names another host already stays as it is.
    """
    registry = urlsplit(registry).netloc + urlsplit(registry).path if "://" in registry else registry
    registry = registry.strip("/")
    first = image.split("/", 1)[0]
    names_a_host = "/" in image and ("." in first or ":" in first or first == "localhost")
    if not registry or (names_a_host and first != "docker.io"):
        return image
    return f"{registry}/{image.removeprefix('docker.io/')}"
