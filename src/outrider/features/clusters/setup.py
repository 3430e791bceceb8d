"""Builds the feature: the only place that constructs its parts and registers them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any

import msgspec
from starlette.routing import Route

from outrider.apis.management.cluster import CLUSTERS, Cluster
from outrider.apis.management.feature import FEATURES, Feature
from outrider.apis.management.node import NODES, Node
from outrider.apis.management.registration_token import REGISTRATION_TOKENS, ClusterRegistrationToken
from outrider.apis.management.setting import SETTINGS, Setting
from outrider.apis.provisioning.cluster import PROVISIONING_CLUSTERS
from outrider.apis.provisioning.cluster import Cluster as ProvisioningCluster
from outrider.apis.views.view import View
from outrider.features.clusters.admission import Admissions
from outrider.features.clusters.collector import Collector
from outrider.features.clusters.contributor import ClusterObjects
from outrider.features.clusters.inventories import Inventories
from outrider.features.clusters.lifecycle import name_key
from outrider.features.clusters.local import LocalCluster
from outrider.features.clusters.manifests import Manifests
from outrider.features.clusters.pairing import management_name
from outrider.features.clusters.reconcile_cluster import NAME_INDEX, TWIN_INDEX, ClusterReconciler, twin_keys
from outrider.features.clusters.reconcile_connection import ConnectionReconciler
from outrider.features.clusters.reconcile_delivery import DeliveryReconciler
from outrider.features.clusters.reconcile_farewell import FarewellReconciler
from outrider.features.clusters.reconcile_inventory import InventoryReconciler, is_writer
from outrider.features.clusters.reconcile_provisioning import ProvisioningReconciler, TwinReconciler
from outrider.features.clusters.reconcile_registration import READER_ROLE, RegistrationReconciler
from outrider.features.clusters.reconcile_removal import RemovalReconciler
from outrider.features.clusters.reconcile_upgrades import FLEET, SETTINGS_OF_PLANS, UpgradeReconciler
from outrider.features.clusters.registry import SECRET_SELECTOR, TOKEN_INDEX, Registry, token_hashes
from outrider.features.clusters.routes_import import AddressBuckets, ImportRoutes
from outrider.features.clusters.service import ClusterService
from outrider.features.clusters.sessions import (
    NAMESPACE,
    SELECTOR,
    ConnectedClusters,
    SessionPublisher,
    Sessions,
)
from outrider.features.clusters.settings import ClusterSettings
from outrider.features.clusters.sources import DeliverySource, SpecSource, UpgradeSource
from outrider.features.clusters.tombstones import CREDENTIAL_INDEX, Tombstones, credentials_in
from outrider.features.clusters.tombstones import SELECTOR as TOMBSTONES
from outrider.features.clusters.view_credentials import CredentialViews
from outrider.features.clusters.view_more import more_views
from outrider.features.clusters.views import ClusterViews, MintToken, Reach
from outrider.kit.clock import Clock
from outrider.kube.builtin import CONFIGMAPS, ROLES, SECRETS
from outrider.kube.client import Client
from outrider.kube.meta import ObjectKey
from outrider.link.messages import Admission, Admit, FromAgent, Message, SessionClosed, SessionOpened
from outrider.runtime.controller import Controller, Source
from outrider.runtime.events import Events
from outrider.runtime.informer import Informer
from outrider.runtime.manager import Manager

_OF_REGISTRATIONS = frozenset(
    {
        "server-url",
        "cacerts",
        "crt-ttl-unit",
        "crt-default-ttl-minutes",
        "crt-default-grace-period-minutes",
    }
)


class ClustersConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between installations and tests. Intervals are in seconds.

    Attributes:
        replica: unique among the servers of an installation, and the same after a restart.
        embedded: the management cluster is our own, not one that we were installed in.
        settle: how long after a start nothing is published, so that the gateway can tell its tunnels.
        return_grace: for how long agents of a gateway or server that ended count as connected, to come back.
        publish_interval, session_expiry: renewal of a replica's sessions, and when they count as dead.
        inventory_pause: least time between two writes of one cluster's inventory.
        removal_patience: how long the agent of a deleted cluster is waited for.
        collect_interval: between two looks for what belongs to no cluster any more; two are needed.
        remember: how long a deleted cluster's agent is told from a stranger; of more than `remembered`, the
            oldest are forgotten.
    """

    replica: str
    embedded: bool = True
    environ: Mapping[str, str] = {}
    settle: float = 2.0
    return_grace: float = 20.0
    publish_interval: float = 10.0
    session_expiry: float = 30.0
    inventory_pause: float = 10.0
    local_interval: float = 15.0
    removal_patience: float = 50.0
    collect_interval: float = 60.0
    remember: float = 90 * 86400.0
    remembered: int = 1000
    import_rate: float = 2.0
    import_burst: int = 60


