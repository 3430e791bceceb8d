"""The state that people see, computed from an object's conditions (contract: clusters §1.6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from outrider.kube.meta import Condition, Object, ObjectMeta

ERRORS: Final = frozenset(
    {
        "OutOfDisk",
        "MemoryPressure",
        "DiskPressure",
        "NetworkUnavailable",
        "Unschedulable",
        "ReplicaFailure",
        "Stalled",
        "Failed",
    }
)

GATES: Final[dict[str, str]] = {
    **dict.fromkeys(("Active", "InitialRolesPopulated"), "activating"),
    **dict.fromkeys(
        (
            "AddonDeploy",
            "AgentDeployed",
            "CertsGenerated",
            "DockerProvisioned",
            "etcd",
            "NodesCreated",
            "Provisioned",
        ),
        "provisioning",
    ),
    **dict.fromkeys(
        (
            "BackingNamespaceCreated",
            "ConfigOK",
            "CreatorMadeOwner",
            "DefaultNamespaceAssigned",
            "DefaultNetworkPolicyCreated",
            "DefaultProjectCreated",
        ),
        "configuring",
    ),
    "Built": "building",
    "Created": "creating",
    "Deployed": "deploying",
    "Drained": "draining",
    "Downloaded": "downloading",
    "Inactive": "deactivating",
    "Initialized": "initializing",
    "RunCompleted": "running",
    "Processed": "processed",
    "Installed": "installing",
    "Pending": "pending",
    "PodScheduled": "scheduling",
    "Reconciled": "reconciling",
    "Refreshed": "refreshed",
    "Registered": "registering",
    "Removed": "removing",
    "Saved": "saving",
    **dict.fromkeys(("Updated", "Updating"), "updating"),
    "Upgraded": "upgrading",
    "Waiting": "waiting",
    **dict.fromkeys(("ScalingActive", "AbleToScale"), "pending"),
}
"""Condition → the state of an object whose condition of that type is False or Unknown."""

_FRESH = timedelta(seconds=5)
_LONG_REMOVAL = timedelta(minutes=5)


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What to show: a word, whether it is an error, whether it is about to change, and why."""

    name: str
    error: bool = False
    transitioning: bool = False
    message: str = ""

    @property
    def norman_transitioning(self) -> str:
        """The /v3 spelling: ``error``, ``yes`` or ``no``."""
        if self.error:
            return "error"
        return "yes" if self.transitioning else "no"


def evaluate(
    obj: Object,
    conditions: Iterable[Condition],
    now: datetime,
    *,
    active: bool | None = None,
    phase: str = "",
    fresh_is_initializing: bool = True,
) -> State:
    """The state of `obj`, whose conditions count in their order.

    `active` is ``spec.active`` and `phase` ``status.phase``, where a kind has them;
    `fresh_is_initializing` holds for the ``cattle.io`` groups.
    """
    found = list(conditions)
    if obj.is_deleting:
        return _removing(obj, found, now)
    state = _errors(found) or _gates(found) or _progress(found)
    if state is not None:
        return state
    if active is not None:
        return State(name="active" if active else "inactive")
    if phase:
        return State(name=phase)
    created = obj.metadata.creation_timestamp
    if fresh_is_initializing and not found and created is not None and now - created < _FRESH:
        return State(name="initializing", transitioning=True)
    return State(name="active")


def _removing(obj: Object, conditions: list[Condition], now: datetime) -> State:
    since = obj.metadata.deletion_timestamp
    late = since is not None and now - since > _LONG_REMOVAL
    message = ""
    if obj.metadata.finalizers:
        finalizer = obj.metadata.finalizers[0].removeprefix("controller.cattle.io/")
        message = f"waiting on {'object cleanup' if finalizer == 'foregroundDeletion' else finalizer}"
        # Additive to the contract: what that waiting is for, where it is known
        told = next((c.message for c in conditions if c.type == "Removed" and c.message), "")
        message += f": {told}" if told else ""
    return State(name="removing", error=late, transitioning=True, message=message)


def _errors(conditions: list[Condition]) -> State | None:
    bad = [c for c in conditions if c.type in ERRORS and c.status == "True"]
    return State(name="error", error=True, message=_messages(bad)) if bad else None


def _gates(conditions: list[Condition]) -> State | None:
    """Closed gates: the last that failed names the state, else the first that is not decided."""
    closed = [c for c in conditions if c.type in GATES]
    failed = [c for c in closed if c.status == "False"]
    waiting = [c for c in closed if c.status == "Unknown"]
    if failed:
        return State(
            name=GATES[failed[-1].type],
            error=True,
            transitioning=bool(waiting),
            message=_messages(failed),
        )
    if waiting:
        return State(name=GATES[waiting[0].type], transitioning=True, message=_messages(waiting[:1]))
    return None


_PROGRESS: Final[tuple[tuple[str, str, State], ...]] = (
    ("Reconciling", "True", State(name="reconciling", transitioning=True)),
    ("Ready", "False", State(name="unavailable", transitioning=True)),
    ("Ready", "Unknown", State(name="unavailable", error=True)),
    ("Available", "False", State(name="updating", transitioning=True)),
    ("Completed", "False", State(name="activating", transitioning=True)),
)


def _progress(conditions: list[Condition]) -> State | None:
    statuses = {c.type: c for c in conditions}
    for kind, status, state in _PROGRESS:
        condition = statuses.get(kind)
        if condition is not None and condition.status == status:
            return msgspec.structs.replace(state, message=condition.message)
    return None


def _messages(conditions: list[Condition]) -> str:
    return "; ".join(c.message or c.reason for c in conditions if c.message or c.reason)


def state_of(obj: Mapping[str, Any], now: datetime, *, settles: bool | None = None) -> State:
    """The state of an object of any kind, as plain values. What does not look like a condition is passed over.

    `settles`: a new object without conditions is initializing; None: if it is of a ``cattle.io`` group.
    """
    spec, status = obj.get("spec"), obj.get("status")
    held = status if isinstance(status, dict) else {}
    conditions = _conditions(held.get("conditions"))
    active = spec.get("active") if isinstance(spec, dict) else None
    phase = held.get("phase")
    group = str(obj.get("apiVersion") or "").partition("/")[0]
    return evaluate(
        Object(metadata=_metadata(obj.get("metadata") or {}, conditions)),
        conditions,
        now,
        active=active if isinstance(active, bool) else None,
        phase=phase.lower() if isinstance(phase, str) else "",
        fresh_is_initializing=group.endswith("cattle.io") if settles is None else settles,
    )


def _metadata(found: Mapping[str, Any], conditions: list[Condition]) -> ObjectMeta:
    """What the state needs of the metadata: nothing, for most objects of a long list."""
    if conditions and "deletionTimestamp" not in found:
        return ObjectMeta()
    try:
        return msgspec.convert(found, ObjectMeta)
    except msgspec.ValidationError:
        return ObjectMeta()


def _conditions(found: Any) -> list[Condition]:
    rows = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
    return [
        Condition(
            type=str(row.get("type") or ""),
            status=str(row.get("status") or ""),
            reason=str(row.get("reason") or ""),
            message=str(row.get("message") or ""),
        )
        for row in rows
    ]
