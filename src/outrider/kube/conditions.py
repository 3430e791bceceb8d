"""Status conditions as the contract encodes them (clusters-and-agents §0.4)."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from outrider.kube.meta import Condition


def get_condition(conditions: Sequence[Condition], type: str) -> Condition | None:  # noqa: A002
    """Return the condition of that type, or None."""
    return next((condition for condition in conditions if condition.type == type), None)


def is_true(conditions: Sequence[Condition], type: str) -> bool:  # noqa: A002
    """Whether the condition of that type is there and True."""
    condition = get_condition(conditions, type)
    return condition is not None and condition.status == "True"


def set_condition(
    conditions: Sequence[Condition],
    type: str,  # noqa: A002
    status: str,
    *,
    reason: str = "",
    message: str = "",
    now: datetime,
) -> list[Condition]:
    """Return the conditions with one set, in their order, a new one at the end.

    ``status`` is True, False or Unknown. ``lastUpdateTime`` moves only when anything changes,
    ``lastTransitionTime`` only when the status does. Setting what is there already returns an equal list, so
    that a caller sees by comparison that nothing need be written.
    """
    if status not in ("True", "False", "Unknown"):
        raise ValueError(f"a condition's status is True, False or Unknown, not {status!r}")
    old = get_condition(conditions, type)
    if old is not None and (old.status, old.reason, old.message) == (status, reason, message):
        return list(conditions)
    moment = rfc3339(now)
    same_status = old is not None and old.status == status
    new = Condition(
        type=type,
        status=status,
        last_update_time=moment,
        last_transition_time=old.last_transition_time if old is not None and same_status else moment,
        reason=reason,
        message=message,
    )
    if old is None:
        return [*conditions, new]
    return [new if condition is old else condition for condition in conditions]


def remove_condition(conditions: Sequence[Condition], type: str) -> list[Condition]:  # noqa: A002
    """Return the conditions without those of that type."""
    return [condition for condition in conditions if condition.type != type]


def to_json(conditions: Sequence[Condition]) -> list[dict[str, str]]:
    """Return the conditions as a patch carries them."""
    return [msgspec.to_builtins(condition) for condition in conditions]


def rfc3339(moment: datetime) -> str:
    """Return a moment as Kubernetes writes it: UTC, whole seconds."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone was given; use an aware datetime")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
