"""What a cluster's status says after each step of the upgrade of its agent. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, NamedTuple

import msgspec

from outrider.apis.management.cluster_status import AgentUpgradeStatus, ClusterStatus
from outrider.features.clusters.agent_upgrade import applied, reached
from outrider.features.clusters.waves import Step
from outrider.kube import conditions as c

CONDITION: Final = "AgentUpgraded"

_LOOK: Final = (
    "Look at its pods (kubectl --namespace cattle-system describe pods --selector app=cattle-cluster-agent),"
    " then set agent-image to an image that works"
)


class Said(NamedTuple):
    """What the condition says: True, False or Unknown, a word for programs, a sentence for people."""

    truth: str
    reason: str
    message: str


def after(status: ClusterStatus, step: Step, image: str, timeout: timedelta, now: datetime) -> ClusterStatus:
    """The status after a step towards `image`; the very same object when there is nothing to do."""
    match step:
        case Step.ADOPT:
            return _adopted(status, image, now)
        case Step.BEGIN:
            return _begun(status, image, now)
        case Step.AGAIN:
            said = Said("Unknown", "Upgrading", f"waiting once more for the agent that runs {image}")
            changed = _changed(status, started_at=now, failed_at=None)
        case Step.ARRIVED:
            said = Said("True", "", f"the agent runs {image}")
            changed = _changed(status, finished_at=now, failed_at=None)
        case Step.LATE:
            said, changed = problem(status, timeout), _changed(status, failed_at=now)
        case Step.LOST:
            return _withdrawn(status, now)
        case _:
            return status
    return _with(status, image, changed, said, now)


def _adopted(status: ClusterStatus, image: str, now: datetime) -> ClusterStatus:
    """The image is put into the desired state at once; nothing waits for it."""
    if c.get_condition(status.conditions, CONDITION) is None or not status.connected:
        conditions = c.remove_condition(status.conditions, CONDITION)
        return msgspec.structs.replace(status, agent_image=image, agent_upgrade=None, conditions=conditions)
    return _with(status, image, None, Said("True", "", f"{image} is in the desired state"), now)


def _begun(status: ClusterStatus, image: str, now: datetime) -> ClusterStatus:
    """The image is put into the desired state, and the new agent has to show itself."""
    held = applied(status)
    upgrade = AgentUpgradeStatus(previous=held.agent_image, failing=held.failed, started_at=_whole(now))
    said = Said("Unknown", "Upgrading", f"waiting for the agent that runs {image}")
    return _with(status, image, upgrade, said, now)


def _withdrawn(status: ClusterStatus, now: datetime) -> ClusterStatus:
    """The image never reached the cluster: the one that served is put back until it returns."""
    previous = status.agent_upgrade.previous if status.agent_upgrade else ""
    message = (
        f"the cluster was disconnected before {status.agent_image} reached it; it gets it when it is back"
    )
    return _with(status, previous, None, Said("Unknown", "Disconnected", message), now)


def problem(status: ClusterStatus, timeout: timedelta) -> Said:
    """Why the agent that should run `status.agentImage` has not shown itself, and what to do."""
    image, held = status.agent_image, applied(status)
    before = status.agent_upgrade.failing if status.agent_upgrade else 0
    within = f"within {timeout.total_seconds():g} s"
    if not status.connected:
        reason, message = "Disconnected", (
            f"the cluster was lost while its agent was replaced by {image}. {_LOOK}; if no agent is left there,"
            " apply the cluster's registration command again"
        )  # fmt: skip
    elif not reached(status):
        reason, message = "NotApplied", (
            f"the agent has not applied the state with {image} {within}: see the condition DesiredStateApplied,"
            " and the agent's log"
        )  # fmt: skip
    elif held.agent_image != image:
        reason, message = "NotConnected", (
            f"no agent that runs {image} has taken over {within}; the one with {held.agent_image} still serves."
            f" {_LOOK}"
        )  # fmt: skip
    else:
        first = held.failures[0] if held.failures else ""
        reason, message = "Failures", (
            f"with {image} {held.failed} objects of the desired state fail, {before} did before: {first}."
            " Repair them, or set agent-image back"
        )  # fmt: skip
    return Said("False", reason, message)


def _changed(status: ClusterStatus, **moments: datetime | None) -> AgentUpgradeStatus:
    whole = {name: _whole(moment) if moment else None for name, moment in moments.items()}
    return msgspec.structs.replace(status.agent_upgrade or AgentUpgradeStatus(), **whole)


def _whole(moment: datetime) -> datetime:
    """Whole seconds, as everywhere in Kubernetes."""
    return moment.replace(microsecond=0)


def _with(
    status: ClusterStatus, image: str, upgrade: AgentUpgradeStatus | None, said: Said, now: datetime
) -> ClusterStatus:
    conditions = c.set_condition(
        status.conditions, CONDITION, said.truth, now=now, reason=said.reason, message=said.message
    )
    return msgspec.structs.replace(status, agent_image=image, agent_upgrade=upgrade, conditions=conditions)
