"""Builds the feature: the only place that constructs its parts and registers them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from starlette.routing import Route

from outrider.apis.ext.backed import Oversees
from outrider.apis.ext.served import Served
from outrider.apis.management.cluster import Cluster
from outrider.apis.views.view import View
from outrider.features.clusters.admission import Admissions
from outrider.features.clusters.collector import Collector
from outrider.features.clusters.config import ClustersConfig
from outrider.features.clusters.contributor import ClusterObjects
from outrider.features.clusters.controllers import controllers, planning
from outrider.features.clusters.informers import Informers
from outrider.features.clusters.inventories import Inventories
from outrider.features.clusters.local import LocalCluster
from outrider.features.clusters.manifests import Manifests
from outrider.features.clusters.reconcile_farewell import FarewellReconciler
from outrider.features.clusters.reconcile_inventory import InventoryReconciler, is_writer
from outrider.features.clusters.reconcile_removal import RemovalReconciler
from outrider.features.clusters.reconcile_upgrades import UpgradeReconciler
from outrider.features.clusters.registry import Registry
from outrider.features.clusters.routes_import import AddressBuckets, ImportRoutes
from outrider.features.clusters.served_kubeconfigs import ServedKubeconfigs, Tokens
from outrider.features.clusters.service import ClusterService
from outrider.features.clusters.sessions import (
    ConnectedClusters,
    SessionPublisher,
    Sessions,
)
from outrider.features.clusters.settings import ClusterSettings
from outrider.features.clusters.tombstones import Tombstones
from outrider.features.clusters.view_credentials import CredentialViews
from outrider.features.clusters.view_more import more_views
from outrider.features.clusters.views import ClusterViews, MintToken, Reach
from outrider.kit.clock import Clock
from outrider.kube.client import Client
from outrider.kube.meta import ObjectKey
from outrider.link.messages import Admission, Admit, FromAgent, Message, SessionClosed, SessionOpened
from outrider.runtime.controller import Controller, Source
from outrider.runtime.events import Events
from outrider.runtime.informer import Informer
from outrider.runtime.manager import Manager


class ClustersFeature:
    """What others get of this feature.

    `handlers` answers the messages of the link by their type (`Admit` with an `Admission`, the others with
    None); `link_lost` is to be called when the gateway is gone; `objects` is what it wants in clusters; `routes`
    and `views` go to the façade. `kubeconfigs` declares the stored ones, given where their tokens come from and who
    sees everybody's.
    """

    def __init__(
        self,
        *,
        service: ClusterService,
        registry: Registry,
        settings: ClusterSettings,
        sessions: Sessions,
        connected: ConnectedClusters,
        local: LocalCluster,
        objects: ClusterObjects,
        routes: list[Route],
        views: list[View],
        kubeconfigs: Callable[[Tokens, Oversees], Served],
    ) -> None:
        self.service = service
        self.registry = registry
        self.settings = settings
        self.sessions = sessions
        self.connected = connected
        self.local = local
        self.objects = objects
        self.routes = routes
        self.views = views
        self.kubeconfigs = kubeconfigs
        self.handlers: dict[type[Any], Callable[[Any], Awaitable[Admission | None]]] = {
            Admit: service.admit,
            SessionOpened: service.session_opened,
            SessionClosed: service.session_closed,
            FromAgent: service.from_agent,
        }

    def link_lost(self) -> None:
        """The gateway is gone."""
        self.service.link_lost()


def build(
    client: Client,
    manager: Manager,
    clusters: Informer[Cluster],
    clock: Clock,
    *,
    config: ClustersConfig,
    background: Client,
    mint_token: MintToken,
    reach: Reach,
    send: Callable[[Message], None],
) -> ClustersFeature:
    """Construct the feature and register its informers, controllers and tasks with the manager.

    `clusters` comes from `cluster_informer`. Reconcilers write through `background`: agents and users that wait
    must not wait behind them. `send` hands a message to this replica's gateway and drops it when there is none.
    """
    informers = Informers(client, manager, clusters)
    settings = ClusterSettings(informers.settings, informers.features, config.environ)
    registry = Registry(
        client,
        clusters=clusters,
        registrations=informers.registrations,
        secrets=informers.secrets,
        settings=settings,
        clock=clock,
    )
    sessions, inventories = Sessions(), Inventories(clock)
    connected = ConnectedClusters(clock, expiry=config.session_expiry)
    manifests = Manifests(client, settings)

    inventory: Controller[ObjectKey] = Controller(
        "cluster inventory",
        InventoryReconciler(
            background,
            clusters=clusters,
            nodes=informers.nodes,
            inventories=inventories,
            writes=lambda name: is_writer(connected.replicas_of(name), config.replica),
            settings=settings,
            clock=clock,
            pause=config.inventory_pause,
        ),
        workers=8,
        sources=[Source(clusters)],
        clock=clock,
    )
    objects = ClusterObjects(
        clusters=clusters,
        registry=registry,
        manifests=manifests,
        settings=settings,
        secrets=informers.secrets,
        stored_settings=informers.settings,
    )

    tombstones = Tombstones(
        client,
        informers.tombstones,
        clusters,
        clock,
        age=timedelta(seconds=config.remember),
        limit=config.remembered,
    )
    farewell = FarewellReconciler(background, clusters=clusters, sessions=sessions, send=send, clock=clock)
    farewells: Controller[ObjectKey] = Controller(
        "farewells", farewell, workers=2, sources=[Source(clusters)], clock=clock
    )

    def changed(cluster: str) -> None:
        inventory.enqueue(ObjectKey("", cluster))
        farewells.enqueue(ObjectKey("", cluster))

    service = ClusterService(
        admissions=Admissions(client, registry, tombstones, clock, synced=lambda: manager.synced),
        registry=registry,
        sessions=sessions,
        inventories=inventories,
        send=send,
        changed=changed,
        synced=lambda: manager.synced,
        leaving=farewell.heard,
    )
    informers.registrations.subscribe(service.registration_changed)
    clusters.subscribe(service.cluster_changed)
    informers.sets.subscribe(connected.handle)

    publisher = SessionPublisher(
        client,
        sessions,
        config.replica,
        clock,
        interval=config.publish_interval,
        settle=config.settle,
        grace=config.return_grace,
    )
    local = LocalCluster(
        client, inventories, changed, embedded=config.embedded, interval=config.local_interval
    )
    # Every replica has tunnels of its own: what looks after them is not for the leader alone
    manager.add_task(inventory.name, inventory.run)
    manager.add_task(farewells.name, farewells.run)
    manager.add_task("tunnels without registration", service.sweep)
    manager.add_task("session publisher", publisher.run)
    manager.add_task("session expiry", connected.run)
    manager.add_task("sets of dead replicas", lambda: connected.collect(client), leader_only=True)
    manager.add_task("local cluster", local.run, leader_only=True)
    for controller in controllers(
        background, informers, registry=registry, settings=settings, connected=connected, clock=clock
    ):
        manager.add_controller(controller)

    removal = RemovalReconciler(
        background,
        clusters=clusters,
        twins=informers.twins,
        registry=registry,
        tombstones=tombstones,
        events=Events(client, "outrider", clock=clock),
        clock=clock,
        patience=timedelta(seconds=config.removal_patience),
    )
    manager.add_controller(
        Controller("removed clusters", removal, workers=8, sources=[Source(clusters)], clock=clock)
    )
    collector = Collector(
        background,
        registrations=informers.registrations,
        tombstones=tombstones,
        interval=config.collect_interval,
    )
    manager.add_task("collector", collector.run, leader_only=True)

    upgrades = UpgradeReconciler(
        client,
        clusters,
        image=manifests.image,
        settings=settings,
        events=Events(client, "outrider", clock=clock),
        clock=clock,
    )
    upgrading = planning(upgrades, informers, clock)

    async def plan() -> None:
        upgrades.begin()
        await upgrading.run()

    manager.add_task(upgrading.name, plan, leader_only=True)

    imports = ImportRoutes(
        client=client,
        clusters=clusters,
        registry=registry,
        manifests=manifests,
        settings=settings,
        buckets=AddressBuckets(clock, rate=config.import_rate, burst=config.import_burst),
    )
    views = ClusterViews(
        clusters=clusters,
        nodes=informers.nodes,
        settings=settings,
        mint_token=mint_token,
        reach=reach,
        clock=clock,
    )

    def kubeconfigs(tokens: Tokens, oversees: Oversees) -> Served:
        return ServedKubeconfigs(
            client=client,
            clusters=clusters,
            nodes=informers.nodes,
            settings=settings,
            tokens=tokens,
            oversees=oversees,
            clock=clock,
        ).served()

    return ClustersFeature(
        kubeconfigs=kubeconfigs,
        service=service,
        registry=registry,
        settings=settings,
        sessions=sessions,
        connected=connected,
        local=local,
        objects=objects,
        routes=imports.routes(),
        views=[
            *views.views(),
            *CredentialViews(clusters, informers.twins).views(),
            *more_views(),
        ],
    )
