"""Whether what a binding brings is in place in a cluster: the cluster's report, against what was computed."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from outrider.apis.management.cluster import Cluster
from outrider.apis.management.cluster_status import AppliedStateStatus
from outrider.features.rbac.collection import OWNER
from outrider.features.rbac.contributor import RoleObjects
from outrider.features.rbac.world import World
from outrider.kube.meta import Object, ObjectKey
from outrider.runtime.store import Lister

SOON = 0.2
"""Seconds after which to look again for what is being computed."""


class State(Enum):
    """How far it is."""

    DONE = "done"
    COMPUTING = "computing"
    """Not part of any set yet: it will be in a moment."""
    WAITING = "waiting"
    """The cluster has not reported yet."""
    FAILED = "failed"


class Effect(NamedTuple):
    """How far it is, and what is wrong."""

    state: State
    message: str = ""


class Effects:
    """Reads what clusters reported last."""

    def __init__(self, clusters: Lister[Cluster], objects: RoleObjects) -> None:
        self._clusters = clusters
        self._objects = objects

    def world(self, cluster: str) -> World | None:
        """The world that a cluster has reported as applied; None while it has not reported the newest."""
        told, applied = self._objects.told(cluster), self.applied(cluster)
        return told.world if told is not None and applied is not None and applied.hash == told.hash else None

    def computed(self, cluster: str) -> bool:
        """Whether it was computed what a cluster is to hold; soon after a start it was not."""
        return self._objects.told(cluster) is not None

    def has_agent(self, cluster: str) -> bool:
        """Whether an agent holds something in the cluster, or may be about to."""
        record = self._clusters.get(ObjectKey("", cluster))
        return record is not None and bool(record.status.connected or record.status.applied_state)

    def applied(self, cluster: str) -> AppliedStateStatus | None:
        """What a cluster reported last."""
        record = self._clusters.get(ObjectKey("", cluster))
        return None if record is None else record.status.applied_state

    def of(self, binding: Object, cluster: str) -> Effect:
        """The effect of a binding or global role, as it is now, in a cluster."""
        record = self._clusters.get(ObjectKey("", cluster))
        told = self._objects.told(cluster)
        if record is None:
            return Effect(State.WAITING, f"cluster {cluster} is not there")
        if told is None or told.world.generations.get(binding.metadata.uid) != binding.metadata.generation:
            return Effect(State.COMPUTING, f"what cluster {cluster} is to hold is being computed")
        applied = record.status.applied_state
        if applied is None or applied.hash != told.hash:
            return Effect(State.WAITING, f"waiting for cluster {cluster} to apply it")
        failed = next((one for one in applied.owners if one.name == OWNER and one.failed), None)
        if failed is not None:
            return Effect(
                State.FAILED, f"cluster {cluster}: {failed.failed} objects failed: {failed.message}"
            )
        return Effect(State.DONE)
