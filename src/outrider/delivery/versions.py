"""Versions of desired states, and what reports of them become in a cluster's status. Pure."""

from __future__ import annotations

from typing import Final

from outrider.apis.management.cluster_status import (
    AppliedStateStatus,
    ClusterStatus,
    DesiredStateStatus,
    OwnerStateStatus,
    ShareStatus,
)
from outrider.tunnel.reports import Failure, StateReport

_MAX_FAILURES: Final = 10
_LONGEST: Final = 300
_MAX_SHARES: Final = 1000
_MAX_AMOUNTS: Final = 20
_LONGEST_IMAGE: Final = 512
_LAST_EPOCH: Final = 1 << 53
"""What a JSON number holds exactly; an agent that claims more is not believed."""

Version = tuple[int, int]


def stamped(status: ClusterStatus) -> Version:
    """The version of the state that is to be applied; (0, 0) before the first."""
    wanted = status.desired_state or DesiredStateStatus()
    return (wanted.epoch, wanted.counter)


def applied(status: ClusterStatus) -> Version:
    """The version that the agent reported last."""
    reported = status.applied_state or AppliedStateStatus()
    return (reported.epoch, reported.counter)


def must_stamp(status: ClusterStatus, wanted: str) -> bool:
    """Whether the state with the hash `wanted` needs another version than the one in the status.

    It does when the state is another, when the one before it could not be handed over, and when the agent has a
    later version than was ever stamped, which happens after the management cluster was restored from a backup: the
    agent would refuse what is older.
    """
    held = status.desired_state
    if held is None or held.hash != wanted or held.problem:
        return True
    return _believed(applied(status)) > stamped(status)


def next_version(status: ClusterStatus, epoch: int) -> Version:
    """A version greater than every one before, of this `epoch` unless there was a later one."""
    floor = max(stamped(status), _believed(applied(status)))
    return (epoch, 1) if epoch > floor[0] else (floor[0], floor[1] + 1)


def _believed(version: Version) -> Version:
    return version if version[0] < _LAST_EPOCH else (0, 0)


def is_newer(report: StateReport, held: AppliedStateStatus | None) -> bool:
    """Whether a report tells anything new: of the same replica's term a later one, or of a later term."""
    if held is None:
        return True
    if (report.term, report.sequence) < (held.term, held.sequence):
        return False
    return content(applied_status(report)) != content(held)


def content(status: AppliedStateStatus) -> tuple[object, ...]:
    """What counts of a report, without its number: a restart alone is no news."""
    return (
        status.epoch,
        status.counter,
        status.hash,
        status.applied,
        status.failed,
        status.failures,
        status.owners,
        status.shares,
        status.leaving,
        status.agent_image,
        status.agent_version,
    )


def applied_status(report: StateReport) -> AppliedStateStatus:
    """A report as it stands in the status."""
    return AppliedStateStatus(
        epoch=max(0, min(report.epoch, _LAST_EPOCH)),
        counter=max(0, min(report.counter, _LAST_EPOCH)),
        hash=report.hash[:64],
        term=max(0, min(report.term, _LAST_EPOCH)),
        sequence=max(0, min(report.sequence, _LAST_EPOCH)),
        applied=report.applied,
        failed=report.failed,
        failures=[_line(failure) for failure in report.failures[:_MAX_FAILURES]],
        owners=[
            OwnerStateStatus(
                name=one.name[:63], applied=one.applied, failed=one.failed, message=one.message[:_LONGEST]
            )
            for one in {owner.name: owner for owner in report.owners[:50]}.values()
        ],
        shares=[
            ShareStatus(
                project=one.project[:127],
                used={name[:63]: text[:63] for name, text in list(one.used.items())[:_MAX_AMOUNTS]},
                refused=[name[:63] for name in one.refused[:_MAX_FAILURES]],
            )
            for one in report.shares[:_MAX_SHARES]
        ],
        leaving=[project[:127] for project in report.leaving[:_MAX_SHARES]],
        agent_image=report.image[:_LONGEST_IMAGE],
        agent_version=report.version[:63],
    )


def _line(failure: Failure) -> str:
    name = f"{failure.namespace}/{failure.name}" if failure.namespace else failure.name
    subject = f"{failure.kind} {name}: " if failure.name else ""
    return f"{subject}{failure.message}"[:_LONGEST]
