"""Keeps what every cluster record comes with: its namespace, conditions and registration tokens."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

import msgspec

from outrider.apis.management.cluster import CLUSTERS, Cluster
from outrider.apis.management.cluster_status import ClusterStatus
from outrider.apis.management.group import LOCAL_CLUSTER
from outrider.apis.management.registration_token import REGISTRATION_TOKENS, ClusterRegistrationToken
from outrider.apis.provisioning.cluster import Cluster as ProvisioningCluster
from outrider.features.clusters.lifecycle import (
    FINALIZER,
    backing_namespace,
    initial_conditions,
    name_conflict,
    name_key,
    owns_namespace,
    workspace,
)
from outrider.features.clusters.registration import DEFAULT_REGISTRATION, SYSTEM_REGISTRATION
from outrider.features.clusters.sessions import ensure_namespace
from outrider.features.clusters.settings import ClusterSettings
from outrider.features.clusters.status import write_status
from outrider.kit.clock import Clock
from outrider.kube import conditions as c
from outrider.kube.builtin import NAMESPACES
from outrider.kube.client import Client
from outrider.kube.errors import AlreadyExists, NotFound
from outrider.kube.meta import Condition, ObjectKey
from outrider.runtime.controller import DONE, Result, TerminalError, requeue
from outrider.runtime.store import Lister

NAME_INDEX: Final = "displayName"
TWIN_INDEX: Final = "management-cluster"


class ClusterReconciler:
    """One cluster record at a time; `clusters` has index `NAME_INDEX`."""

    def __init__(
        self,
        client: Client,
        *,
        clusters: Lister[Cluster],
        registrations: Lister[ClusterRegistrationToken],
        settings: ClusterSettings,
        clock: Clock,
    ) -> None:
        self._client = client
        self._clusters = clusters
        self._registrations = registrations
        self._settings = settings
        self._clock = clock
        self._spaces: set[str] = set()

    async def reconcile(self, key: ObjectKey) -> Result:
        """Bring the record of one cluster up to date, unless it is on its way out."""
        cluster = self._clusters.get(key)
        if cluster is None or cluster.is_deleting:
            return DONE
        cluster = await self._keep_spec(cluster)
        try:
            problem = await self._keep_namespace(cluster)
        except NamespaceGoing:
            return requeue(1.0)
        status = self._status(cluster, problem)
        await write_status(self._client, cluster, status, self._clock.now())
        if problem:
            raise TerminalError(problem)
        await self._keep_registrations(cluster)
        return DONE

    async def _keep_spec(self, cluster: Cluster) -> Cluster:
        patch: dict[str, Any] = {}
        if FINALIZER not in cluster.metadata.finalizers:
            patch["metadata"] = {"finalizers": [*cluster.metadata.finalizers, FINALIZER]}
        space = workspace(cluster, self._settings.value("fleet-default-workspace-name"))
        if space and space != cluster.spec.fleet_workspace_name:
            patch["spec"] = {"fleetWorkspaceName": space}
        if not patch:
            return cluster
        patch.setdefault("metadata", {})["resourceVersion"] = cluster.metadata.resource_version
        return await self._client.patch(CLUSTERS, cluster.metadata.name, patch)

    async def _keep_namespace(self, cluster: Cluster) -> str:
        """Make the backing namespace; the problem when there is one of that name for something else."""
        name = cluster.metadata.name
        try:
            found = await self._client.get(NAMESPACES, name)
        except NotFound:
            await self._client.apply(NAMESPACES, backing_namespace(cluster))
            return ""
        if not owns_namespace(cluster, found):
            return (
                f"namespace {name} exists already and was not made for this cluster: "
                "delete this record and create it under another name"
            )
        if found["metadata"].get("deletionTimestamp"):
            raise NamespaceGoing
        if not found["metadata"].get("ownerReferences"):
            await self._client.apply(NAMESPACES, backing_namespace(cluster))
        return ""

    def _status(self, cluster: Cluster, problem: str) -> ClusterStatus:
        now = self._clock.now()
        status = msgspec.structs.replace(cluster.status, conditions=initial_conditions(cluster, now))
        status.conditions = c.set_condition(
            status.conditions,
            "BackingNamespaceCreated",
            "False" if problem else "True",
            now=now,
            reason="NamespaceTaken" if problem else "",
            message=problem,
        )
        if cluster.metadata.name == LOCAL_CLUSTER and not status.driver:
            status.driver = "local" if cluster.spec.imported_config is None else "imported"
        return _with_name_check(status, self._rival(cluster), now)

    def _rival(self, cluster: Cluster) -> Cluster | None:
        return name_conflict(cluster, self._clusters.index(NAME_INDEX, name_key(cluster)))

    async def _keep_registrations(self, cluster: Cluster) -> None:
        space = cluster.spec.fleet_workspace_name
        if space and space not in self._spaces:
            await ensure_namespace_once(self._client, space)
            self._spaces.add(space)
        name = cluster.metadata.name
        for registration in (DEFAULT_REGISTRATION, SYSTEM_REGISTRATION):
            if self._registrations.get(ObjectKey(name, registration)) is None:
                with contextlib.suppress(AlreadyExists):
                    await self._client.create(REGISTRATION_TOKENS, new_registration(name, registration))


class NamespaceGoing(Exception):
    """The namespace of an earlier cluster of this name is still being removed."""


async def ensure_namespace_once(client: Client, name: str) -> None:
    """Create a namespace unless it is there."""
    try:
        await client.get(NAMESPACES, name)
    except NotFound:
        await ensure_namespace(client, name)


def _with_name_check(status: ClusterStatus, rival: Cluster | None, now: datetime) -> ClusterStatus:
    if rival is not None:
        message = f"cluster {rival.metadata.name} has the same display name: choose another one"
        status.conditions = c.set_condition(
            status.conditions, "ConfigOK", "False", now=now, reason="NotUnique", message=message
        )
    elif _complains_of_name(c.get_condition(status.conditions, "ConfigOK")):
        status.conditions = c.remove_condition(status.conditions, "ConfigOK")
    return status


def _complains_of_name(condition: Condition | None) -> bool:
    return condition is not None and condition.reason == "NotUnique"


def new_registration(cluster: str, name: str) -> dict[str, Any]:
    """A ClusterRegistrationToken as it is created."""
    return {"metadata": {"name": name, "namespace": cluster}, "spec": {"clusterName": cluster}}


def twin_keys(twin: ProvisioningCluster) -> Iterable[str]:
    """What provisioning clusters are filed under in `TWIN_INDEX`: the id of their management cluster."""
    return [twin.status.cluster_name] if twin.status.cluster_name else []
