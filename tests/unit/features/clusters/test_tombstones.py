"""What is remembered of deleted clusters, and when it speaks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from outrider.apis.management.cluster import CLUSTERS, Cluster
from outrider.features.clusters import tombstones as t
from outrider.features.clusters.collector import is_orphan
from outrider.features.clusters.lifecycle import UID_ANNOTATION
from outrider.kube.builtin import CONFIGMAPS, CRDS
from outrider.kube.errors import AlreadyExists
from outrider.kube.kind import Kind
from outrider.kube.meta import ObjectKey, ObjectMeta
from tests.support.clock import FakeClock

TOKEN = "bcdfghjklmnpqrstvwxz2456789"


def cluster(name: str = "c-1", uid: str = "record-1", kube_system: str = "ks-1") -> Cluster:
    annotations = {UID_ANNOTATION: kube_system} if kube_system else {}
    return Cluster(metadata=ObjectMeta(name=name, uid=uid, annotations=annotations))


class World:
    """A management cluster as far as tombstones look at it: client and local copies in one."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.records: dict[str, Cluster] = {}
        self.stones: dict[str, dict[str, Any]] = {}
        self.definition: dict[str, Any] | None = {"metadata": {}}
        self.hidden: set[str] = set()
        client: Any = self
        clusters: Any = _Records(self.records)
        copies: Any = _Stones(self.stones)
        self.tombstones = t.Tombstones(client, copies, clusters, self.clock, age=timedelta(days=1), limit=3)

    async def create(self, kind: Kind[Any], obj: dict[str, Any]) -> None:
        assert kind is CONFIGMAPS
        if obj["metadata"]["name"] in self.stones:
            raise AlreadyExists("there")
        self.stones[obj["metadata"]["name"]] = obj

    async def get_or_none(self, kind: Kind[Any], name: str, namespace: str = "") -> Any:
        if kind is CRDS:
            return self.definition
        if kind is CLUSTERS:
            return self.records.get(name)
        return None if name in self.hidden else self.stones.get(name)

    async def finds(self, token: str = TOKEN, kube_system: str = "ks-1") -> bool:
        return await self.tombstones.find(token, kube_system) is not None


class _Records:
    def __init__(self, records: dict[str, Cluster]) -> None:
        self._records = records

    def list(self, namespace: str = "") -> list[Cluster]:
        return list(self._records.values())

    def get(self, key: ObjectKey) -> Cluster | None:
        return self._records.get(key.name)


class _Stones:
    def __init__(self, stones: dict[str, dict[str, Any]]) -> None:
        self._stones = stones

    def list(self, namespace: str = "") -> list[dict[str, Any]]:
        return list(self._stones.values())

    def index(self, name: str, value: str) -> list[dict[str, Any]]:
        assert name == t.CREDENTIAL_INDEX
        return [one for one in self._stones.values() if value in t.credentials_in(one)]


@pytest.fixture
def world() -> World:
    return World()


async def test_only_the_cluster_with_its_own_token_is_known(world: World) -> None:
    await world.tombstones.bury(cluster(), [TOKEN])
    assert await world.finds()
    assert not await world.finds(TOKEN + "2")
    assert not await world.finds(kube_system="ks-2")
    assert not await world.finds(kube_system="")
    assert TOKEN not in str(world.stones)


async def test_burying_again_changes_nothing(world: World) -> None:
    await world.tombstones.bury(cluster(), [TOKEN])
    await world.tombstones.bury(cluster(), [TOKEN])
    assert len(world.stones) == 1


@pytest.mark.parametrize(("kube_system", "tokens"), [("", [TOKEN]), ("ks-1", [])])
async def test_who_cannot_be_told_apart_is_not_buried(
    world: World, kube_system: str, tokens: list[str]
) -> None:
    await world.tombstones.bury(cluster(kube_system=kube_system), tokens)
    assert not world.stones


async def test_a_living_record_speaks_against_it(world: World) -> None:
    """Restored from a backup, say, beside its own tombstone; or the same cluster imported once more."""
    await world.tombstones.bury(cluster(), [TOKEN])
    world.records["c-1"] = cluster()
    assert not await world.finds()
    world.records["c-1"].metadata.deletion_timestamp = world.clock.now()
    assert await world.finds()
    world.records["c-1"] = cluster(uid="another", kube_system="ks-9")
    assert await world.finds()
    world.records["c-2"] = cluster("c-2", "record-2")
    assert not await world.finds()


async def test_a_tombstone_that_was_taken_away_counts_no_more(world: World) -> None:
    await world.tombstones.bury(cluster(), [TOKEN])
    world.hidden |= set(world.stones)
    assert not await world.finds()


@pytest.mark.parametrize("definition", [None, {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}])
async def test_records_that_go_with_their_definition_order_nothing(
    world: World, definition: dict[str, Any] | None
) -> None:
    await world.tombstones.bury(cluster(), [TOKEN])
    world.definition = definition
    assert not await world.finds()
    assert not await world.tombstones.records_stand()


async def test_age_and_number_are_bounded(world: World) -> None:
    for number in range(5):
        await world.tombstones.bury(cluster(f"c-{number}", f"record-{number}"), [TOKEN])
        await world.clock.advance(3600)
    assert world.tombstones.outdated() == ["removed-c-0-record-0", "removed-c-1-record-1"]
    await world.clock.advance(22 * 3600)
    assert len(world.tombstones.outdated()) == 4


def test_what_belonged_to_a_record_that_is_gone() -> None:
    def owned(*owners: tuple[str, str, str]) -> dict[str, Any]:
        return {
            "ownerReferences": [
                {"apiVersion": version, "kind": "Cluster", "name": name, "uid": uid}
                for version, name, uid in owners
            ]
        }

    ours, foreign = "management.cattle.io/v3", "provisioning.cattle.io/v1"
    there = {"c-1": "u-1"}
    assert is_orphan(owned((ours, "c-2", "u-2")), there)
    assert is_orphan(owned((ours, "c-1", "u-0")), there)
    assert not is_orphan(owned((ours, "c-1", "u-1")), there)
    assert not is_orphan(owned((ours, "c-2", "u-2"), (ours, "c-1", "u-1")), there)
    assert not is_orphan(owned((foreign, "c-2", "u-2")), there)
    assert not is_orphan({}, there)
