"""The embedded cluster: one data folder, three processes, one handle for the supervisor and the tests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from outrider.kit import pki
from outrider.kit.clock import Clock, SystemClock
from outrider.kit.tasks import cancel_and_wait
from outrider.kube.embedded import certificates, commands, leftovers, ports
from outrider.kube.embedded.binary import find_binary
from outrider.kube.embedded.certificates import CertificateStore
from outrider.kube.embedded.commands import Command
from outrider.kube.embedded.layout import FolderLock, Layout
from outrider.kube.embedded.network import ALONE, Network
from outrider.kube.embedded.ports import LOOPBACK, Ports
from outrider.kube.embedded.probe import HttpsProbe
from outrider.kube.embedded.process import Policy, ProcessFailedError, SupervisedProcess
from outrider.kube.kubeconfig import ClusterAccess, render

_log = logging.getLogger(__name__)

_START_ATTEMPTS = 3
_RENEWAL_INTERVAL = timedelta(hours=6)


class EmbeddedCluster:
    """A real Kubernetes control plane, with its state in ``data_dir``.

    ``durable`` keeps etcd's fsync. ``controllers`` are those the controller manager runs. ``name`` shows in
    certificates and kubeconfigs. ``network`` says where the API server listens: on loopback when not given.
    ``callee`` is the host of the Service behind which admission webhooks are answered: the API server proves itself
    to it at ``callback_port``. ``binary`` defaults to ``find_binary()``; ``start_timeout`` is in seconds.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        durable: bool,
        controllers: Sequence[str] = commands.MANAGEMENT_CONTROLLERS,
        name: str = "outrider",
        network: Network = ALONE,
        callee: str = "",
        binary: Path | None = None,
        policy: Policy | None = None,
        start_timeout: float = 60.0,
        leaf_lifetime: timedelta = pki.LEAF_LIFETIME,
        renewal_interval: timedelta = _RENEWAL_INTERVAL,
        clock: Clock | None = None,
    ) -> None:
        self._layout = Layout(data_dir.absolute())
        self._durable = durable
        self._controllers = tuple(controllers)
        self._name = name
        self._network = network
        self._callee = callee
        self._binary = binary
        self._policy = policy or Policy()
        self._start_timeout = start_timeout
        self._renewal_interval = renewal_interval
        self._clock = clock or SystemClock()
        self._certificates = CertificateStore(
            self._layout,
            name=name,
            service_address=commands.SERVICE_ADDRESS,
            leaf_lifetime=leaf_lifetime,
            network=network,
        )
        self._lock = FolderLock(self._layout.root / "lock")
        self._ports: Ports | None = None
        self._processes: list[SupervisedProcess] = []
        self._renewal: asyncio.Task[None] | None = None

    @property
    def server(self) -> str:
        """The API server's URL; known from ``start`` on."""
        return f"https://{self._network.address}:{self._started_ports().apiserver}"

    @property
    def access(self) -> ClusterAccess:
        """Access for the supervisor's own bootstrap, in ``system:masters``; never hand it to a user."""
        admin = self._certificates.credential(certificates.ADMIN)
        return self._access_of(admin)

    @property
    def front_proxy_ca(self) -> bytes:
        """The authority (PEM) behind the aggregation layer's certificate, for those that it forwards to."""
        return self._certificates.authority_pem(certificates.FRONT_PROXY_CA)

    @property
    def callback_port(self) -> int:
        """The port of loopback kept for a server that the API server calls; known from ``start`` on."""
        return self._started_ports().callback

    @property
    def pids(self) -> dict[str, int]:
        """The running processes by role: ``etcd``, ``apiserver``, ``controller-manager``."""
        return {process.role: pid for process in self._processes if (pid := process.pid)}

    def issue_client(self, cn: str, groups: Sequence[str] = ()) -> pki.Credential:
        """A new client certificate for user ``cn`` in ``groups``; valid as long as the cluster's own."""
        return self._certificates.issue_client(cn, groups, self._clock.now())

    def access_as(self, cn: str, groups: Sequence[str] = ()) -> ClusterAccess:
        """Access with a new client certificate for user ``cn`` in ``groups``."""
        return self._access_of(self.issue_client(cn, groups))

    def kubeconfig(self, path: Path) -> Path:
        """Writes the administrator's kubeconfig (mode 0600, holds a private key) and returns the path."""
        access = self.access
        text = render(
            name=self._name,
            server=access.server,
            user=f"{self._name}-admin",
            ca_pem=access.ca_pem,
            client_cert_pem=access.client_cert_pem,
            client_key_pem=access.client_key_pem,
        )
        pki.write_private(path, text.encode())
        return path

    def renew_certificates(self) -> list[str]:
        """Renews what is due and returns the names; the servers re-read the files by themselves."""
        renewed = self._certificates.ensure(self._clock.now())
        if renewed:
            _log.info("issued certificates of %s: %s", self._name, ", ".join(renewed))
        return renewed

    async def start(self) -> None:
        """Starts everything and returns once ``/readyz`` says ok to the client certificate.

        Raises ``DataFolderInUseError``, ``BinaryNotFoundError`` or ``ProcessFailedError``; nothing is left
        running then. Call it in a thread that lives as long as the cluster (see ``spawn.Child``).
        """
        binary = self._binary or find_binary()
        self._layout.create()
        self._lock.acquire()
        try:
            await leftovers.end(self._layout.run, timeout=10.0)
            self.renew_certificates()
            await self._start_processes(binary)
        except BaseException:
            await self._stop_processes()
            self._lock.release()
            raise
        self._renewal = asyncio.create_task(self._renew_forever(), name=f"renew certificates of {self._name}")

    async def stop(self) -> None:
        """Stops everything, the state's keeper last; safe to call twice or without a start."""
        if self._renewal:
            await cancel_and_wait(self._renewal)
            self._renewal = None
        await self._stop_processes()
        self._lock.release()

    async def run(self) -> None:
        """Runs the cluster until cancelled."""
        async with self.running():
            await asyncio.Event().wait()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[EmbeddedCluster]:
        """Runs the cluster for the length of the block."""
        await self.start()
        try:
            yield self
        finally:
            await asyncio.shield(self.stop())

    async def _start_processes(self, binary: Path) -> None:
        for attempt in range(1, _START_ATTEMPTS + 1):
            chosen = self._settle_ports()
            try:
                await self._start_once(binary, chosen)
            except ProcessFailedError:
                await self._stop_processes()
                # Somebody may have taken a port between the look and the use; anything else is final.
                if attempt == _START_ATTEMPTS or self._settled(chosen) == chosen:
                    raise
                _log.warning("a port of %s was taken while it started; choosing another", self._name)
            else:
                return

    def _settle_ports(self) -> Ports:
        remembered = ports.load(self._layout.ports)
        chosen = self._settled(remembered)
        if chosen != remembered:
            ports.save(self._layout.ports, chosen)
        kubeconfig = commands.file_kubeconfig(
            self._layout, chosen, certificates.CONTROLLER_MANAGER, self._network
        )
        files = {self._layout.controller_manager_kubeconfig: kubeconfig}
        if self._callee:
            files |= commands.admission_files(self._layout, chosen, self._callee)
        for path, content in files.items():
            pki.write_private(path, content)
        self._ports = chosen
        return chosen

    def _settled(self, remembered: Ports | None) -> Ports:
        return ports.settle(remembered, apiserver_host=self._network.address)

    async def _start_once(self, binary: Path, chosen: Ports) -> None:
        layout, address = self._layout, self._network.address
        etcd = self._process(
            commands.etcd(binary, layout, chosen, durable=self._durable),
            self._probe(LOOPBACK, chosen.etcd_client, certificates.ETCD_CA, certificates.ETCD_CLIENT),
        )
        apiserver = self._process(
            commands.apiserver(binary, layout, chosen, self._network, callee=self._callee),
            self._probe(address, chosen.apiserver, certificates.SERVER_CA, certificates.ADMIN),
        )
        etcd.start()
        # An API server that finds the port closed tries again a second later: cheaper to wait the moment.
        await etcd.wait_listening(self._start_timeout)
        apiserver.start()
        await _all_ready([etcd, apiserver], self._start_timeout)
        if self._controllers:
            # It gives up soon on an API server that is not there yet, hence last.
            self._process(commands.controller_manager(binary, layout, self._controllers), None).start()

    def _process(self, command: Command, probe: HttpsProbe | None) -> SupervisedProcess:
        process = SupervisedProcess(
            command,
            log=self._layout.logs / f"{command.role}.log",
            pid_file=self._layout.run / f"{command.role}.pid",
            probe=probe,
            policy=self._policy,
        )
        self._processes.append(process)
        return process

    def _probe(self, host: str, port: int, authority: str, client: str) -> HttpsProbe:
        return HttpsProbe(host, port, self._layout.certificate(authority), self._layout.bundle(client))

    async def _stop_processes(self) -> None:
        for process in reversed(self._processes):
            await process.stop()
        self._processes.clear()

    async def _renew_forever(self) -> None:
        while True:
            await self._clock.sleep(self._renewal_interval.total_seconds())
            try:
                self.renew_certificates()
            except (OSError, pki.PkiError):
                _log.exception("certificates of %s could not be renewed; trying again later", self._name)

    def _access_of(self, credential: pki.Credential) -> ClusterAccess:
        return ClusterAccess(
            server=self.server,
            ca_pem=self._certificates.authority_pem(certificates.SERVER_CA),
            client_cert_pem=credential.cert_pem,
            client_key_pem=credential.key_pem,
        )

    def _started_ports(self) -> Ports:
        if self._ports is None:
            raise RuntimeError("the cluster has not been started yet: its ports are not known")
        return self._ports


async def _all_ready(processes: Sequence[SupervisedProcess], timeout: float) -> None:
    """Waits for all; the first failure ends the wait for the others."""
    waits = [asyncio.create_task(process.wait_ready(timeout)) for process in processes]
    try:
        await asyncio.gather(*waits)
    finally:
        await cancel_and_wait(*waits)
