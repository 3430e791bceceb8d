"""Moves the agents of all clusters to the image that they should have, in waves that stop on a failure."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Final, Literal

from outrider.apis.management.cluster import CLUSTERS, Cluster
from outrider.apis.management.group import LOCAL_CLUSTER
from outrider.apis.management.setting import SETTINGS
from outrider.features.clusters import agent_upgrade as upgrade
from outrider.features.clusters.settings import ClusterSettings
from outrider.features.clusters.status import write_status
from outrider.features.clusters.upgrade_status import after, problem
from outrider.features.clusters.waves import Standing, Step, choose, progress, words
from outrider.kit.clock import Clock
from outrider.kube.client import Client
from outrider.kube.errors import Conflict, NotFound
from outrider.kube.meta import ObjectKey
from outrider.runtime.controller import DONE, Result, requeue
from outrider.runtime.events import Events, reference
from outrider.runtime.store import Lister

log = logging.getLogger(__name__)

FLEET: Final = ObjectKey("", "fleet")
"""The one key: a plan is made for all clusters together."""
STATUS: Final = "agent-upgrade-status"
SETTINGS_OF_PLANS: Final = frozenset(
    {
        "agent-image",
        "agent-rollout-timeout",
        "agent-upgrade-largest-wave",
        "agent-upgrade-tolerated-failures",
        "system-default-registry",
    }
)


class UpgradeReconciler:
    """All clusters at a time; on the leader only.

    `image` says which image a cluster's agent should have; `pause` are the seconds that changes are gathered.
    """

    def __init__(
        self,
        client: Client,
        clusters: Lister[Cluster],
        *,
        image: Callable[[Cluster], str],
        settings: ClusterSettings,
        events: Events,
        clock: Clock,
        pause: float = 0.2,
    ) -> None:
        self._client = client
        self._clusters = clusters
        self._image = image
        self._settings = settings
        self._events = events
        self._clock = clock
        self._pause = pause
        self._since = clock.now()

    def begin(self) -> None:
        """This process leads from now on: what nobody saw in time was not late for that."""
        self._since = self._clock.now()

    async def reconcile(self, key: ObjectKey) -> Result:
        """Take every step that is due, and let the next clusters begin."""
        await self._clock.sleep(self._pause)
        fleet = _managed(self._clusters.list())
        if self._choose(self._stand(fleet)):
            # A copy that lags would let too many begin: that is decided on what the API server has now
            fleet = _managed((await self._client.list(CLUSTERS)).items)
        standings = self._stand(fleet)
        chosen = set(self._choose(standings))
        missed = False
        for cluster, standing in zip(fleet, standings, strict=True):
            try:
                await self._take(cluster, Step.BEGIN if standing.name in chosen else standing.step)
                await self._heard(cluster)
            except NotFound:
                continue
            except Conflict:
                missed = True
        await self._tell(standings)
        return requeue(self._pause) if missed else self._next(fleet)

    def _choose(self, standings: Iterable[Standing]) -> list[str]:
        return choose(
            standings, largest=self._settings.largest_wave, tolerated=self._settings.tolerated_failures
        )

    @property
    def _patience(self) -> upgrade.Patience:
        return upgrade.Patience(self._settings.agent_rollout_timeout, self._since)

    def _stand(self, fleet: Iterable[Cluster]) -> list[Standing]:
        now, patience = self._clock.now(), self._patience
        return [upgrade.stand(cluster, self._image(cluster), now, patience) for cluster in fleet]

    async def _take(self, cluster: Cluster, step: Step) -> None:
        status, now, image = cluster.status, self._clock.now(), self._image(cluster)
        timeout = self._settings.agent_rollout_timeout
        changed = after(status, step, image, timeout, now)
        if changed is status:
            return
        await write_status(self._client, cluster, changed, now)
        name = cluster.metadata.name
        if step is Step.ARRIVED:
            log.info("cluster %s: its agent runs %s", name, image)
            await self._event(cluster, "Normal", "AgentUpgraded", f"the agent runs {image}")
        elif step is Step.LATE:
            message = problem(status, timeout).message
            log.warning("cluster %s: its agent was not upgraded: %s", name, message)
            await self._event(cluster, "Warning", "AgentUpgradeFailed", message)
        elif step is Step.BEGIN:
            log.info("cluster %s: its agent is upgraded to %s", name, image)

    async def _event(
        self, cluster: Cluster, kind: Literal["Normal", "Warning"], reason: str, message: str
    ) -> None:
        await self._events.event(reference(CLUSTERS, cluster), kind, reason, message)

    async def _heard(self, cluster: Cluster) -> None:
        """The wish to deploy once more was seen."""
        if upgrade.asks_again(cluster):
            patch = {"metadata": {"annotations": {upgrade.FORCE: "false"}}}
            await self._client.patch(CLUSTERS, cluster.metadata.name, patch)

    async def _tell(self, standings: Iterable[Standing]) -> None:
        """Say in a setting how far the fleet is."""
        text = words(
            progress(standings),
            self._settings.agent_image,
            largest=self._settings.largest_wave,
            tolerated=self._settings.tolerated_failures,
        )
        if text != self._settings.value(STATUS):
            with contextlib.suppress(NotFound):
                await self._client.patch(SETTINGS, STATUS, {"value": text})

    def _next(self, fleet: Iterable[Cluster]) -> Result:
        """Be called when the next cluster would be late."""
        moments = [moment for one in fleet if (moment := upgrade.due(one, self._patience)) is not None]
        if not moments:
            return DONE
        return requeue(max(0.1, (min(moments) - self._clock.now()).total_seconds()))


def _managed(clusters: Iterable[Cluster]) -> list[Cluster]:
    """Those that have an agent of their own, and a record that is set up."""
    return [
        one
        for one in clusters
        if one.metadata.name != LOCAL_CLUSTER and not one.is_deleting and one.status.conditions
    ]


def same_standing(old: Cluster, new: Cluster) -> bool:
    """Whether nothing changed that a plan is made of."""
    return _aspects(old) == _aspects(new)


def _aspects(cluster: Cluster) -> tuple[object, ...]:
    metadata, status = cluster.metadata, cluster.status
    applied = status.applied_state
    return (
        metadata.uid,
        metadata.generation,
        metadata.deletion_timestamp,
        metadata.annotations.get(upgrade.FORCE),
        metadata.labels.get(upgrade.FIRST),
        bool(status.conditions),
        bool(status.connected),
        status.agent_image,
        status.agent_upgrade,
        status.desired_state and status.desired_state.hash,
        applied and (applied.hash, applied.agent_image, applied.failed),
    )
