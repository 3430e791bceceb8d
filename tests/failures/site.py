"""`outrider up` with one cluster whose agent reaches the front door through a bad network.

As root the site has a mount namespace of its own: its own /etc/hosts (the agent dials a name) and a small disk
under each etcd. Both go with its last process.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from outrider.kube.embedded.ports import free_port
from tests.support.door import Door
from tests.support.hosted import drop_state
from tests.support.instance import Instance
from tests.support.kubectl import Kubectl
from tests.support.not_run import not_run
from tests.support.toxic import ToxicProxy, toxic

NAME = "outrider.test"
SETTLED = 10.2
"""Seconds after which an agent's back-off begins anew, generously."""
DISK = "320m"
MANAGEMENT = "management"
CLUSTER = "clusters/demo-1/kube"

_ROOM = f"""
mount --bind "$0/hosts" /etc/hosts
mount --bind "$0/resolv.conf" /etc/resolv.conf
for etcd in "$0/d/{MANAGEMENT}/etcd" "$0/d/{CLUSTER}/etcd"; do
    mkdir -p -m 700 "$etcd"
    mount -t tmpfs -o size={DISK},mode=700 none "$etcd"
done
exec "$@"
"""


class Site:
    """The instance, the network between its agent and its front door, and clients that go past that network."""

    def __init__(
        self, folder: Path, instance: Instance, proxy: ToxicProxy, kubectl: Kubectl, times: str
    ) -> None:
        self.folder = folder
        self.instance = instance
        self.proxy = proxy
        self.times = times
        self._kubectl = kubectl

    @property
    def cluster(self) -> dict[str, Any]:
        """The cluster's entry in the ready file."""
        found: dict[str, Any] = self.instance.ready["clusters"][0]
        return found

    @cached_property
    def through(self) -> Door:
        """The cluster's API through its tunnel."""
        return Door.of_kubeconfig(self.cluster["kubeconfig"])

    @cached_property
    def kubectl(self) -> Kubectl:
        """kubectl through the tunnel."""
        return self._kubectl.at(self.cluster["kubeconfig"])

    @cached_property
    def direct(self) -> Kubectl:
        """kubectl straight to the cluster."""
        return self._kubectl.at(self.cluster["direct_kubeconfig"])

    @cached_property
    def management(self) -> Kubectl:
        """kubectl to the management cluster, through the front door."""
        return self._kubectl.at(self.instance.ready["admin_kubeconfig"])

    def pid(self, role: str) -> int:
        """The process that has a role now: control, gateway, audit, agent, or `management/etcd`, `cluster/etcd`, …"""
        side, _, name = role.rpartition("/")
        if not side:
            return self.instance.pid("demo-1-agent" if role == "agent" else role)
        place = {"management": MANAGEMENT, "cluster": CLUSTER}[side]
        return int((self.instance.data / place / "run" / f"{name}.pid").read_text().split()[0])

    def pids(self) -> dict[str, int]:
        """All processes that somebody keeps running."""
        sides = [f"{side}/{name}" for side in ("management", "cluster") for name in ("etcd", "apiserver")]
        return {role: self.pid(role) for role in ("control", "gateway", "agent", *sides)}

    def log(self, role: str) -> str:
        """What control, gateway or the agent has logged."""
        path = "clusters/demo-1/agent.log" if role == "agent" else f"server/logs/{role}.log"
        return (self.instance.data / path).read_text(errors="replace")

    def settle(self) -> None:
        """Waits until the agent takes its tunnel for a lasting one, and would dial again at once after its loss.

        A tunnel that breaks soon after a failure is dialled again as patiently as one that cannot be had.
        """
        time.sleep(max(0.0, self.proxy.newest + SETTLED - time.monotonic()))

    def status(self) -> dict[str, Any]:
        """The cluster's record as the management cluster has it now; empty while it cannot be had."""
        query = ("get", "clusters.management.cattle.io", self.cluster["id"], "--request-timeout=5s")
        done = self.management.attempt(*query, "--output=jsonpath={.status.connected} {.status.state}")
        connected, _, state = done.stdout.partition(" ")
        return {"connected": connected == "true", "state": state} if done.returncode == 0 else {}

    def sign_in(self) -> int:
        """The status of a sign-in with the bootstrap password."""
        ready = self.instance.ready
        body = {"username": ready["username"], "password": ready["bootstrap_password"]}
        door = self.through.root().with_token("")
        return door.post("/v3-public/localProviders/local?action=login", body).status

    def disk(self, side: str) -> Path:
        """The folder of an etcd, seen from outside the site's namespace; only root has one that is small."""
        supervisor = self.instance.command.process.pid
        place = {"management": MANAGEMENT, "cluster": CLUSTER}[side]
        return Path(f"/proc/{supervisor}/root") / str(self.instance.data / place / "etcd").lstrip("/")

    def resolves(self, able: bool) -> None:
        """Lets the front door's name be found, or not."""
        # The file is bound into the namespace: it is written, never replaced.
        (self.folder / "hosts").write_text(_hosts(able))


@contextmanager
def site(
    folder: Path, kubectl: Kubectl, times: str, environ: Mapping[str, str], *, start: bool = True
) -> Iterator[Site]:
    """Runs one."""
    (folder / "hosts").write_text(_hosts(True))
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    front = free_port()
    with toxic("127.0.0.1", front) as proxy:
        host = NAME if is_root() else "127.0.0.1"
        options = ("--demo", "1", "--listen", f"127.0.0.1:{front}")
        options += ("--server-url", f"https://{host}:{proxy.port}")
        instance = Instance(folder, *options, environ=environ, within=room(folder))
        try:
            if start:
                instance.start()
            yield Site(folder, instance, proxy, kubectl, times)
        finally:
            proxy.calm()
            code = instance.stop() if instance.started else 0
            for place in (MANAGEMENT, CLUSTER):
                drop_state(instance.data / place)
        assert code == 0, instance.command.output


def room(folder: Path) -> tuple[str, ...]:
    """The command that becomes another one in the site's mount namespace; nothing when there can be none."""
    if not is_root():
        return ()
    return ("unshare", "--mount", "sh", "-ec", _ROOM, str(folder))


def is_root() -> bool:
    """Whether this machine lets us have mounts of our own."""
    return os.geteuid() == 0 and shutil.which("unshare") is not None and _may_unshare()


def need_root() -> None:
    """Ends a test that needs mounts of its own."""
    if not is_root():
        not_run("a mount namespace of one's own needs root and unshare")


def _may_unshare() -> bool:
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0


def _hosts(able: bool) -> str:
    return f"127.0.0.1 localhost {NAME if able else ''}\n"
