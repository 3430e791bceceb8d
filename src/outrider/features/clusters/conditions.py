"""Conditions of a status: read one, write one (contract: clusters §0.4).

An unchanged condition keeps its times, and the order of a list stays as it came to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from outrider.features.clusters.registration import format_time
from outrider.kube.meta import Condition


def find(conditions: Sequence[Condition], kind: str) -> Condition | None:
    """The condition of type `kind`, if there is one."""
    return next((condition for condition in conditions if condition.type == kind), None)


def is_true(conditions: Sequence[Condition], kind: str) -> bool:
    """Whether the condition of type `kind` is True."""
    found = find(conditions, kind)
    return found is not None and found.status == "True"


def put(
    conditions: Sequence[Condition],
    kind: str,
    status: str,
    now: datetime,
    *,
    reason: str = "",
    message: str = "",
) -> list[Condition]:
    """The list with this condition in it; the same content if nothing about it is new."""
    moment = format_time(now)
    old = find(conditions, kind)
    if old is None:
        new = Condition(
            type=kind,
            status=status,
            reason=reason,
            message=message,
            last_update_time=moment,
            last_transition_time=moment,
        )
        return [*conditions, new]
    if (old.status, old.reason, old.message) == (status, reason, message):
        return list(conditions)
    new = msgspec.structs.replace(
        old,
        status=status,
        reason=reason,
        message=message,
        last_update_time=moment,
        last_transition_time=old.last_transition_time if old.status == status else moment,
    )
    return [new if condition is old else condition for condition in conditions]


def without(conditions: Sequence[Condition], kind: str) -> list[Condition]:
    """The list with no condition of type `kind`."""
    return [condition for condition in conditions if condition.type != kind]
