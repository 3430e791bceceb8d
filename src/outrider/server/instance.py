"""One instance of `outrider up`: an embedded management cluster, a replica, and the demo's clusters."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from outrider.gateway.config import Address, ConnectionLimits
from outrider.kube.client import Client
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.embedded.ports import free_port, is_free
from outrider.kube.kubeconfig import ClusterAccess
from outrider.kube.transport import HttpTransport
from outrider.server import api_door
from outrider.server.api_target import ApiDoorConfig
from outrider.server.auditing import AuditOptions
from outrider.server.config import ControlConfig, ServingConfig
from outrider.server.demo import DemoCluster
from outrider.server.entry import Entry
from outrider.server.replica import Replica, ReplicaConfig, check_possible

Say = Callable[[str], None]
"""Tells the person at the terminal what happens, a line at a time."""


class InstanceConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What `outrider up` is told. `data` holds everything that must survive."""

    data: Path
    listen: tuple[Address, ...]
    demo: int = 0
    server_url: str = ""
    serving: ServingConfig = ServingConfig()
    trusted_proxies: tuple[str, ...] = ()
    connections: ConnectionLimits = ConnectionLimits()
    audit: AuditOptions = AuditOptions()
    silence: float = 22.0
    removal_patience: float = 50.0


class Instance:
    """Starts and stops everything of one data folder."""

    def __init__(self, config: InstanceConfig, say: Say) -> None:
        self._config = config
        self._say = say
        self._stack = AsyncExitStack()
        self._management = EmbeddedCluster(
            config.data / "management", durable=True, name="management", callee=api_door.HOST
        )
        self._demo = [DemoCluster(config.data, number) for number in range(1, config.demo + 1)]
        self._replica: Replica | None = None

    async def start(self) -> dict[str, Any]:
        """Starts everything; returns what the ready file holds (issue A, interfaces)."""
        check_possible(self._config.data / "server", self._config.listen)
        with _private(self._config.data):
            starting = [asyncio.create_task(demo.start()) for demo in self._demo]
            for demo in self._demo:
                self._stack.push_async_callback(demo.stop)
            try:
                return await self._start(starting)
            except BaseException:
                for task in starting:
                    task.cancel()
                await asyncio.gather(*starting, return_exceptions=True)
                await self.stop()
                raise

    async def stop(self) -> None:
        """Stops everything, in the opposite order; nothing is lost."""
        await self._stack.aclose()

    async def _start(self, starting: list[asyncio.Task[None]]) -> dict[str, Any]:
        self._say("starting the management cluster")
        self._stack.push_async_callback(self._management.stop)
        await self._management.start()
        self._say("starting the server")
        url = await self._start_replica()
        async with _client(self._management.access) as client:
            entry = await Entry.open(client, url, self._config.data)
            if starting:
                self._say(f"importing {len(starting)} clusters")
            await asyncio.gather(*starting)
            clusters = await asyncio.gather(*(demo.join(entry, client) for demo in self._demo))
            return await self._summary(entry, list(clusters))

    async def _start_replica(self) -> str:
        config = self._config
        folder = config.data / "server"
        folder.mkdir(mode=0o700, exist_ok=True)
        listen = self._remembered(config.listen)
        first = listen[0]
        host = "127.0.0.1" if first.host in {"0.0.0.0", "::"} else first.host  # noqa: S104
        replica = Replica(
            ReplicaConfig(
                folder=folder,
                listen=listen,
                trusted_proxies=config.trusted_proxies,
                connections=config.connections,
                audit=config.audit.config(folder, config.data / "audit" / "audit.log"),
                silence=config.silence,
                control=ControlConfig(
                    folder=folder,
                    kubeconfig=str(self._management.kubeconfig(folder / "management.kubeconfig")),
                    replica=_replica_name(config.data),
                    default_url=config.server_url or f"https://{_bracketed(host)}:{first.port}",
                    embedded=True,
                    api_door=ApiDoorConfig(port=self._management.callback_port, proven=True),
                    removal_patience=config.removal_patience,
                    serving=msgspec.structs.replace(config.serving, hosts=(*config.serving.hosts, host)),
                    environ=settings_of(),
                ),
            )
        )
        self._replica = replica
        self._stack.push_async_callback(replica.stop)
        ports = await replica.start()
        return f"https://{_bracketed(host)}:{ports[0]}"

    def _remembered(self, listen: tuple[Address, ...]) -> tuple[Address, ...]:
        # Kubeconfigs and agents know the port: a free one is chosen once and kept.
        path = self._config.data / "server" / "ports.json"
        kept = msgspec.json.decode(path.read_bytes(), type=list[int]) if path.exists() else []
        chosen = [
            address
            if address.port
            else msgspec.structs.replace(address, port=_free(address.host, kept[i : i + 1]))
            for i, address in enumerate(listen)
        ]
        path.write_bytes(msgspec.json.encode([address.port for address in chosen]))
        return tuple(chosen)

    async def _summary(self, entry: Entry, clusters: list[dict[str, Any]]) -> dict[str, Any]:
        replica = self._replica
        pids = {f"management-{role}": pid for role, pid in self._management.pids.items()}
        pids |= replica.pids if replica is not None else {}
        for demo in self._demo:
            pids |= demo.pids
        return {
            "url": entry.url,
            "ca_file": str(entry.ca_file),
            "username": "admin",
            "bootstrap_password": await entry.bootstrap_password(),
            "admin_kubeconfig": str(await entry.kubeconfig("local")),
            "pids": pids | {"supervisor": os.getpid()},
            "clusters": clusters,
        }


@contextlib.contextmanager
def _private(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    former = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(former)


@contextlib.asynccontextmanager
async def _client(access: ClusterAccess) -> AsyncIterator[Client]:
    transport = HttpTransport(access)
    try:
        yield Client(transport)
    finally:
        await transport.close()


def settings_of() -> dict[str, str]:
    """The part of the environment that the control process reads: settings and the bootstrap password."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("CATTLE_", "OUTRIDER_BOOTSTRAP_"))
    }


def _replica_name(data: Path) -> str:
    digest = hashlib.sha256(str(data.absolute()).encode()).hexdigest()[:8]
    return f"{socket.gethostname().lower()}-{digest}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _free(host: str, kept: list[int]) -> int:
    return next((port for port in kept if is_free(port, host)), None) or free_port(kept, host)
