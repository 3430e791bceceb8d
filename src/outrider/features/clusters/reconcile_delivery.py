"""Says in conditions how far a cluster is with its desired state, from what its agent reported."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from outrider.apis.management.cluster import Cluster
from outrider.apis.management.cluster_status import ClusterStatus
from outrider.apis.management.group import LOCAL_CLUSTER
from outrider.features.clusters.desired import OWNER
from outrider.features.clusters.status import write_status
from outrider.kit.clock import Clock
from outrider.kube import conditions as c
from outrider.kube.client import Client
from outrider.kube.meta import Condition, ObjectKey
from outrider.runtime.controller import DONE, Result
from outrider.runtime.store import Lister

APPLIED: Final = "DesiredStateApplied"
DEPLOYED: Final = "AgentDeployed"
_NOT_DEPLOYED: Final = "Error while applying agent YAML, it will be retried automatically: "


class DeliveryReconciler:
    """Conditions `DesiredStateApplied` and `AgentDeployed` (contract: clusters §1.4) of one cluster at a time."""

    def __init__(self, client: Client, clusters: Lister[Cluster], clock: Clock) -> None:
        self._client = client
        self._clusters = clusters
        self._clock = clock

    async def reconcile(self, key: ObjectKey) -> Result:
        """Bring the conditions up to date; a record without conditions is not set up yet."""
        cluster = self._clusters.get(key)
        if cluster is None or cluster.is_deleting or not cluster.status.conditions:
            return DONE
        now = self._clock.now()
        status = msgspec.structs.replace(cluster.status, conditions=delivery_conditions(cluster, now))
        await write_status(self._client, cluster, status, now)
        return DONE


def delivery_conditions(cluster: Cluster, now: datetime) -> list[Condition]:
    """The cluster's conditions with what its state's stamp and the last report say."""
    status, found = cluster.status, list(cluster.status.conditions)
    wanted, reported = status.desired_state, status.applied_state
    if wanted is None:
        return found
    if wanted.problem:
        return c.set_condition(found, APPLIED, "False", now=now, reason="TooLarge", message=wanted.problem)
    if reported is None or reported.hash != wanted.hash:
        message = f"waiting for the agent to apply {wanted.epoch}.{wanted.counter}"
        return c.set_condition(found, APPLIED, "Unknown", now=now, reason="Waiting", message=message)
    if reported.failed:
        first = reported.failures[0] if reported.failures else ""
        message = f"{reported.failed} of {reported.failed + reported.applied}: {first}"
        found = c.set_condition(found, APPLIED, "False", now=now, reason="Failed", message=message)
    else:
        found = c.set_condition(found, APPLIED, "True", now=now)
    if cluster.metadata.name == LOCAL_CLUSTER:
        return found
    problem = _own_problem(status)
    return c.set_condition(
        found,
        DEPLOYED,
        "False" if problem else "True",
        now=now,
        reason="Error" if problem else "",
        message=_NOT_DEPLOYED + problem if problem else "",
    )


def _own_problem(status: ClusterStatus) -> str:
    """The first failure among the objects that make the agent."""
    owners = status.applied_state.owners if status.applied_state else []
    return next((one.message for one in owners if one.name == OWNER and one.failed), "")


def same_delivery(old: Cluster, new: Cluster) -> bool:
    """Whether nothing changed that these conditions are made of."""
    was, now = old.status, new.status
    return (was.desired_state, was.applied_state, bool(was.conditions)) == (
        now.desired_state,
        now.applied_state,
        bool(now.conditions),
    )
