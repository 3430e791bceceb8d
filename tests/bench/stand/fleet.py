"""Many agents in one process: `python -m tests.bench.stand.fleet CONFIG.json`.

Each has the real dialer, trust, tunnel and reporter; its cluster is made up: a few nodes and namespaces that never
change, no API server. What it is told to want it fetches and calls applied. Every tunnel that opens is a line in the
file `log`: the time, and the agent's number.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import ssl
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

import msgspec
import uvloop

from outrider.agent.dialer import Dialer, Tunnel
from outrider.agent.reporter import Facts, Reporter
from outrider.agent.settings import AgentSettings
from outrider.agent.trust import Trust
from outrider.kit import pki
from outrider.kit.clock import SystemClock
from outrider.tunnel import session
from outrider.tunnel.agent import AgentSession
from outrider.tunnel.exchange import Backend, Responder, Upstream
from outrider.tunnel.frames import Request
from outrider.tunnel.reports import (
    Health,
    Hello,
    NamespaceReport,
    NodeReport,
    Resync,
    StateHead,
    StateHello,
    StateNeed,
    StatePart,
    StateReport,
    UnknownMessage,
    VersionInfo,
    decode_server_message,
    encode,
)

NAMESPACES = (
    "default",
    "kube-system",
    "kube-public",
    "kube-node-lease",
    "cattle-system",
    "shop",
    "shop-db",
    "web",
)
KUBELET = "v1.34.2"


class FleetConfig(msgspec.Struct, kw_only=True):
    """What the process is told. `tokens` are registration tokens, one an agent; `first` is the first one's number."""

    server: str
    checksum: str
    tokens: list[str]
    log: str
    first: int = 0
    nodes: int = 3
    silence: float = 25.0
    ping_every: float = 5.0
    start_over: float = 20.0


class NoCluster(Backend):
    """Refuses requests: there is no API server behind these agents."""

    def open(self, request: Request, claim: bytes, responder: Responder) -> Upstream:
        """Says so."""
        responder.on_reset("no cluster here", refused=True)
        return Upstream()


class Shown:
    """The headers of one agent's dials."""

    def __init__(self, token: str, authority: str) -> None:
        cluster = {"address": "10.43.0.1:443", "caCert": authority, "uid": str(uuid.uuid4())}
        params = base64.b64encode(msgspec.json.encode({"cluster": cluster})).decode()
        self._headers = {
            "X-API-Tunnel-Token": token,
            "X-API-Tunnel-Params": params,
            "User-Agent": "outrider-agent/bench",
        }

    async def headers(self, *, refused: bool) -> dict[str, str]:
        """A copy: the dialer adds to it."""
        return dict(self._headers)


class SimulatedAgent:
    """One agent."""

    def __init__(self, number: int, config: FleetConfig, trust: Trust, shown: Shown, log: TextIO) -> None:
        self._number = number
        self._log = log
        self._wanted = StateHead(epoch=0, counter=0, hash="", parts=())
        self._missing: set[str] = set()
        self._reporter = Reporter(secrets.token_hex(8), agent_version="bench")
        describe(self._reporter, number, config.nodes)
        self._reporter.mark_ready()
        settings = AgentSettings(
            server=config.server,
            ca_checksum=config.checksum,
            strict_verify=True,
            kubernetes_host="10.43.0.1",
            silence=config.silence,
            ping_every=config.ping_every,
        )
        now = asyncio.get_running_loop().time
        self._dialer = Dialer(
            settings, trust, shown, self._dial, opened=self._opened, gone=self._reporter.detach, now=now
        )

    async def run(self) -> None:
        """For ever."""
        await self._dialer.run()

    async def _dial(
        self, url: str, context: ssl.SSLContext, headers: Mapping[str, str], *, proxy: str | None
    ) -> Tunnel:
        return await session.dial(url, context, headers, AgentSession(NoCluster(), self._receive))

    def _opened(self, tunnel: Tunnel) -> None:
        self._log.write(f"{time.time():.3f} {self._number}\n")
        self._log.flush()
        self._reporter.attach(tunnel)
        tunnel.send_message(encode(StateHello()))

    def _receive(self, tunnel: AgentSession, body: bytes) -> None:
        try:
            message = decode_server_message(body)
        except UnknownMessage:
            return
        match message:
            case Hello():
                self._dialer.greeted(tunnel, message)
            case Resync():
                self._reporter.resync(tunnel)
            case StateHead():
                self._wanted = message
                self._missing = {digest for group in message.parts for digest in group}
                self._state_grew(tunnel)
            case StatePart():
                self._missing.discard(message.digest)
                self._state_grew(tunnel)

    def _state_grew(self, tunnel: AgentSession) -> None:
        """Asks for what is missing, or calls the state applied once it has come."""
        head = self._wanted
        if self._missing:
            tunnel.send_message(encode(StateNeed(hash=head.hash, parts=tuple(sorted(self._missing))[:4])))
            return
        done = StateReport(
            epoch=head.epoch,
            counter=head.counter,
            hash=head.hash,
            term=1,
            sequence=1,
            applied=sum(map(len, head.parts)),
        )
        tunnel.send_message(encode(done))


def describe(reporter: Reporter, number: int, nodes: int) -> None:
    """Fills in a small cluster."""
    version = VersionInfo(major="1", minor="34", git_version=KUBELET, platform="linux/amd64")
    reporter.facts_changed(Facts(version=version, health=Health(ok=True), strict_tls=True, hints=[]))
    for index in range(nodes):
        name = f"node-{number}-{index}"
        reporter.node_changed(
            name, NodeReport(name=name, uid=str(uuid.uuid4()), labels=labels(name), status=status(index))
        )
    for name in NAMESPACES:
        reporter.namespace_changed(name, NamespaceReport(name=name))


def labels(name: str) -> dict[str, str]:
    """What a kubelet writes."""
    return {
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "node-role.kubernetes.io/control-plane": "true",
        "topology.kubernetes.io/zone": "z1",
    }


def status(index: int) -> dict[str, object]:
    """A node's status with a handful of images."""
    amounts = {"cpu": "4", "memory": "8146912Ki", "pods": "110", "ephemeral-storage": "101430960Ki"}
    since = "2030-01-01T00:00:00Z"
    kinds = {"MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False", "Ready": "True"}
    return {
        "addresses": [{"type": "InternalIP", "address": f"10.0.0.{index + 1}"}],
        "allocatable": amounts,
        "capacity": amounts,
        "conditions": [
            {
                "type": kind,
                "status": value,
                "lastTransitionTime": since,
                "reason": "Kubelet",
                "message": "as it should be",
            }
            for kind, value in kinds.items()
        ],
        "images": [
            {"names": [f"docker.io/library/image-{number}:1.{number}"], "sizeBytes": 10_000_000 + number}
            for number in range(10)
        ],
        "nodeInfo": {
            "kubeletVersion": KUBELET,
            "osImage": "Linux",
            "kernelVersion": "6.1",
            "architecture": "amd64",
        },
    }


async def main() -> None:
    """Starts all agents over a while, then lets them live."""
    config = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=FleetConfig)
    authority = base64.b64encode(pki.create_authority("bench", now=SystemClock().now()).cert_pem).decode()
    trust = Trust(config.server, expected=config.checksum, strict=True)
    with Path(config.log).open("a") as log:
        async with asyncio.TaskGroup() as agents:
            for index, token in enumerate(config.tokens):
                agent = SimulatedAgent(config.first + index, config, trust, Shown(token, authority), log)
                agents.create_task(agent.run())
                await asyncio.sleep(config.start_over / len(config.tokens))


if __name__ == "__main__":
    uvloop.run(main())
