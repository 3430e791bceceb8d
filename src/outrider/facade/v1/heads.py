"""What of an object decides how it is shown: its state, its condition's flags, who owns it; pure."""

from __future__ import annotations

import functools
from datetime import datetime
from typing import Any, Final

import msgspec

from outrider.apis.state import State, evaluate, state_of
from outrider.kube.meta import Condition, Object, ObjectMeta

Json = dict[str, Any]


class _Meta(msgspec.Struct, rename="camel"):
    deletion_timestamp: datetime | None = None
    creation_timestamp: datetime | None = None
    finalizers: list[str] | None = None


class _Condition(msgspec.Struct):
    type: str = ""
    status: str = ""
    reason: str | None = None
    message: str | None = None


class _Spec(msgspec.Struct):
    active: bool | None = None


class _Status(msgspec.Struct):
    phase: str | None = None
    conditions: list[_Condition] | None = None


class _Head(msgspec.Struct, rename="camel"):
    api_version: str = ""
    metadata: _Meta = msgspec.field(default_factory=_Meta)
    spec: _Spec | None = None
    status: _Status | None = None


_HEAD: Final = msgspec.json.Decoder(_Head)


def state_in(data: bytes | msgspec.Raw, now: datetime) -> State:
    """The state of an object, as JSON (contract, clusters §1.6)."""
    try:
        head = _HEAD.decode(data)
    except msgspec.ValidationError:
        # of a kind that calls something else by these names
        return state_of(msgspec.json.decode(data), now)
    status = head.status or _Status()
    meta = head.metadata
    return evaluate(
        Object(
            metadata=ObjectMeta(
                creation_timestamp=meta.creation_timestamp,
                deletion_timestamp=meta.deletion_timestamp,
                finalizers=meta.finalizers or [],
            )
        ),
        [_condition(one) for one in status.conditions or ()],
        now,
        active=head.spec.active if head.spec is not None else None,
        phase=(status.phase or "").lower(),
        fresh_is_initializing=head.api_version.partition("/")[0].endswith("cattle.io"),
    )


def _condition(one: _Condition) -> Condition:
    return Condition(type=one.type, status=one.status, reason=one.reason or "", message=one.message or "")


def flagged(conditions: Any) -> Any:
    """The conditions of a status, each with `error` and `transitioning`, as the state would have it."""
    if not isinstance(conditions, list):
        return conditions
    return [
        one | _flags(str(one.get("type")), str(one.get("status"))) if isinstance(one, dict) else one
        for one in conditions
    ]


@functools.lru_cache(maxsize=1024)
def _flags(kind: str, status: str) -> Json:
    state = evaluate(
        Object(), [Condition(type=kind, status=status)], datetime.min, fresh_is_initializing=False
    )
    return {"error": state.error, "transitioning": state.transitioning}
