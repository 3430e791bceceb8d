"""An informer through what a real control plane does to it: restarts, compaction, ten thousand objects."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from outrider.kit.backoff import Backoff
from outrider.kit.tasks import cancel_and_wait
from outrider.kube.builtin import CONFIGMAPS
from outrider.kube.client import Client
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.errors import Gone, KubeError
from outrider.kube.meta import ObjectKey
from outrider.kube.transport import Request
from outrider.runtime.informer import Event, Informer
from outrider.runtime.leader import LeaderElector
from tests.support.etcd import etcd_of

NAMESPACE = "default"


def configmap(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": NAMESPACE, "labels": {"test": "recovery"}}, "data": data}


def key(name: str) -> ObjectKey:
    return ObjectKey(NAMESPACE, name)


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def following(client: Client, label: str) -> AsyncIterator[tuple[Informer[Any], list[Event[Any]]]]:
    informer = Informer(client, CONFIGMAPS, labels=label, backoff=Backoff(0.1, 1))
    events: list[Event[Any]] = []
    informer.subscribe(events.append)
    task = asyncio.create_task(informer.run())
    try:
        await asyncio.wait_for(informer.wait_synced(), 30)
        yield informer, events
    finally:
        await cancel_and_wait(task)


async def restart(cluster: EmbeddedCluster, client: Client) -> None:
    """Kill the API server and wait until its successor answers."""
    old = cluster.pids["apiserver"]
    os.kill(old, signal.SIGKILL)
    async with asyncio.timeout(60):
        while True:
            await asyncio.sleep(0.1)
            if cluster.pids.get("apiserver") in (old, None):
                continue
            try:
                if (await client.raw(Request(method="GET", path="/readyz"))).status == 200:
                    return
            except KubeError:
                continue


async def test_an_expired_version_is_recovered_from(
    fragile: Client, fragile_api_server: EmbeddedCluster, fragile_folder: Path
) -> None:
    """What happened while nobody watched, and was compacted away, is still noticed, and nothing else is."""
    for name in ("kept", "changed", "gone", "remade"):
        await fragile.create(CONFIGMAPS, configmap(name))
    async with following(fragile, "test=recovery") as (informer, events):
        kept = informer.get(key("kept"))
        # A second follower stands for the one that was away: same state, then cut off.
        away = Informer(fragile, CONFIGMAPS, labels="test=recovery", backoff=Backoff(0.1, 1))
        task = asyncio.create_task(away.run())
        await away.wait_synced()
        await cancel_and_wait(task)
        kept_away = away.get(key("kept"))
        old_version = away.resource_version

        await fragile.patch(CONFIGMAPS, "changed", {"data": {"x": "1"}}, NAMESPACE)
        await fragile.delete(CONFIGMAPS, "gone", NAMESPACE)
        await fragile.delete(CONFIGMAPS, "remade", NAMESPACE)
        await fragile.create(CONFIGMAPS, configmap("remade"))
        await fragile.create(CONFIGMAPS, configmap("new"))
        async with etcd_of(fragile_folder) as etcd:
            await etcd.compact()
        await restart(fragile_api_server, fragile)

        with pytest.raises(Gone):
            await anext(fragile.watch(CONFIGMAPS, NAMESPACE, resource_version=old_version, timeout=5))

        missed: list[tuple[str, str]] = []
        away.subscribe(lambda event: missed.append((event.type, CONFIGMAPS.key(event.new or event.old).name)))
        missed.clear()
        task = asyncio.create_task(away.run())
        await until(lambda: away.get(key("new")) is not None and away.get(key("gone")) is None)
        assert sorted(missed) == [
            ("ADDED", "new"),
            ("ADDED", "remade"),
            ("DELETED", "gone"),
            ("DELETED", "remade"),
            ("MODIFIED", "changed"),
        ]
        assert away.get(key("kept")) is kept_away
        # It follows again.
        await fragile.patch(CONFIGMAPS, "kept", {"data": {"x": "2"}}, NAMESPACE)
        await until(lambda: ("MODIFIED", "kept") in missed)
        await cancel_and_wait(task)

        # The one that watched through the restart missed nothing either, and saw nothing twice.
        await until(lambda: (informer.get(key("kept")) or {}).get("data") == {"x": "2"})
        assert informer.get(key("kept")) is not kept
        names = [(e.type, CONFIGMAPS.key(e.new or e.old).name) for e in events[4:]]
        assert sorted(names) == sorted([*missed])


async def test_a_killed_api_server_is_picked_up_again(
    fragile: Client, fragile_api_server: EmbeddedCluster
) -> None:
    await fragile.apply(CONFIGMAPS, configmap("before"))
    elector = LeaderElector(fragile, "lease", NAMESPACE, "me")
    terms: list[int] = []

    async def lead() -> None:
        terms.append(elector.epoch)
        await asyncio.Event().wait()

    leading = asyncio.create_task(elector.run(lead))
    async with following(fragile, "test=recovery") as (informer, _):
        before = informer.get(key("before"))
        for round_ in range(2):
            await restart(fragile_api_server, fragile)
            await fragile.apply(CONFIGMAPS, configmap(f"after-{round_}"))
            await until(lambda name=f"after-{round_}": informer.get(key(name)) is not None)  # type: ignore[misc]
        assert informer.get(key("before")) is before
    # Nor does a leader lose its lease for that.
    assert len(terms) == 1
    assert elector.is_leader
    await cancel_and_wait(leading)


def many(count: int) -> list[dict[str, Any]]:
    return [
        {
            "metadata": {"name": f"many-{number:05}", "namespace": NAMESPACE, "labels": {"bulk": "many"}},
            "data": {"n": str(number), "fill": "x" * 200},
        }
        for number in range(count)
    ]


async def test_ten_thousand_objects(fragile: Client, fragile_folder: Path) -> None:
    count = 10_000
    async with etcd_of(fragile_folder) as etcd:
        await etcd.plant(CONFIGMAPS, many(count))
    pages = [len(page.items) async for page in fragile.pages(CONFIGMAPS, NAMESPACE, labels="bulk=many")]
    assert sum(pages) == count
    assert max(pages) == 500
    async with following(fragile, "bulk=many") as (informer, events):
        assert len(informer) == len(events) == count
        shared = informer.get(key("many-00007"))
        assert shared is not None
        assert "managedFields" not in shared["metadata"]
        changed = [f"many-{number:05}" for number in range(0, count, 100)]
        await asyncio.gather(
            *(fragile.patch(CONFIGMAPS, name, {"data": {"n": "changed"}}, NAMESPACE) for name in changed)
        )
        await until(lambda: len(events) == count + len(changed))
        assert {event.type for event in events[count:]} == {"MODIFIED"}
        assert informer.get(key("many-00007")) is shared
        listed = (await fragile.list(CONFIGMAPS, NAMESPACE, labels="bulk=many")).items
        for item in listed:
            item["metadata"].pop("managedFields", None)
        held = sorted(informer.list(), key=lambda obj: obj["metadata"]["name"])
        # Compared one by one: the difference of two lists of this size is unreadable.
        assert [obj["metadata"]["name"] for obj, item in zip(held, listed, strict=True) if obj != item] == []
