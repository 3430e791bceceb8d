"""The files that containerd, kubelet and kube-proxy read. Pure."""

from __future__ import annotations

from typing import Any

from tests.support.pods.needs import PLUGINS
from tests.support.pods.network import ADDRESS, POD_RANGE
from tools.image.shell import PAUSE_REFERENCE

SOCKET = "/run/containerd/containerd.sock"
NODE = "node-1"
KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""What a kubelet insists on, and would otherwise change for the whole machine."""


def containerd() -> str:
    """containerd 1.6 and later, configuration version 2."""
    return f"""\
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.tracing"]
[grpc]
address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_REFERENCE}"
# Containers take over our own badness where we may not lower it.
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{PLUGINS}"
conf_dir = "/run/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
"""


def kubelet(client_ca: str, cgroup: str) -> dict[str, Any]:
    """A kubelet that asks the API server who may do what, and takes its control groups below ``cgroup``."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": ADDRESS,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": client_ca},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup,
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "enforceNodeAllocatable": [],
        "evictionHard": {"memory.available": "64Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "failCgroupV1": False,
        "failSwapOn": False,
        "imageGCHighThresholdPercent": 100,
        # Tests compare whole logs.
        "containerLogMaxSize": "1Gi",
        "makeIPTablesUtilChains": False,
        "resolvConf": "",
        # Reported soon, so that tests need not wait for it.
        "nodeStatusUpdateFrequency": "4s",
        "nodeStatusReportFrequency": "30s",
        "syncFrequency": "5s",
        "registerNode": True,
        "maxPods": 60,
    }


def proxy(kubeconfig: str) -> dict[str, Any]:
    """kube-proxy, which gives services their addresses."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": kubeconfig},
        "clusterCIDR": POD_RANGE,
        "hostnameOverride": NODE,
        "healthzBindAddress": "127.0.0.1:10256",
        # Zero leaves them alone.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    }
