"""The steps of a removal that a real API server cannot be brought to within a test."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from outrider.apis.management.cluster import CLUSTERS, Cluster
from outrider.features.clusters.lifecycle import FINALIZER, UID_ANNOTATION
from outrider.features.clusters.reconcile_removal import RemovalReconciler
from outrider.kube.kind import Kind
from outrider.kube.meta import ObjectKey, ObjectMeta
from outrider.runtime.controller import Result
from tests.support.clock import FakeClock

KEY = ObjectKey("", "c-1")


class World:
    """Client, copies, registry, tombstones and events of one deleted record, whose namespace hangs."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.record = Cluster(
            metadata=ObjectMeta(
                name="c-1",
                uid="u-1",
                annotations={UID_ANNOTATION: "ks-1"},
                finalizers=["another/one", FINALIZER],
                deletion_timestamp=self.clock.now(),
            )
        )
        self.stands = True
        self.buried: list[list[str]] = []
        self.told: list[tuple[str, str]] = []
        self.released: list[str] | None = None
        world: Any = self
        self.reconciler = RemovalReconciler(
            world,
            clusters=world,
            twins=world,
            registry=world,
            tombstones=world,
            events=world,
            clock=self.clock,
            patience=timedelta(seconds=50),
            namespace=timedelta(seconds=8),
        )

    async def step(self) -> Result:
        return await self.reconciler.reconcile(KEY)

    @property
    def reason(self) -> str:
        found = [one.reason for one in self.record.status.conditions if one.type == "Removed"]
        return found[0] if found else ""

    def get(self, key: Any, name: str = "") -> Any:
        return self.record

    def index(self, name: str, value: str) -> list[Any]:
        return []

    def known_tokens(self, cluster: str) -> list[str]:
        return ["token"]

    async def records_stand(self) -> bool:
        return self.stands

    async def bury(self, cluster: Cluster, tokens: list[str]) -> None:
        self.buried.append(tokens)

    async def event(self, about: Any, kind: str, reason: str, message: str) -> None:
        self.told.append((reason, message))

    async def get_or_none(self, kind: Kind[Any], name: str) -> Any:
        owners = [{"uid": "u-1"}]
        return {"metadata": {"name": name, "uid": "ns", "deletionTimestamp": "x", "ownerReferences": owners}}

    async def patch(self, kind: Kind[Any], name: str, patch: Any, subresource: str = "") -> Cluster:
        assert kind is CLUSTERS
        if subresource:
            held = msgspec.to_builtins(self.record.status) | patch["status"]
            self.record = msgspec.structs.replace(
                self.record, status=msgspec.convert(held, type(self.record.status))
            )
        else:
            self.released = patch["metadata"]["finalizers"]
        return self.record


@pytest.fixture
def world() -> World:
    return World()


async def test_the_agent_is_known_before_it_is_told(world: World) -> None:
    await world.step()
    assert world.buried == [["token"]]
    assert world.reason == "CleaningUp"


async def test_records_that_go_with_their_definition_tell_no_agent(world: World) -> None:
    world.stands = False
    await world.step()
    assert world.buried == []
    assert world.reason == "LeftBehind"


async def test_a_namespace_that_hangs_holds_the_record_a_minute_at_most(world: World) -> None:
    begun = world.clock.monotonic()
    for _ in range(200):
        result = await world.step()
        if world.released is not None:
            break
        await world.clock.advance(result.requeue_after or 0.1)
    assert world.released == ["another/one"]
    assert 55 < world.clock.monotonic() - begun < 60
    ((reason, message),) = world.told
    assert reason == "LeftBehind"
    assert "was not connected for 50 s" in message


async def test_who_was_done_at_once_waits_for_its_namespace_as_long_as_the_others(world: World) -> None:
    world.record.metadata.annotations.clear()
    result = await world.step()
    await world.clock.advance(30)
    assert result.requeue_after
    assert (await world.step()).requeue_after
    assert world.released is None
    await world.clock.advance(21)
    await world.step()
    assert world.released == ["another/one"]
    assert world.told == []
