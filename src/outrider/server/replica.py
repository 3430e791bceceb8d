"""A replica's processes: control, gateway and, when something is recorded, the audit writer."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from outrider.gateway.config import Address, ConnectionLimits, GatewayConfig, PeerAddress
from outrider.kube.embedded.commands import Command
from outrider.kube.embedded.process import Policy, SupervisedProcess
from outrider.server.config import AuditConfig, ControlConfig

_POLICY = Policy(stop_grace=8.0)
_SWEEP = 5.0
_SOCKET_PATH = 107
"""Bytes that the path of a Unix socket may have (unix(7))."""
_THRIFTY = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "131072"}
"""For a process that reads large lists now and then (mallopt(3)): what held them goes back to the system at once.

The gateway does without: its buffers of about that size come and go with every request.
"""
_PASSED_ON = ("PATH", "HOME", "LANG", "TZ", "PYTHONPATH", "SSL_CERT_FILE", "SSL_CERT_DIR")


class ReplicaError(Exception):
    """The replica did not come up; the text says where to look."""


class ReplicaConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a replica is made of. `folder` is for sockets, logs and handed-over files, 0700.

    `silence`: seconds after which an agent that says nothing is taken for dead; noticed within the sweep's 5 s more.
    """

    folder: Path
    control: ControlConfig
    listen: tuple[Address, ...]
    peer: PeerAddress | None = None
    trusted_proxies: tuple[str, ...] = ()
    connections: ConnectionLimits = ConnectionLimits()
    audit: AuditConfig | None = None
    silence: float = 22.0


class Replica:
    """Starts, restarts and stops a replica's processes."""

    def __init__(self, config: ReplicaConfig) -> None:
        self._config = config
        self._processes: list[SupervisedProcess] = []

    @property
    def pids(self) -> dict[str, int]:
        """The running processes by role."""
        return {process.role: pid for process in self._processes if (pid := process.pid)}

    async def start(self, timeout: float = 60.0) -> list[int]:
        """Starts everything; returns the ports once all serve. Raises ReplicaError."""
        folder = self._config.folder
        check_possible(folder, self._config.listen)
        logs = folder / "logs"
        for path in (folder, logs):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.chmod(0o700)
        ready, ports = folder / "control.ready", folder / "gateway.ports"
        for stale in (ready, ports):
            stale.unlink(missing_ok=True)
        if self._config.audit is not None:
            self._run("audit", "outrider.server.audit", self._config.audit)
        self._run("control", "outrider.server.control", self._control(ready), _THRIFTY)
        self._run("gateway", "outrider.server.gateway", self._gateway(ports))
        await self._wait(ready, "control", timeout)
        await self._wait(ports, "gateway", timeout)
        return msgspec.json.decode(ports.read_bytes(), type=list[int])

    async def stop(self) -> None:
        """Stops the gateway first, so that nobody meets a server without its control process."""
        for process in reversed(self._processes):
            await process.stop()
        self._processes.clear()

    def _control(self, ready: Path) -> ControlConfig:
        return msgspec.structs.replace(self._config.control, ready_file=str(ready))

    def _gateway(self, ports: Path) -> GatewayConfig:
        control = self._config.control
        audit = self._config.audit
        return GatewayConfig(
            listen=self._config.listen,
            link_socket=str(control.link_socket),
            control_socket=str(control.control_socket),
            reach_socket=str(control.reach_socket),
            kubeconfig=str(control.folder / "gateway.kubeconfig"),
            ports_file=str(ports),
            peer=self._config.peer,
            trusted_proxies=self._config.trusted_proxies,
            connections=self._config.connections,
            audit_pipe=str(audit.pipe) if audit is not None else "",
            audit_level=audit.level if audit is not None else 0,
            audit_exclude_groups=audit.exclude_groups if audit is not None else (),
            silence_seconds=self._config.silence,
            sweep_seconds=min(_SWEEP, self._config.silence / 4),
        )

    def _run(
        self, role: str, module: str, config: msgspec.Struct, variables: Mapping[str, str] | None = None
    ) -> None:
        folder = self._config.folder
        path = folder / f"{role}.json"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(config, enc_hook=os.fspath))
        process = SupervisedProcess(
            Command(
                role,
                (sys.executable, "-m", module, str(path)),
                environment(os.environ) | dict(variables or {}),
            ),
            log=folder / "logs" / f"{role}.log",
            pid_file=folder / f"{role}.pid",
            probe=None,
            policy=_POLICY,
        )
        process.start()
        self._processes.append(process)

    async def _wait(self, path: Path, role: str, timeout: float) -> None:
        process = next(one for one in self._processes if one.role == role)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        # The file appears by a rename in another process.
        while not path.exists():  # noqa: ASYNC240
            if process.restarts > 2 or loop.time() > deadline:
                log = self._config.folder / "logs" / f"{role}.log"
                raise ReplicaError(f"{role} did not come up; its log is {log}\n{_tail(log)}")
            await asyncio.sleep(0.02)


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What a child process may see of the environment: no secret that was meant for this one."""
    kept = {name: environ[name] for name in _PASSED_ON if name in environ}
    return kept | {"PYTHONUNBUFFERED": "1", "MALLOC_ARENA_MAX": "2"}


def check_possible(folder: Path, listen: Iterable[Address]) -> None:
    """Raises ReplicaError when no replica can run in that folder or at those addresses: early, and plainly."""
    size = len(os.fsencode(folder / "control.sock"))
    if size > _SOCKET_PATH:
        raise ReplicaError(
            f"the path of the data folder is {size - _SOCKET_PATH} bytes too long for the sockets that will be in "
            f"{folder}: choose a shorter one with --data"
        )
    for address in listen:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address.host, address.port))
            except OSError as error:
                raise ReplicaError(
                    f"cannot listen on {address.host}:{address.port}: {(error.strerror or str(error)).lower()}; "
                    "choose another address or port with --listen, or stop whoever uses this one"
                ) from None


def _tail(log: Path) -> str:
    # The last thing that was said, not the way to it: that stands in the log.
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    said = [line for line in lines if line.strip() and not line.startswith((" ", "+", "|", "Traceback"))]
    return "\n".join(said[-3:])
