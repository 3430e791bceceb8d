"""Where a cluster is on its way out, and what its record says of that. Pure.

The condition `Removed` (contract: clusters §1.4, §1.10) carries it: it is set with the order to the agent, changes
with the agent's reports, and ends as `CleanedUp` or `LeftBehind`; then the record may go.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum
from typing import Final

import msgspec

from outrider.apis.management.cluster import Cluster
from outrider.apis.management.cluster_status import ClusterStatus
from outrider.apis.management.group import LOCAL_CLUSTER
from outrider.features.clusters.lifecycle import UID_ANNOTATION
from outrider.kube import conditions as c
from outrider.kube.meta import Condition
from outrider.tunnel.reports import Removal

CONDITION: Final = "Removed"
ORDERED: Final = "CleaningUp"
CLEANED: Final = "CleanedUp"
LEFT: Final = "LeftBehind"

_ENDS: Final = frozenset({CLEANED, LEFT})
_LONGEST: Final = 5
"""So many patiences the agent may take as long as it tells of progress."""
_WIDTH: Final = 600

# A namespace with the last of these labels may be somebody's own, in which only fields were delivered
_BY_HAND: Final = (
    "namespaces cattle-system and cattle-impersonation-system, ClusterRole cattle-admin, ClusterRoleBinding"
    " cattle-admin-binding, ClusterRoles and ClusterRoleBindings labelled authz.cluster.cattle.io/impersonator,"
    " and objects other than namespaces labelled outrider.cattle.io/delivered"
)


class Step(Enum):
    """What to do next."""

    ORDER = "order"
    WAIT = "wait"
    GIVE_UP = "give up"
    RELEASE = "release"


def has_agent(cluster: Cluster) -> bool:
    """Whether an agent ever registered, so that there may be something in the cluster."""
    known = cluster.metadata.annotations.get(UID_ANNOTATION) or cluster.status.api_endpoint
    return cluster.metadata.name != LOCAL_CLUSTER and bool(known)


def next_step(cluster: Cluster, now: datetime, patience: timedelta) -> Step:
    """The next step with a record that is being deleted."""
    condition = _condition(cluster.status)
    if not has_agent(cluster) or (condition is not None and condition.reason in _ENDS):
        return Step.RELEASE
    if condition is None or condition.reason != ORDERED:
        return Step.ORDER
    return Step.WAIT if now < deadline(cluster, patience) else Step.GIVE_UP


def deadline(cluster: Cluster, patience: timedelta) -> datetime:
    """When the agent of a deleted record is waited for no longer.

    It has `patience` again after each sign of progress, five in all. Raises ValueError for another record.
    """
    begun = cluster.metadata.deletion_timestamp
    if begun is None:
        raise ValueError("the record is not being deleted")
    condition = _condition(cluster.status)
    heard = _moment(condition.last_update_time) if condition is not None and reports(condition) else None
    return min(max(begun, heard or begun) + patience, begun + patience * _LONGEST)


def is_ordered(cluster: Cluster) -> bool:
    """Whether the agent is to be told, and to be heard."""
    condition = _condition(cluster.status)
    return cluster.is_deleting and condition is not None and condition.reason == ORDERED


def ordered(cluster: Cluster, now: datetime) -> ClusterStatus:
    """The agent has to clean up."""
    message = (
        "waiting for the agent to remove what was made in the cluster"
        if cluster.status.connected
        else "the cluster is not connected: waiting a while for its agent, which has to clean up"
    )
    return _with(cluster, "Unknown", ORDERED, message, now)


def reported(cluster: Cluster, report: Removal, now: datetime) -> ClusterStatus:
    """The agent said how far it is."""
    left = _listed(report.left)
    if report.done:
        reason, message = (LEFT, f"{_KEPT}{left}") if left else (CLEANED, "")
        return _with(cluster, "True", reason, message, now)
    message = f"{_PROGRESS}: {report.remaining} objects are left" + (f": {left}" if left else "")
    return _with(cluster, "Unknown", ORDERED, message, now)


_PROGRESS: Final = "the agent removes what was made in the cluster"
_KEPT: Final = "the agent has left the cluster; it could not remove, or had to keep: "


def reports(condition: Condition) -> bool:
    """Whether the condition tells what an agent reported."""
    return condition.message.startswith((_PROGRESS, _KEPT))


def given_up(cluster: Cluster, why: str, now: datetime) -> ClusterStatus:
    """The record goes without an answer of the agent's."""
    return _with(cluster, "False", LEFT, left_behind(cluster, why), now)


def left_behind(cluster: Cluster, why: str) -> str:
    """What stays in a cluster whose agent could not be waited for, for people."""
    applied = cluster.status.applied_state
    owners = ", ".join(f"{one.applied} of {one.name}" for one in applied.owners) if applied else ""
    condition = _condition(cluster.status)
    told = condition.message if condition is not None and reports(condition) else ""
    return (
        f"{why}; left in the cluster: {_BY_HAND}"
        + (f" ({owners})" if owners else "")
        + (f". The last report: {told}" if told else "")
        + ". An agent that connects again is told to remove them"
    )


def _with(cluster: Cluster, truth: str, reason: str, message: str, now: datetime) -> ClusterStatus:
    conditions = c.set_condition(
        cluster.status.conditions, CONDITION, truth, now=now, reason=reason, message=message
    )
    return msgspec.structs.replace(cluster.status, conditions=conditions)


def _condition(status: ClusterStatus) -> Condition | None:
    return c.get_condition(status.conditions, CONDITION)


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _listed(lines: list[str]) -> str:
    text = "; ".join(lines)
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"
