"""The table of states, row by row, and the transitions of an imported cluster."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from outrider.apis.state import ERRORS, GATES, State, evaluate
from outrider.kube.meta import Condition, Object, ObjectMeta

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def condition(text: str) -> Condition:
    """``Type=Status:message``."""
    kind, _, rest = text.partition("=")
    status, _, message = rest.partition(":")
    return Condition(type=kind, status=status, message=message)


def see(*conditions: str, obj: Object | None = None, active: bool | None = None, phase: str = "") -> State:
    aged = obj or Object(metadata=ObjectMeta(creation_timestamp=NOW - timedelta(hours=1)))
    return evaluate(aged, map(condition, conditions), NOW, active=active, phase=phase)


# Row by row from the contract, so that a change of the table in the code is a change here too.
TABLE = """
Active activating            | Installed installing
AddonDeploy provisioning     | AgentDeployed provisioning
CertsGenerated provisioning  | DockerProvisioned provisioning
etcd provisioning            | NodesCreated provisioning
Provisioned provisioning     | Pending pending
BackingNamespaceCreated configuring  | ConfigOK configuring
CreatorMadeOwner configuring         | DefaultNamespaceAssigned configuring
DefaultNetworkPolicyCreated configuring | DefaultProjectCreated configuring
PodScheduled scheduling | Built building
Created creating        | Deployed deploying
Reconciled reconciling  | Refreshed refreshed
Drained draining        | Downloaded downloading
Registered registering  | Removed removing
Inactive deactivating   | Initialized initializing
Saved saving            | Updated updating
Updating updating       | InitialRolesPopulated activating
Upgraded upgrading      | Waiting waiting
RunCompleted running    | Processed processed
ScalingActive pending   | AbleToScale pending
"""
ROWS = [tuple(cell.split()) for line in TABLE.strip().splitlines() for cell in line.split("|")]


def test_the_table_is_complete() -> None:
    assert dict(ROWS) == GATES


@pytest.mark.parametrize(("kind", "name"), ROWS)
def test_gates(kind: str, name: str) -> None:
    assert see(f"{kind}=Unknown:why") == State(name=name, transitioning=True, message="why")
    assert see(f"{kind}=False:why") == State(name=name, error=True, message="why")
    assert see(f"{kind}=True:why") == State(name="active")


@pytest.mark.parametrize("kind", sorted(ERRORS))
def test_error_conditions(kind: str) -> None:
    assert see(f"{kind}=True:why", "Ready=False") == State(name="error", error=True, message="why")
    assert see(f"{kind}=False") == see(f"{kind}=Unknown") == State(name="active")


@pytest.mark.parametrize(
    ("conditions", "state"),
    [
        (
            ["Pending=Unknown:a", "Provisioned=Unknown:b"],
            State(name="pending", transitioning=True, message="a"),
        ),
        (["Provisioned=Unknown", "Pending=Unknown"], State(name="provisioning", transitioning=True)),
        (
            ["Pending=Unknown:a", "AgentDeployed=False:b", "Updated=False:c"],
            State(name="updating", error=True, transitioning=True, message="b; c"),
        ),
        (["Reconciling=True:r", "Ready=False:x"], State(name="reconciling", transitioning=True, message="r")),
        (["Reconciling=False", "Ready=True"], State(name="active")),
        (["Ready=False:gone"], State(name="unavailable", transitioning=True, message="gone")),
        (["Ready=Unknown:?"], State(name="unavailable", error=True, message="?")),
        (["Available=False:a"], State(name="updating", transitioning=True, message="a")),
        (["Completed=False:c"], State(name="activating", transitioning=True, message="c")),
        (["Connected=False"], State(name="active")),
        ([], State(name="active")),
    ],
)
def test_order_of_evaluation(conditions: list[str], state: State) -> None:
    assert see(*conditions) == state


def test_active_phase_and_fresh_objects() -> None:
    assert see(active=True).name == "active"
    assert see(active=False).name == "inactive"
    assert see(phase="Bound").name == "Bound"
    fresh = Object(metadata=ObjectMeta(creation_timestamp=NOW - timedelta(seconds=4)))
    assert see(obj=fresh) == State(name="initializing", transitioning=True)
    assert see("Ready=True", obj=fresh) == State(name="active")


def deleted(ago: timedelta, *finalizers: str) -> Object:
    return Object(metadata=ObjectMeta(deletion_timestamp=NOW - ago, finalizers=list(finalizers)))


@pytest.mark.parametrize(
    ("obj", "error", "message"),
    [
        (deleted(timedelta(), "controller.cattle.io/x", "y"), False, "waiting on x"),
        (deleted(timedelta(), "foregroundDeletion"), False, "waiting on object cleanup"),
        (deleted(timedelta()), False, ""),
        (deleted(timedelta(minutes=6)), True, ""),
    ],
)
def test_removal_wins(obj: Object, error: bool, message: str) -> None:
    state = see("Ready=False:x", "Failed=True", obj=obj)
    assert state == State(name="removing", transitioning=True, error=error, message=message)


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (State(name="a"), "no"),
        (State(name="a", transitioning=True), "yes"),
        (State(name="a", transitioning=True, error=True), "error"),
    ],
)
def test_norman_spelling(state: State, word: str) -> None:
    assert state.norman_transitioning == word


def test_the_life_of_an_imported_cluster() -> None:
    new = ["Pending=Unknown", "Provisioned=Unknown", "Waiting=Unknown:Waiting for API to be available"]
    assert see(*new).name == "pending"
    registered = ["Pending=True", "Provisioned=True", new[2]]
    assert see(*registered, "Connected=True").name == "waiting"
    good = ["Pending=True", "Provisioned=True", "Waiting=True"]
    assert see(*good, "Connected=True", "Ready=True").name == "active"
    assert see(*good, "Connected=False", "Ready=False:Cluster agent is not connected") == State(
        name="unavailable", transitioning=True, message="Cluster agent is not connected"
    )
    assert see(*good, "Ready=True", "AgentDeployed=False:no").name == "provisioning"