class ClustersFeature:
    """What others get of this feature.

    `handlers` answers the messages of the link by their type (`Admit` with an `Admission`, the others with
    None); `link_lost` is to be called when the gateway is gone; `objects` is what it wants in clusters; `routes`
    and `views` go to the façade.
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
        self.handlers: dict[type[Any], Callable[[Any], Awaitable[Admission | None]]] = {
            Admit: service.admit,
            SessionOpened: service.session_opened,
            SessionClosed: service.session_closed,
            FromAgent: service.from_agent,
        }

    def link_lost(self) -> None:
        """The gateway is gone."""
        self.service.link_lost()


def cluster_informer(client: Client) -> Informer[Cluster]:
    """The informer of clusters that this feature needs; it may be shared with others."""
    return Informer(client, CLUSTERS, indexes={NAME_INDEX: lambda cluster: (name_key(cluster),)})


class _Informers:
    """The local copies that the feature reads."""

    def __init__(self, client: Client, manager: Manager, clusters: Informer[Cluster]) -> None:
        add = manager.add_informer
        self.clusters = add(clusters)
        self.registrations: Informer[ClusterRegistrationToken] = add(Informer(client, REGISTRATION_TOKENS))
        self.secrets: Informer[dict[str, Any]] = add(
            Informer(client, SECRETS, labels=SECRET_SELECTOR, indexes={TOKEN_INDEX: token_hashes})
        )
        self.tombstones: Informer[dict[str, Any]] = add(
            Informer(
                client,
                CONFIGMAPS,
                namespace=NAMESPACE,
                labels=TOMBSTONES,
                indexes={CREDENTIAL_INDEX: credentials_in},
            )
        )
        self.readers: Informer[dict[str, Any]] = add(
            Informer(client, ROLES, fields=f"metadata.name={READER_ROLE}")
        )
        self.nodes: Informer[Node] = add(Informer(client, NODES))
        self.twins: Informer[ProvisioningCluster] = add(
            Informer(client, PROVISIONING_CLUSTERS, indexes={TWIN_INDEX: twin_keys})
        )
        self.settings: Informer[Setting] = add(Informer(client, SETTINGS))
        self.features: Informer[Feature] = add(Informer(client, FEATURES))
        self.sets: Informer[dict[str, Any]] = add(
            Informer(client, CONFIGMAPS, namespace=NAMESPACE, labels=SELECTOR)
        )

    def registrations_of(self, cluster: Cluster) -> Iterable[ObjectKey]:
        """Keys of a cluster's registrations."""
        return [one.key for one in self.registrations.list(cluster.metadata.name)]

    def registrations_for(self, setting: Setting) -> Iterable[ObjectKey]:
        """Keys of all registrations, for a setting that they depend on."""
        if setting.metadata.name not in _OF_REGISTRATIONS:
            return ()
        return [one.key for one in self.registrations.list()]

    def same_name(self, cluster: Cluster) -> Iterable[ObjectKey]:
        """Keys of the cluster and of those with its display name."""
        return {cluster.key, *(other.key for other in self.clusters.index(NAME_INDEX, name_key(cluster)))}

    def twins_of(self, cluster: Cluster) -> Iterable[ObjectKey]:
        """Keys of the provisioning clusters that belong to a cluster, or may."""
        paired = [twin.key for twin in self.twins.index(TWIN_INDEX, cluster.metadata.name)]
        return {*paired, ObjectKey(cluster.spec.fleet_workspace_name, cluster.metadata.name)}


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
    informers = _Informers(client, manager, clusters)
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
    for controller in _controllers(
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
    planning = _planning(upgrades, informers, clock)

    async def plan() -> None:
        upgrades.begin()
        await planning.run()

    manager.add_task(planning.name, plan, leader_only=True)

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
    return ClustersFeature(
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


def _controllers(
    client: Client,
    informers: _Informers,
    *,
    registry: Registry,
    settings: ClusterSettings,
    connected: ConnectedClusters,
    clock: Clock,
) -> list[Controller[ObjectKey]]:
    """The controllers of the leader."""
    clusters, registrations, twins = informers.clusters, informers.registrations, informers.twins
    connection: Controller[ObjectKey] = Controller(
        "cluster connection",
        ConnectionReconciler(client, clusters, connected, clock),
        workers=8,
        sources=[Source(clusters)],
        clock=clock,
    )
    connected.on_change(lambda cluster: connection.enqueue(ObjectKey("", cluster)))
    return [
        connection,
        Controller(
            "cluster delivery",
            DeliveryReconciler(client, clusters, clock),
            workers=2,
            sources=[DeliverySource(clusters)],
            clock=clock,
        ),
        Controller(
            "clusters",
            ClusterReconciler(
                client,
                clusters=clusters,
                registrations=registrations,
                settings=settings,
                clock=clock,
            ),
            workers=8,
            sources=[
                SpecSource(clusters, informers.same_name),
                SpecSource(registrations, lambda one: (ObjectKey("", one.metadata.namespace),)),
            ],
            clock=clock,
        ),
        Controller(
            "cluster registrations",
            RegistrationReconciler(
                client,
                clusters=clusters,
                registrations=registrations,
                readers=informers.readers,
                registry=registry,
                settings=settings,
                clock=clock,
            ),
            workers=8,
            sources=[
                Source(registrations),
                SpecSource(clusters, informers.registrations_of),
                Source(informers.secrets, _owner_keys),
                Source(informers.settings, informers.registrations_for),
            ],
            clock=clock,
        ),
        Controller(
            "provisioning twins",
            TwinReconciler(client, clusters, twins),
            workers=2,
            sources=[Source(clusters), Source(twins, lambda twin: (ObjectKey("", management_name(twin)),))],
            clock=clock,
        ),
        Controller(
            "provisioning clusters",
            ProvisioningReconciler(client, clusters, twins),
            workers=2,
            sources=[Source(twins), Source(clusters, informers.twins_of)],
            clock=clock,
        ),
    ]


def _planning(upgrades: UpgradeReconciler, informers: _Informers, clock: Clock) -> Controller[ObjectKey]:
    """The controller that upgrades agents."""
    return Controller(
        "agent upgrades",
        upgrades,
        sources=[
            UpgradeSource(informers.clusters, lambda _: (FLEET,)),
            Source(
                informers.settings,
                lambda one: (FLEET,) if one.metadata.name in SETTINGS_OF_PLANS else (),
            ),
        ],
        clock=clock,
    )


def _owner_keys(secret: dict[str, Any]) -> list[ObjectKey]:
    metadata = secret["metadata"]
    return [
        ObjectKey(metadata["namespace"], owner.get("name", ""))
        for owner in metadata.get("ownerReferences") or []
        if owner.get("kind") == REGISTRATION_TOKENS.kind
    ]
