"""The node's first process, in its namespaces: starts everything, loads images, ends when its input does.

Reads one JSON object from its standard input: `folder`, `binary`, `cgroup`, `images`. Writes `ready.json` into the
folder: the administrator's kubeconfig and the processes.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

from outrider.kube import kubeconfig
from outrider.kube.builtin import NODES
from outrider.kube.client import Client
from outrider.kube.embedded.certificates import CLIENT_CA
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.embedded.commands import SERVICE_ADDRESS, WORKLOAD_CONTROLLERS, Command
from outrider.kube.embedded.layout import Layout
from outrider.kube.embedded.network import Network
from outrider.kube.embedded.process import Policy, SupervisedProcess
from outrider.kube.errors import KubeError
from outrider.kube.transport import HttpTransport
from tests.support.pods import configuration, network

PATIENCE = 180.0
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "GOGC": "50"}


class Node:
    """Control plane and node, in the namespaces of the calling process."""

    def __init__(self, folder: Path, binary: Path, cgroup: str) -> None:
        self._folder = folder
        self._binary = binary
        self._cgroup = cgroup
        self._cluster = EmbeddedCluster(
            folder / "kube",
            durable=False,
            controllers=WORKLOAD_CONTROLLERS,
            name="pods",
            binary=binary,
            network=Network(network.ADDRESS, nodes=True),
            start_timeout=PATIENCE,
        )
        self._processes: list[SupervisedProcess] = []

    async def start(self, images: list[str]) -> dict[str, Any]:
        """Starts everything; returns once the node is ready to run pods."""
        self._mount()
        await network.prepare()
        self._write(Path("/run/cni/10-pods.conflist"), json.dumps(network.plugins()))
        self._write(self._folder / "containerd.toml", configuration.containerd())
        self._run("containerd", "containerd", "--config", str(self._folder / "containerd.toml"))
        await asyncio.gather(self._cluster.start(), self._load(images))
        self._components()
        await self._until_ready()
        pids = {process.role: pid for process in self._processes if (pid := process.pid)}
        admin = self._cluster.kubeconfig(self._folder / "admin.kubeconfig")
        return {"kubeconfig": str(admin), "pids": pids | self._cluster.pids}

    def _mount(self) -> None:
        """Everything keeps its usual place, which in this mount namespace is a folder of the node's."""
        for source, target in (("var-lib", "/var/lib"), ("var-log", "/var/log")):
            (self._folder / source).mkdir()
            subprocess.run(["mount", "--bind", str(self._folder / source), target], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True)
        # The kubelet reads what it wants to read, and leaves the machine's own settings alone.
        for name, value in configuration.KERNEL_SETTINGS.items():
            pretended = self._write(self._folder / "sys" / name, f"{value}\n")
            subprocess.run(["mount", "--bind", str(pretended), f"/proc/sys/{name}"], check=True)
        # Volumes that a kubelet mounts have to show in the containers.
        subprocess.run(["mount", "--make-rshared", "/"], check=True)

    def _components(self) -> None:
        client_ca = str(Layout(self._folder / "kube").certificate(CLIENT_CA))
        kubelet = self._write_json("kubelet", configuration.kubelet(client_ca, self._cgroup))
        access = self._access("node", f"system:node:{configuration.NODE}", "system:nodes")
        proxy = self._write_json("proxy", configuration.proxy(self._access("proxy", "system:kube-proxy")))
        scheduler = self._access("scheduler", "system:kube-scheduler")
        self._kube("kubelet", config=kubelet, kubeconfig=access, node_ip=network.ADDRESS, cert_dir="/run/kubelet",
                   hostname_override=configuration.NODE, v="2")  # fmt: skip
        self._kube("proxy", config=proxy)
        self._kube("scheduler", kubeconfig=scheduler, leader_elect="false", secure_port="0")

    def _access(self, name: str, user: str, *groups: str) -> str:
        access = self._cluster.access_as(user, groups)
        text = kubeconfig.render(
            name=name,
            server=access.server,
            ca_pem=access.ca_pem,
            client_cert_pem=access.client_cert_pem,
            client_key_pem=access.client_key_pem,
        )
        return str(self._write(self._folder / f"{name}.kubeconfig", text))

    async def _load(self, images: list[str]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not Path(configuration.SOCKET).exists():
                await asyncio.sleep(0.05)
            for image in images:
                await _imported(image)

    async def _until_ready(self) -> None:
        transport = HttpTransport(self._cluster.access)
        client = Client(transport)
        try:
            async with asyncio.timeout(PATIENCE):
                while not (await _is_ready(client) and await _serves_services()):
                    await asyncio.sleep(0.2)
        finally:
            await transport.close()

    def _kube(self, component: str, **flags: str) -> None:
        given = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
        self._run(component, str(self._binary), component, *given)

    def _run(self, role: str, *argv: str) -> None:
        # Supervised processes keep their files to themselves; a container's root must be open to its user.
        opened = ("sh", "-c", 'umask 022 && exec "$@"', role, *argv)
        process = SupervisedProcess(
            Command(role, opened, _ENVIRONMENT),
            log=self._folder / f"{role}.log",
            pid_file=self._folder / f"{role}.pid",
            probe=None,
            policy=Policy(stop_grace=1.0),
        )
        process.start()
        self._processes.append(process)

    def _write_json(self, name: str, content: dict[str, Any]) -> str:
        return str(self._write(self._folder / f"{name}.json", json.dumps(content, indent=1)))

    @staticmethod
    def _write(path: Path, text: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(text)
        return path


async def _imported(image: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *("ctr", "--namespace", "k8s.io", "images", "import", "--all-platforms", image),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"importing {image}: {output.decode()}")


async def _is_ready(client: Client) -> bool:
    try:
        node = await client.get_or_none(NODES, configuration.NODE)
    except KubeError:
        return False
    if node is None or node["spec"].get("taints"):
        return False
    conditions = node.get("status", {}).get("conditions", ())
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


async def _serves_services() -> bool:
    """Whether kube-proxy has set up the service `kubernetes`, which is how pods find the API server."""
    try:
        async with asyncio.timeout(1):
            _, writer = await asyncio.open_connection(SERVICE_ADDRESS, 443)
    except OSError:
        return False
    writer.transport.abort()
    return True


async def main() -> None:
    """Runs the node until the standard input ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(loop=loop)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    wanted = json.loads(await reader.readline())
    folder = Path(wanted["folder"])
    node = Node(folder, Path(wanted["binary"]), wanted["cgroup"])
    ready = await node.start(wanted["images"])
    (folder / "ready.new").write_text(json.dumps(ready))
    (folder / "ready.new").rename(folder / "ready.json")
    await reader.read()


if __name__ == "__main__":
    status = 0
    try:
        asyncio.run(main())
    except BaseException:
        traceback.print_exc()
        status = 1
    # Everything else in these namespaces ends with this process: no need to ask each.
    os._exit(status)
