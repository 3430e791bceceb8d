"""The controllers that run on the leader."""

from __future__ import annotations

from outrider.features.clusters.informers import Informers, owner_keys
from outrider.features.clusters.pairing import management_name
from outrider.features.clusters.reconcile_cluster import ClusterReconciler
from outrider.features.clusters.reconcile_connection import ConnectionReconciler
from outrider.features.clusters.reconcile_delivery import DeliveryReconciler
from outrider.features.clusters.reconcile_provisioning import ProvisioningReconciler, TwinReconciler
from outrider.features.clusters.reconcile_registration import RegistrationReconciler
from outrider.features.clusters.reconcile_upgrades import FLEET, SETTINGS_OF_PLANS, UpgradeReconciler
from outrider.features.clusters.registry import Registry
from outrider.features.clusters.sessions import (
    ConnectedClusters,
)
from outrider.features.clusters.settings import ClusterSettings
from outrider.features.clusters.sources import DeliverySource, SpecSource, UpgradeSource
from outrider.kit.clock import Clock
from outrider.kube.client import Client
from outrider.kube.meta import ObjectKey
from outrider.runtime.controller import Controller, Source


def controllers(
    client: Client,
    informers: Informers,
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
                Source(informers.secrets, owner_keys),
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


def planning(upgrades: UpgradeReconciler, informers: Informers, clock: Clock) -> Controller[ObjectKey]:
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
