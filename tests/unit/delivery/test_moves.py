"""Namespaces that are put into projects and taken out."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from outrider.delivery.entries import Entry
from outrider.delivery.moves import Move, Mover, moves_of
from outrider.delivery.spaces import PROJECT, Space
from outrider.kit.tasks import cancel_and_wait
from outrider.kube.client import Client
from tests.unit.delivery.fake_cluster import FakeCluster

MARK: dict[str, Any] = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "members"}}
JOINING = Entry(owner="o", object=MARK, project="c:sys", joining=("kube-system", "absent", "web", "moved"))
LEAVING = Entry(owner="o", object=MARK, project="c:old", leaving=True)
SPACES = {
    "kube-system": Space("", "1"),
    "web": Space("c:web", "2"),
    "moved": Space("formerly:x", "6"),
    "db": Space("c:old", "3"),
    "made": Space("c:old", "4", said={"field.cattle.io/creatorId": "u-1"}),
    "default": Space("c:old", "5", said={"field.cattle.io/creatorId": "u-1"}),
}


def test_what_is_to_move() -> None:
    assert moves_of([JOINING, LEAVING], SPACES) == [
        Move("o", "db", "3", "c:old", ""),
        Move("o", "default", "5", "c:old", ""),
        Move("o", "kube-system", "1", "", "c:sys"),
        Move("o", "made", "4", "c:old", "", delete=True),
        Move("o", "moved", "6", "formerly:x", "c:sys"),
    ]


async def test_moves_are_made_of_what_is_still_so() -> None:
    cluster, news = FakeCluster(), asyncio.Event()
    key = f"annotations_{PROJECT}"
    for name, project in (("a", "c:old"), ("b", "c:old"), ("c", "c:other"), ("d", None)):
        cluster.edit("namespaces", "", name, **{key: project})
    uids = {name: cluster.objects[("namespaces", "", name)].uid for name in "abcd"}
    mover = Mover(Client(cluster), news.set, retry=0.01)
    task = asyncio.create_task(mover.run())
    moves = [
        Move("o", "a", uids["a"], "c:old", ""),
        Move("o", "b", uids["b"], "c:old", "", delete=True),
        Move("o", "c", uids["c"], "c:old", "", delete=True),
        Move("o", "d", uids["d"], "", "c:sys"),
        Move("o", "gone", "1", "c:old", ""),
    ]
    mover.want(moves)
    async with asyncio.timeout(5):
        while cluster.objects[("namespaces", "", "d")].fields.get(("annotations", PROJECT)) != "c:sys":
            await asyncio.sleep(0.001)
    assert ("namespaces", "", "b") not in cluster.objects
    assert cluster.objects[("namespaces", "", "a")].section("annotations") == {}
    assert cluster.objects[("namespaces", "", "c")].section("annotations") == {PROJECT: "c:other"}
    assert list(mover.outcome.values()) == [""] * 5
    assert news.is_set()
    await cancel_and_wait(task)


async def test_a_write_in_between_only_delays_a_move(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster()
    key = f"annotations_{PROJECT}"
    cluster.edit("namespaces", "", "a", **{key: "c:old"})
    client, reads = Client(cluster), 0
    plain = client.get

    async def get(*arguments: Any) -> Any:
        nonlocal reads
        reads += 1
        found = await plain(*arguments)
        if reads == 1:
            cluster.edit("namespaces", "", "a", labels_other="x")
        return found

    monkeypatch.setattr(client, "get", get)
    mover = Mover(client, lambda: None, retry=0.01)
    task = asyncio.create_task(mover.run())
    mover.want([Move("o", "a", cluster.objects[("namespaces", "", "a")].uid, "c:old", "")])
    async with asyncio.timeout(5):
        while cluster.objects[("namespaces", "", "a")].section("annotations"):
            await asyncio.sleep(0.001)
    assert reads == 2
    await cancel_and_wait(task)
