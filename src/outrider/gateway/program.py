"""The gateway process: builds the front door, keeps the link to control, serves until it is told to stop."""

import asyncio
from pathlib import Path

import msgspec
import structlog

from outrider.gateway import listener
from outrider.gateway.admission import Reception
from outrider.gateway.audit import AuditTrail, NoAudit
from outrider.gateway.backends import cluster_pool, control_pool
from outrider.gateway.config import GatewayConfig
from outrider.gateway.dispatch import Dispatcher
from outrider.gateway.forwarding import Forwarding
from outrider.gateway.inner_door import Anywhere, InnerDoor
from outrider.gateway.listener import Listeners
from outrider.gateway.metrics import Metrics
from outrider.gateway.peering import Peering
from outrider.gateway.tunnels import TunnelRegistry
from outrider.kit.backoff import Backoff
from outrider.kube import kubeconfig
from outrider.link.endpoint import Endpoint, LinkError, connect
from outrider.link.messages import (
    Admission,
    Admit,
    Beat,
    CloseSessions,
    Counters,
    FromAgent,
    Invalidate,
    PeerDoor,
    PeerMaterial,
    Peers,
    Resolve,
    Serve,
    SessionClosed,
    SessionOpened,
    ToAgent,
    Verdict,
)

_log = structlog.get_logger("outrider.gateway")


class Gateway:
    """The front door. `run` serves until `stop` is called."""

    def __init__(self, config: GatewayConfig) -> None:
        self._config = config
        self._endpoint: Endpoint | None = None
        self._stopping = asyncio.Event()
        self._ready = asyncio.Event()
        self._metrics = Metrics()
        forwarding = Forwarding(config.trusted_proxies)
        self._audit = _audit(config, forwarding)
        self._tunnels = TunnelRegistry(self._send, silence=config.silence_seconds)
        self._reception = Reception(self._send, self._tunnels)
        self._peering = Peering(config.peer, self._tunnels, tell=self._send, receive=self._reception.receive)
        self._local = cluster_pool(kubeconfig.load(config.kubeconfig))
        self._control = control_pool(Path(config.control_socket))
        self._dispatcher = Dispatcher(
            self._send,
            self._tunnels,
            local=self._local,
            control=self._control,
            peers=self._peering,
            tunnel=self._peering.receive,
            forwarding=forwarding,
            audit=self._audit,
            metrics=self._metrics,
            beat_seconds=config.beat_seconds,
        )
        self._inner = InnerDoor(Anywhere(self._tunnels, self._peering))
        self._listeners = Listeners(self._dispatcher, config.connections, trusts=forwarding.trusts)

    def stop(self) -> None:
        """Ends `run`."""
        self._stopping.set()

    async def run(self) -> None:
        """Serves."""
        async with asyncio.TaskGroup() as tasks:
            link = tasks.create_task(self._keep_link())
            sweeper = tasks.create_task(self._sweep())
            if self._config.reach_socket:
                await self._inner.listen(Path(self._config.reach_socket))
            waits = [tasks.create_task(self._ready.wait()), tasks.create_task(self._stopping.wait())]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if not self._stopping.is_set():
                await self._listen()
                await self._stopping.wait()
            waits[0].cancel()
            await self._drain()
            link.cancel()
            sweeper.cancel()

    async def _listen(self) -> None:
        ports = [await self._listeners.listen(a.host, a.port, tls=a.tls) for a in self._config.listen]
        if self._config.ports_file:
            await asyncio.to_thread(_write, Path(self._config.ports_file), msgspec.json.encode(ports))
        _log.info("listening", ports=ports)

    async def _drain(self) -> None:
        await self._listeners.close()
        deadline = asyncio.get_running_loop().time() + self._config.drain_seconds
        for connection in list(self._dispatcher.connections):
            if connection.idle:
                connection.close()
        # Exchanges end in callbacks of the data path, which tells nobody.
        while self._dispatcher.connections and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        for connection in list(self._dispatcher.connections):
            connection.abort("the server stops")
        self._inner.close()
        self._tunnels.close()
        await self._peering.close()
        await self._local.close()
        await self._control.close()
        await asyncio.sleep(0.01)  # whoever was cut off hears of it, and is recorded
        self._audit.close()

    # the link to control

    def _send(
        self, message: Resolve | Admit | SessionOpened | SessionClosed | FromAgent | PeerDoor | Counters
    ) -> None:
        if self._endpoint is None or self._endpoint.closed:
            return  # who waits for an answer times out; sessions are announced anew once the link is back
        try:
            self._endpoint.send(message)
        except LinkError as error:
            _log.warning("message to control lost", error=str(error))

    async def _keep_link(self) -> None:
        backoff = Backoff(0.05, 2.0)
        while True:
            try:
                self._endpoint = await connect(self._config.link_socket)
                backoff.reset()
                self._tunnels.announce()
                self._peering.announce()
                async for message in self._endpoint:
                    self._receive(message)
            except LinkError as error:
                _log.debug("no link to control", error=str(error))
            finally:
                endpoint, self._endpoint = self._endpoint, None
                if endpoint is not None:
                    endpoint.start_closing()
                self._dispatcher.verdicts.on_link_lost()
            await asyncio.sleep(backoff.next())

    def _receive(self, message: object) -> None:
        match message:
            case Verdict():
                self._dispatcher.verdicts.on_verdict(message)
            case Beat():
                self._dispatcher.verdicts.on_beat(message)
            case Invalidate():
                self._dispatcher.verdicts.on_invalidate(message)
            case Admission():
                self._reception.on_admission(message)
            case ToAgent():
                self._tunnels.on_message(message)
            case CloseSessions():
                self._tunnels.on_close(message)
            case PeerMaterial():
                self._peering.on_material(message)
            case Peers():
                self._peering.on_peers(message)
            case Serve():
                self._listeners.use(message)
                self._ready.set()
            case _:
                _log.warning("unexpected message from control", type=type(message).__name__)

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._config.sweep_seconds)
            listener.sweep(self._dispatcher.connections, loop.time(), idle=self._listeners.patience)
            self._tunnels.sweep()
            self._peering.sweep()
            self._inner.sweep()
            self._dispatcher.verdicts.sweep()
            self._local.sweep()
            self._control.sweep()
            connections = len(self._dispatcher.connections)
            tunnels = sum(1 for _ in self._tunnels)
            counted = self._metrics.values(connections=connections, tunnels=tunnels)
            counted |= self._listeners.values() | self._peering.values() | self._audit.values()
            self._send(Counters(values=counted))


def _write(path: Path, data: bytes) -> None:
    partial = path.with_name(path.name + ".new")
    partial.write_bytes(data)
    partial.rename(path)


def _audit(config: GatewayConfig, clients: Forwarding) -> AuditTrail | NoAudit:
    if not config.audit_pipe or not config.audit_level:
        return NoAudit()
    return AuditTrail(
        Path(config.audit_pipe), clients, level=config.audit_level, excluded=config.audit_exclude_groups
    )
