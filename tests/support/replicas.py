"""Several server replicas on one management cluster, behind a real load balancer, with one real imported cluster."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from outrider.kube.builtin import CONFIGMAPS, LEASES
from outrider.kube.client import Client
from outrider.kube.embedded import ports
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.embedded.commands import MANAGEMENT_CONTROLLERS
from outrider.kube.transport import HttpTransport
from outrider.server.demo import DemoCluster
from outrider.server.entry import Entry
from tests.support.door import Door
from tests.support.instance import Command, environment

T = TypeVar("T")
NAMESPACE = "cattle-system"
PATIENCE = 60.0


def haproxy() -> str | None:
    """The program, if this machine has it."""
    return shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/sbin")


class Server:
    """One `outrider server`; may be killed and started again under its name and at its port."""

    def __init__(self, name: str, folder: Path, options: list[str]) -> None:
        self.name = name
        self.port = ports.free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self._folder = folder / name
        self._options = options
        self._runs = 0
        self._command: Command | None = None

    def start(self) -> None:
        """Starts it and waits until it serves."""
        self._folder.mkdir(exist_ok=True)
        self._runs += 1
        self._command = command = Command(
            [
                *("server", "--data", str(self._folder / "d"), "--replica", self.name),
                *("--listen", f"127.0.0.1:{self.port}", *self._options),
            ],
            output=self._folder / f"run-{self._runs}.log",
            environ=environment(),
        )
        deadline = time.monotonic() + PATIENCE
        while "serving on" not in command.output:
            if command.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{self.name} did not start:\n{command.output}")
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL: its processes die with it, nobody says good-bye."""
        if self._command is not None and self._command.process.poll() is None:
            self._command.stop(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        return self._command.stop(signal.SIGTERM) if self._command is not None else 0

    def pause(self) -> None:
        """SIGSTOP for all of its processes, in one moment as far as that can be."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """They go on, and know nothing of the pause."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._command is not None
        parent = self._command.process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        for pid in (parent, *map(int, children)):
            os.kill(pid, number)

    def log(self, role: str) -> str:
        """What one of its processes has logged."""
        return (self._folder / "d" / "logs" / f"{role}.log").read_text(errors="replace")


class Balancer:
    """haproxy, passing TCP on. `balance` is haproxy's word for the way it chooses."""

    def __init__(self, program: str, folder: Path) -> None:
        self.port = ports.free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.balance = ""
        self._program = program
        self._config = folder / "haproxy.cfg"
        self._log = folder / "haproxy.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, servers: list[Server], balance: str) -> None:
        """Starts it, in place of one that runs."""
        self.stop()
        self.balance = balance
        lines = [f"    server {one.name} 127.0.0.1:{one.port} check" for one in servers]
        self._config.write_text(_CONFIG.format(port=self.port, balance=balance, servers="\n".join(lines)))
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-db", "-f", str(self._config)], stdout=log, stderr=log
            )
        deadline = time.monotonic() + PATIENCE
        while not _listens(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"haproxy did not start:\n{self._log.read_text()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stops it; every connection through it ends."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


_CONFIG = """
global
    maxconn 2000
defaults
    mode tcp
    timeout connect 1s
    timeout client 1h
    timeout server 1h
    timeout check 500ms
    retries 3
    option redispatch 1
frontend front
    bind 127.0.0.1:{port}
    default_backend replicas
backend replicas
    balance {balance}
    default-server inter 300ms fall 2 rise 1 on-marked-down shutdown-sessions
{servers}
"""


class Plane:
    """Everything together. Made by `start`, which takes some 20 s.

    `options` are more of `outrider server`; `url` is what agents dial, the balancer's unless it is set before.
    """

    def __init__(self, folder: Path, program: str, options: Sequence[str] = ()) -> None:
        self.folder = folder
        self.balancer = Balancer(program, folder)
        self.url = self.balancer.url
        self._options = options
        self.management = EmbeddedCluster(
            folder / "management", durable=False, controllers=MANAGEMENT_CONTROLLERS, name="management"
        )
        self.cluster: dict[str, Any] = {}
        self.servers: list[Server] = []
        self._demo = DemoCluster(folder, 1)
        self._loop = asyncio.new_event_loop()
        # Children die with the thread that started them.
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        """Management cluster, two replicas, the balancer, and a cluster imported through it."""
        self._thread.start()
        demo = asyncio.run_coroutine_threadsafe(self._demo.start(), self._loop)
        self.call(self.management.start())
        config = self.management.kubeconfig(self.folder / "management.yaml")
        options = ["--kubeconfig", str(config), "--server-url", self.url, "--audit-level", "0"]
        options += self._options
        self.servers = [Server(name, self.folder, options) for name in ("alpha", "beta")]
        for server in self.servers:
            server.start()
        self.balancer.start(self.servers, "roundrobin")
        demo.result(PATIENCE)
        self.cluster = self.call(self._join())

    def stop(self) -> None:
        """Stops everything."""
        self.call(self._demo.stop())
        for server in self.servers:
            server.stop()
        self.balancer.stop()
        self.call(self.management.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs something on the loop of the supervised processes."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE * 2)

    # looking

    def sessions(self, server: Server) -> list[str]:
        """The clusters that a replica publishes."""
        data = self._published(server)
        return list(json.loads(data.get("clusters", "[]")))

    def peer_address(self, server: Server) -> tuple[str, int]:
        """Where a replica lets its peers in."""
        host, _, port = self._published(server)["address"].rpartition(":")
        return host, int(port)

    def leader(self) -> str:
        """The replica that holds the leaders' Lease."""
        lease = self._managed(lambda client: client.get(LEASES, "outrider-controllers", NAMESPACE))
        return str(lease["spec"].get("holderIdentity", ""))

    def managed(self, look: Any) -> Any:
        """What `look(client)` gives, on the management cluster itself."""
        return self._managed(look)

    def kubeconfig(self, base: str, cluster: str = "") -> Path:
        """A kubeconfig for the cluster through one server or the balancer, whose URL is `base`."""
        identifier = cluster or self.cluster["id"]
        path = self.folder / f"{identifier}-{base.rpartition(':')[2]}.yaml"
        text = Path(self.cluster["kubeconfig"]).read_text()
        text = text.replace(self.balancer.url, base).replace(
            f"/clusters/{self.cluster['id']}", f"/clusters/{identifier}"
        )
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def door(self, base: str) -> Door:
        """The cluster's API through one server or the balancer."""
        return Door.of_kubeconfig(self.kubeconfig(base))

    def counter(self, server: Server, name: str) -> float:
        """The sum of a metric's samples; gateways hand theirs over every few seconds."""
        text = self.door(server.url).root().get("/metrics").body.decode()
        lines = [line for line in text.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    @property
    def agent(self) -> int:
        """The process that is the agent now; 0 while it is started again."""
        return self._demo.pids.get("demo-1-agent", 0)

    def kill_agent(self) -> None:
        """SIGKILL for the agent; it is started again at once."""
        os.kill(self.agent, signal.SIGKILL)

    def _published(self, server: Server) -> dict[str, str]:
        found = self._managed(
            lambda client: client.get_or_none(CONFIGMAPS, f"sessions-{server.name}", NAMESPACE)
        )
        return dict(found["data"]) if found is not None else {}

    def _managed(self, look: Any) -> Any:
        async def once() -> Any:
            transport = HttpTransport(self.management.access)
            try:
                return await look(Client(transport))
            finally:
                await transport.close()

        return self.call(once())

    async def _join(self) -> dict[str, Any]:
        transport = HttpTransport(self.management.access)
        try:
            client = Client(transport)
            entry = await Entry.open(client, self.balancer.url, self.folder)
            return await self._demo.join(entry, client)
        finally:
            with contextlib.suppress(Exception):
                await transport.close()
