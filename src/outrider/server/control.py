"""The control process: façades, sign-in and controllers, composed. `python -m outrider.server.control CONFIG.json`.

Start order (architecture, decision 1): CRDs → listen → webhook → built-ins → controllers. The façade answers once
the local copies are synced; the ready file appears when the first administrator exists, too.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import uvicorn
import uvloop

from outrider import __version__
from outrider.apis import install
from outrider.apis.ext.token import EXT_TOKENS
from outrider.apis.management.group import LOCAL_CLUSTER
from outrider.apis.management.setting import SETTINGS
from outrider.apis.views.view import Context
from outrider.facade.admission import AdmissionRoute
from outrider.facade.app import build_app
from outrider.facade.changes import Watches
from outrider.facade.extension.api import ExtensionApi
from outrider.facade.metrics import MetricsRoute
from outrider.facade.openapi import openapi_route
from outrider.facade.reach import ClusterReach
from outrider.facade.settings import setting_views
from outrider.facade.v1.api import SteveApi
from outrider.facade.v3.api import NormanApi
from outrider.facade.v3.calls import Calls
from outrider.facade.v3.inside import inside_views
from outrider.facade.v3.places import Places, binding_informer
from outrider.facade.v3.registry import Registry
from outrider.facade.v3.workloads import workload_view
from outrider.facade.websocket import WebSocketProtocol
from outrider.features.auth import setup as auth
from outrider.features.auth.settings import BODY_LIMIT
from outrider.features.clusters import setup as clusters
from outrider.features.clusters.config import ClustersConfig
from outrider.features.clusters.informers import cluster_informer
from outrider.features.rbac import setup as rbac
from outrider.features.rbac.builtin import install_builtin_roles
from outrider.features.rbac.views import role_views
from outrider.kit.clock import SystemClock
from outrider.kit.tasks import TaskSupervisor
from outrider.kube import kubeconfig
from outrider.kube.builtin import NAMESPACES
from outrider.kube.client import Client
from outrider.kube.kubeconfig import ClusterAccess
from outrider.kube.meta import ObjectKey
from outrider.kube.transport import HttpTransport
from outrider.link.endpoint import Listener, serve
from outrider.link.messages import Serve
from outrider.runtime.leader import Durations, LeaderElector
from outrider.runtime.manager import Manager
from outrider.server import defaults
from outrider.server.aggregation import Aggregation
from outrider.server.api_door import ApiDoor
from outrider.server.config import ControlConfig
from outrider.server.delivery import DeliveringTunnels, Delivery
from outrider.server.doorkeeper import Doorkeeper
from outrider.server.peers import PeerAuthority, PeerDirectory
from outrider.server.registration import Registration
from outrider.server.serving import Material, OwnAuthority, ServingFiles
from outrider.server.switchboard import Outlet, Switchboard
from outrider.server.web import QuietServer

log = logging.getLogger(__name__)

NAMESPACE = "cattle-system"
CREDENTIALS_NAMESPACE = "cattle-global-data"
LEASE = "outrider-controllers"
BACKGROUND_REQUESTS = 8
"""Requests of reconcilers that are under way at once."""


class Control:
    """Everything that runs in the control process."""

    def __init__(self, config: ControlConfig, access: ClusterAccess) -> None:
        clock = SystemClock()
        self._config = config
        # Three lanes: what many agents or users ask for at once must not keep the lease from being renewed, and
        # neither must wait for what reconcilers have to write, which is bounded so that it leaves the API server air.
        self._vital = HttpTransport(access, max_connections=4)
        self._transport = HttpTransport(access)
        self._background = HttpTransport(access, max_connections=BACKGROUND_REQUESTS)
        vital, background = Client(self._vital), Client(self._background)
        self._client = client = Client(self._transport)
        self._elector = LeaderElector(
            vital, LEASE, NAMESPACE, config.replica, durations=lease_durations(config.lease_seconds)
        )
        self._manager = manager = Manager(elector=self._elector, clock=clock)
        self._doorkeeper = Doorkeeper(client, access, config.folder)
        self._copies = copies = cluster_informer(client)
        self._auth = auth.build(
            client,
            manager,
            copies,
            clock,
            auth.AuthConfig(
                environ=config.environ,
                usage_interval=config.usage_interval,
                beat_interval=config.beat_interval,
            ),
            vital=vital,
        )
        self._metrics = MetricsRoute(copies, self._auth.access)
        outlet = Outlet()
        self._reach = ClusterReach(client, config.reach_socket)
        self._clusters = clusters.build(
            client,
            manager,
            copies,
            clock,
            config=ClustersConfig(
                replica=config.replica,
                embedded=config.embedded,
                environ=config.environ,
                removal_patience=config.removal_patience,
            ),
            background=background,
            mint_token=self._auth.kubeconfig_tokens.of_claim,
            reach=self._reach.client,
            send=outlet.send,
        )
        views = [
            *self._clusters.views,
            *self._auth.views,
            *setting_views(client, self._auth.settings),
            *role_views(),
            *inside_views(),
            *(workload_view(context) for context in (Context.CLUSTER, Context.PROJECT)),
        ]
        calls = Calls(client, self._reach, Places(manager.add_informer(binding_informer(client))))
        registry = Registry(views)
        self._watches = watches = Watches(client)
        self._openapi = openapi_route(registry, f"v{__version__}")
        self._norman = NormanApi(registry, calls, watches, clock)
        self._steve = SteveApi(registry, calls, client, watches, clock)
        roles = rbac.build(client, manager, copies, clock)
        delivery = Delivery(
            background,
            self._background,
            manager,
            copies,
            [self._clusters.objects, roles.objects],
            elector=self._elector,
            outlet=outlet,
            lease=config.lease_seconds,
            clock=clock,
        )
        serving = config.serving
        source = (
            ServingFiles(serving.certificate, serving.key, serving.ca)
            if serving.certificate is not None and serving.key is not None
            else OwnAuthority(client, self._hosts, clock)
        )
        self._settings_are_there = False
        self._material = Material(source, self._material_changed, interval=config.material_interval)
        peers = PeerDirectory(
            config.replica,
            PeerAuthority(client, config.replica, clock),
            self._clusters.connected,
            publish=self._clusters.sessions.reachable_at,
            send=outlet.send,
        )
        manager.add_task("peers", peers.run)
        self._extension = ExtensionApi(
            [
                *self._auth.served,
                self._clusters.kubeconfigs(self._auth.kubeconfig_tokens, self._auth.gatekeeper.oversees),
            ],
            clock,
        )
        admission = AdmissionRoute(
            roles.guards, ready=lambda: manager.synced, proven=config.api_door.proven
        ).route()
        self._door = ApiDoor(client, config.api_door, [admission, *self._extension.routes()], clock)
        self._registration = Registration(client, self._door, roles.guards)
        manager.add_task("admission webhook", self._registration.run, leader_only=True)
        self._aggregation = Aggregation(client, self._door, EXT_TOKENS)
        manager.add_task("aggregated API", self._aggregation.run, leader_only=True)
        self._switchboard = Switchboard(
            outlet,
            verdicts=self._auth.link,
            tunnels=DeliveringTunnels(self._clusters.service, delivery.publisher),
            peers=peers,
            material=lambda: self._material.current,
            count=self._metrics.gateway_counted,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Serves until `stop` is set. Raises KubeError when the management cluster cannot be used."""
        link: Listener | None = None
        try:
            async with TaskSupervisor() as tasks:
                await self._open_door(tasks)
                await self._prepare()
                link = await serve(self._config.link_socket, self._switchboard.converse)
                server = self._web_server()
                tasks.start("facade", server.serve)
                tasks.start("controllers", self._manager.run)
                tasks.start("certificates", self._material.run)
                tasks.start("gateway account", self._doorkeeper.run)
                await self._manager.wait_synced()
                await self._auth.bootstrap.run()
                await self._local_record()
                self._say_ready()
                await stop.wait()
                await self._aggregation.leave()
                server.should_exit = True
                self._door.close()
        finally:
            if link is not None:
                await link.close()
            await self._switchboard.close()
            self._auth.close()
            for lane in (
                self._steve,
                self._watches,
                self._reach,
                self._background,
                self._transport,
                self._vital,
            ):
                await lane.close()

    async def _open_door(self, tasks: TaskSupervisor) -> None:
        await asyncio.gather(install.install(self._client), self._ensure_namespaces())
        await self._door.open()
        tasks.start("the API server's door", self._door.run)
        await self._registration.prepare()

    async def _prepare(self) -> None:
        await install_builtin_roles(self._client)
        await self._doorkeeper.prepare()
        material = await self._material.load()
        computed = {
            "cacerts": material.ca,
            "server-url": self._config.default_url,
            "server-version": f"v{__version__}",
        }
        await defaults.install(self._client, self._config.environ, computed)
        self._settings_are_there = True

    async def _ensure_namespaces(self) -> None:
        for name in (NAMESPACE, CREDENTIALS_NAMESPACE):
            await self._client.apply(NAMESPACES, {"metadata": {"name": name}})

    async def _local_record(self) -> None:
        # Until the leader has made it, the management cluster answers as one that does not exist.
        while self._copies.get(ObjectKey("", LOCAL_CLUSTER)) is None:  # noqa: ASYNC110  it comes by watch
            await asyncio.sleep(0.02)

    def _web_server(self) -> uvicorn.Server:
        app = build_app(
            [
                *self._auth.routes,
                *self._clusters.routes,
                self._metrics.route(),
                self._openapi,
                *self._norman.routes(),
                *self._steve.routes(),
            ],
            version=lambda: f"v{__version__}",
            commit="",
            body_limit=lambda: self._auth.settings.size(BODY_LIMIT),
        )
        socket = self._config.control_socket
        socket.unlink(missing_ok=True)
        options = uvicorn.Config(
            app,
            uds=str(socket),
            log_config=None,
            access_log=False,
            lifespan="off",
            ws=WebSocketProtocol,
            proxy_headers=False,
            server_header=False,
            date_header=True,
            timeout_graceful_shutdown=3,
            timeout_keep_alive=75,
        )
        return QuietServer(options)

    def _hosts(self) -> list[str]:
        settings = self._clusters.settings
        url = settings.value("server-url") or self._config.default_url
        named = urlsplit(url).hostname
        return [*self._config.serving.hosts, *([named] if named else [])]

    async def _material_changed(self, material: Serve) -> None:
        log.info("the front door has a new certificate")
        self._switchboard.publish_material()
        if self._settings_are_there:
            await self._client.patch(SETTINGS, "cacerts", {"default": material.ca})

    def _say_ready(self) -> None:
        log.info("ready")
        if self._config.ready_file:
            Path(self._config.ready_file).touch(mode=0o600)


def lease_durations(lease: float) -> Durations:
    """Times of the leaders' Lease, seconds: a dead leader is replaced within 1.6 times `lease`."""
    return Durations(lease=lease, renew_deadline=lease * 0.7, retry=lease * 0.13)


async def run(config: ControlConfig) -> None:
    """Runs the control process until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    access = kubeconfig.load(config.kubeconfig) if config.kubeconfig else kubeconfig.in_cluster()
    await Control(config, access).run(stop)


def main() -> None:
    """Reads the configuration file named on the command line and serves."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    config = msgspec.json.decode(
        Path(sys.argv[1]).read_bytes(), type=ControlConfig, dec_hook=lambda kind, value: kind(value)
    )
    uvloop.run(run(config))


if __name__ == "__main__":
    main()
