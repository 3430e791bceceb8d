"""Where one cluster stands on the way to another image of its agent. Pure.

The image in `status.agentImage` is the one that the cluster's desired state holds. An upgrade has succeeded when
the agent that *applies* the state tells that image: that one report shows that the new agent has a tunnel, holds
the state and has applied it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from outrider.apis.management.cluster import Cluster
from outrider.apis.management.cluster_status import AgentUpgradeStatus, AppliedStateStatus, ClusterStatus
from outrider.features.clusters.waves import Standing, Step

FORCE: Final = "io.cattle.agent.force.deploy"
"""Annotation of the contract (clusters §2.7): ``"true"`` asks to deploy once more; set to ``"false"`` after."""
FIRST: Final = "outrider.cattle.io/agent-upgrade-first"
"""Label of clusters that are to be among the first: ``"true"``."""


class Patience(NamedTuple):
    """How long a cluster may take, and since when the present leader has been watching."""

    timeout: timedelta
    since: datetime

    def deadline(self, started: datetime) -> datetime:
        """When it is late. A time in which nobody watched does not count."""
        return max(started, self.since) + self.timeout


def names_its_image(cluster: Cluster) -> bool:
    """Whether the cluster's own spec says which image it gets: no wave has to wait for it."""
    return bool(cluster.spec.agent_image_override or cluster.spec.desired_agent_image not in ("", "fixed"))


def stand(cluster: Cluster, image: str, now: datetime, patience: Patience) -> Standing:
    """Where the cluster stands whose agent should have `image`."""
    status, upgrade = cluster.status, cluster.status.agent_upgrade
    if status.agent_image != image:
        step = _before(cluster, image)
    elif upgrade is None or upgrade.started_at is None or upgrade.finished_at is not None:
        step = Step.SETTLED
    elif arrived(status, upgrade):
        step = Step.ARRIVED
    elif upgrade.failed_at is not None:
        step = Step.AGAIN if asks_again(cluster) else Step.FAILED
    elif now < patience.deadline(upgrade.started_at):
        step = Step.UNDER_WAY
    else:
        step = Step.LATE if status.connected or reached(status) else Step.LOST
    return Standing(
        name=cluster.metadata.name,
        step=step,
        counted=not names_its_image(cluster),
        upgraded=upgrade is not None and status.agent_image == image,
        first=cluster.metadata.labels.get(FIRST) == "true",
    )


def due(cluster: Cluster, patience: Patience) -> datetime | None:
    """When the cluster will be late, if its upgrade is under way."""
    upgrade = cluster.status.agent_upgrade
    if upgrade is None or upgrade.started_at is None or upgrade.finished_at or upgrade.failed_at:
        return None
    return patience.deadline(upgrade.started_at)


def asks_again(cluster: Cluster) -> bool:
    """Whether somebody asks to deploy the agent once more."""
    return cluster.metadata.annotations.get(FORCE) == "true"


def arrived(status: ClusterStatus, upgrade: AgentUpgradeStatus) -> bool:
    """Whether the new agent is connected, has applied the state no worse than the old one, and says who it is."""
    found = applied(status)
    return bool(
        status.connected
        and reached(status)
        and found.agent_image == status.agent_image
        and found.failed <= upgrade.failing
    )


def reached(status: ClusterStatus) -> bool:
    """Whether the agent, the old or the new one, has applied the newest desired state."""
    return status.desired_state is not None and applied(status).hash == status.desired_state.hash


def applied(status: ClusterStatus) -> AppliedStateStatus:
    """What was reported last; empty when nothing was."""
    return status.applied_state or AppliedStateStatus()


def _before(cluster: Cluster, image: str) -> Step:
    """The step of a cluster whose desired state does not hold the image yet."""
    if _is_safe(cluster.status, image):
        return Step.ADOPT
    if not cluster.status.connected:
        return Step.AWAY
    return Step.BEGIN if names_its_image(cluster) else Step.READY


def _is_safe(status: ClusterStatus, image: str) -> bool:
    """Whether `image` replaces nothing that works.

    Nothing was reported yet, or the agent does not run in its Deployment; or the image is the one that serves,
    or that served before an upgrade which has not succeeded; or the cluster was lost in an upgrade, and what is
    deployed there by hand should be what is wanted now.
    """
    serving, upgrade = applied(status).agent_image, status.agent_upgrade
    if not serving or serving == image:
        return True
    if upgrade is None or upgrade.finished_at is not None:
        return False
    return upgrade.previous == image or (upgrade.failed_at is not None and not status.connected)
