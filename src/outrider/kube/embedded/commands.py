"""The command lines of the control plane's processes. Pure; secrets appear as paths only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from outrider.kube.embedded import certificates as names
from outrider.kube.embedded.layout import Layout
from outrider.kube.embedded.network import ALONE, Network
from outrider.kube.embedded.ports import LOOPBACK, Ports

SERVICE_RANGE = "10.43.0.0/16"
SERVICE_ADDRESS = "10.43.0.1"
ISSUER = "https://kubernetes.default.svc.cluster.local"

MANAGEMENT_CONTROLLERS = (
    "namespace-controller",
    "garbage-collector-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "clusterrole-aggregation-controller",
)
DOWNSTREAM_CONTROLLERS = (*MANAGEMENT_CONTROLLERS, "root-ca-certificate-publisher-controller")
WORKLOAD_CONTROLLERS = (
    *DOWNSTREAM_CONTROLLERS,
    "node-lifecycle-controller",
    "taint-eviction-controller",
    "pod-garbage-collector-controller",
    "deployment-controller",
    "replicaset-controller",
    "statefulset-controller",
    "daemonset-controller",
    "job-controller",
    "disruption-controller",
    "endpoints-controller",
    "endpointslice-controller",
)
"""What a cluster with nodes needs."""

# Collect garbage twice as often as Go does by default: a fifth less memory for a tenth more CPU time while
# busy. A hard limit (GOMEMLIMIT) would save as much, and thrash once the live heap outgrows it.
_SMALL = {"GOGC": "50"}


@dataclass(frozen=True, slots=True)
class Command:
    """One process to run: its role, argument vector and whole environment."""

    role: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


def etcd(binary: Path, layout: Layout, ports: Ports, *, durable: bool) -> Command:
    """One member, loopback only, clients and peers by certificate.

    ``durable`` keeps the fsync before each acknowledgement: nothing acknowledged is lost by kill -9 or a
    power cut.
    """
    client = f"https://{LOOPBACK}:{ports.etcd_client}"
    peer = f"https://{LOOPBACK}:{ports.etcd_peer}"
    bundle, authority = layout.bundle(names.ETCD), layout.certificate(names.ETCD_CA)
    flags: dict[str, str | Path] = {
        "name": "default",
        "data-dir": layout.etcd,
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
        "cert-file": bundle,
        "key-file": bundle,
        "trusted-ca-file": authority,
        "client-cert-auth": "true",
        "peer-cert-file": bundle,
        "peer-key-file": bundle,
        "peer-trusted-ca-file": authority,
        "peer-client-cert-auth": "true",
        # A lone member waits one election time-out before it leads: nobody else can want to.
        "heartbeat-interval": "50",
        "election-timeout": "250",
        # Entries that a follower would need to catch up; there is none.
        "snapshot-count": "2000",
        "snapshot-catchup-entries": "100",
        # Each kept file takes 64 MB of disk, and nobody but this member ever reads one.
        "max-wals": "2",
        "max-snapshots": "2",
        # Gives space that deletions freed back to the disk, at a start that is worth it.
        "bootstrap-defrag-threshold-megabytes": "100",
        "log-outputs": "stderr",
        "log-level": "warn",
        "unsafe-no-fsync": "false" if durable else "true",
    }
    return Command("etcd", _argv(binary, "etcd", flags), _SMALL)


def apiserver(
    binary: Path, layout: Layout, ports: Ports, network: Network = ALONE, *, callee: str = ""
) -> Command:
    """One address only, RBAC, no anonymous request, client certificates of its own authority.

    With ``callee`` it has an admission configuration (see ``admission_files``).
    """
    signing_key = layout.bundle(names.SERVICE_ACCOUNT)
    flags: dict[str, str | Path] = {
        "bind-address": network.address,
        "secure-port": str(ports.apiserver),
        "advertise-address": network.address,
        "etcd-servers": f"https://{LOOPBACK}:{ports.etcd_client}",
        "etcd-cafile": layout.certificate(names.ETCD_CA),
        "etcd-certfile": layout.bundle(names.ETCD_CLIENT),
        "etcd-keyfile": layout.bundle(names.ETCD_CLIENT),
        "tls-cert-file": layout.bundle(names.APISERVER),
        "tls-private-key-file": layout.bundle(names.APISERVER),
        "tls-min-version": "VersionTLS12",
        "client-ca-file": layout.certificate(names.CLIENT_CA),
        "anonymous-auth": "false",
        "service-account-issuer": ISSUER,
        "service-account-key-file": layout.certificate(names.SERVICE_ACCOUNT),
        "service-account-signing-key-file": signing_key,
        "service-cluster-ip-range": SERVICE_RANGE,
        # The aggregation layer proves itself with an authority that can sign no ordinary client.
        "requestheader-client-ca-file": layout.certificate(names.FRONT_PROXY_CA),
        "requestheader-allowed-names": names.FRONT_PROXY_USER,
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "proxy-client-cert-file": layout.bundle(names.FRONT_PROXY),
        "proxy-client-key-file": layout.bundle(names.FRONT_PROXY),
        "profiling": "false",
        **(_with_nodes(layout) if network.nodes else _WITHOUT_NODES),
        **({"admission-control-config-file": layout.admission} if callee else {}),
    }
    return Command("apiserver", _argv(binary, "apiserver", flags), _SMALL)


# Endpoints on loopback are invalid in Kubernetes, and there are no pods to use them.
_WITHOUT_NODES = {"authorization-mode": "RBAC", "endpoint-reconciler-type": "none"}


def _with_nodes(layout: Layout) -> dict[str, str | Path]:
    return {
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "kubelet-client-certificate": layout.bundle(names.KUBELET_CLIENT),
        "kubelet-client-key": layout.bundle(names.KUBELET_CLIENT),
        "kubelet-preferred-address-types": "InternalIP",
    }


def controller_manager(binary: Path, layout: Layout, controllers: Sequence[str]) -> Command:
    """Only the named controllers, each with a service account of its own; it listens nowhere."""
    flags: dict[str, str | Path] = {
        "kubeconfig": layout.controller_manager_kubeconfig,
        "controllers": ",".join(controllers),
        "secure-port": "0",
        "leader-elect": "false",
        "use-service-account-credentials": "true",
        "service-account-private-key-file": layout.bundle(names.SERVICE_ACCOUNT),
        "root-ca-file": layout.certificate(names.SERVER_CA),
        # At 20 a second, the default, it takes minutes to look once at what a thousand clusters own.
        "kube-api-qps": "100",
        "kube-api-burst": "200",
        "profiling": "false",
    }
    return Command("controller-manager", _argv(binary, "controller-manager", flags))


def file_kubeconfig(layout: Layout, ports: Ports, credential: str, network: Network = ALONE) -> bytes:
    """A kubeconfig (JSON, hence YAML) that names the files of a credential, so that renewal reaches it."""
    bundle = str(layout.bundle(credential))
    cluster = {
        "server": f"https://{network.address}:{ports.apiserver}",
        "certificate-authority": str(layout.certificate(names.SERVER_CA)),
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "embedded", "cluster": cluster}],
        "users": [{"name": credential, "user": {"client-certificate": bundle, "client-key": bundle}}],
        "contexts": [{"name": "embedded", "context": {"cluster": "embedded", "user": credential}}],
        "current-context": "embedded",
    }
    return _json(document)


def admission_files(layout: Layout, ports: Ports, callee: str) -> dict[Path, bytes]:
    """What makes the API server prove itself to the admission webhooks of ``callee``: files by path.

    ``callee`` is the host of a Service (``name.namespace.svc``), at the port that is kept for it. Its certificate is
    the one that it shows to aggregated APIs, so that whoever serves both asks for one.
    """
    bundle = str(layout.bundle(names.FRONT_PROXY))
    api = "apiserver.config.k8s.io/v1"
    webhooks = {
        "apiVersion": api,
        "kind": "WebhookAdmissionConfiguration",
        "kubeConfigFile": str(layout.webhook_kubeconfig),
    }
    plugin = {"name": "ValidatingAdmissionWebhook", "configuration": webhooks}
    user = {"client-certificate": bundle, "client-key": bundle}
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        # An entry's name is the host and port that it is for
        "users": [{"name": f"{callee}:{ports.callback}", "user": user}],
    }
    return {
        layout.admission: _json({"apiVersion": api, "kind": "AdmissionConfiguration", "plugins": [plugin]}),
        layout.webhook_kubeconfig: _json(kubeconfig),
    }


def _json(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, indent=2).encode() + b"\n"


def _argv(binary: Path, component: str, flags: Mapping[str, str | Path]) -> tuple[str, ...]:
    return (str(binary), component, *(f"--{name}={value}" for name, value in flags.items()))
