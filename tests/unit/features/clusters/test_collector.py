"""What is removed because no cluster owns it, and what is not."""

from __future__ import annotations

from typing import Any

import pytest

from outrider.apis.management.cluster import CLUSTERS, Cluster
from outrider.apis.management.token import TOKENS, Token
from outrider.features.clusters.collector import Collector
from outrider.kube.builtin import NAMESPACES
from outrider.kube.errors import Conflict, TransportError
from outrider.kube.kind import Kind
from outrider.kube.meta import List, ObjectKey, ObjectMeta, Rejected


def cluster(name: str) -> Cluster:
    return Cluster(metadata=ObjectMeta(name=name, uid=f"u-{name}"))


def space(name: str, *, uid: str = "") -> dict[str, Any]:
    owner = {
        "apiVersion": "management.cattle.io/v3",
        "kind": "Cluster",
        "name": name,
        "uid": uid or f"u-{name}",
    }
    return {"metadata": {"name": name, "uid": f"ns-{name}", "ownerReferences": [owner]}}


class World:
    """A client that has lists and remembers deletions."""

    def __init__(self) -> None:
        self.lists: dict[str, list[Any]] = {
            "clusters": [cluster("local"), cluster("c-1")],
            "namespaces": [
                space("c-1"),
                space("c-2"),
                {"metadata": {"name": "default", "uid": "ns-default"}},
            ],
            "tokens": [
                Token(metadata=ObjectMeta(name=f"token-{name}", uid=f"t-{name}"), cluster_name=name)
                for name in ("", "local", "c-1", "c-2")
            ],
        }
        self.rejected: list[Rejected] = []
        self.deleted: list[str] = []
        self.conflict = False
        world: Any = self
        self.collector = Collector(world, registrations=_None(), tombstones=_None())  # type: ignore[arg-type]

    async def list(self, kind: Kind[Any]) -> List[Any]:
        items = self.lists[kind.plural]
        if isinstance(items, Exception):
            raise items
        rejected = self.rejected if kind is CLUSTERS else []
        return List(items=items, resource_version="1", rejected=rejected)

    async def delete_if_exists(self, kind: Kind[Any], name: str, namespace: str = "", *, uid: str) -> bool:
        if self.conflict:
            raise Conflict("another one")
        assert uid
        self.deleted.append(f"{kind.plural}/{name}")
        return True

    async def rounds(self, count: int) -> list[str]:
        for _ in range(count):
            await self.collector.collect()
        return self.deleted


class _None:
    def list(self, namespace: str = "") -> list[Any]:
        return []

    def outdated(self) -> list[str]:
        return []


@pytest.fixture
def world() -> World:
    return World()


async def test_two_rounds_must_agree(world: World) -> None:
    assert await world.rounds(1) == []
    assert await world.rounds(1) == ["namespaces/c-2", "tokens/token-c-2"]


async def test_a_cluster_that_came_meanwhile_keeps_what_is_its_own(world: World) -> None:
    await world.rounds(1)
    world.lists["clusters"].append(cluster("c-2"))
    assert await world.rounds(2) == []


async def test_what_belonged_to_an_earlier_cluster_of_that_name_goes(world: World) -> None:
    world.lists["namespaces"] = [space("c-1", uid="u-before")]
    world.lists["tokens"] = []
    assert await world.rounds(2) == ["namespaces/c-1"]


async def test_of_a_list_without_the_local_cluster_nothing_follows(world: World) -> None:
    world.lists["clusters"] = []
    assert await world.rounds(3) == []


async def test_of_a_list_with_a_record_that_cannot_be_read_nothing_follows(world: World) -> None:
    world.rejected = [Rejected(key=ObjectKey("", "c-2"), reason="x")]
    assert await world.rounds(3) == []


@pytest.mark.parametrize("kind", [CLUSTERS, NAMESPACES, TOKENS])
async def test_without_an_answer_nothing_follows(world: World, kind: Kind[Any]) -> None:
    await world.rounds(1)
    world.lists[kind.plural] = TransportError("no answer")  # type: ignore[assignment]
    with pytest.raises(TransportError):
        await world.rounds(1)
    assert world.deleted == []


async def test_another_one_of_that_name_stays(world: World) -> None:
    world.conflict = True
    assert await world.rounds(2) == []
