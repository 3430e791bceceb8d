"""Ten thousand ConfigMaps of about 1 KB on a real API server: listed, watched, read; time and memory.

Each case runs in a process of its own. ``rate`` is objects (reads for ``read``) a second; ``p50_ms`` and ``p99_ms``
are of one object: from the write's answer to the handler for ``latency``, from one event to the next for ``watch``.
``memory_mb`` is what the process grew by, ``bytes_per_object`` the same for each object.
"""

import asyncio
import gc
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from outrider.kit.tasks import cancel_and_wait
from outrider.kube.builtin import CONFIGMAPS
from outrider.kube.client import Client
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.kind import Kind
from outrider.kube.kubeconfig import load
from outrider.kube.meta import Object, ObjectKey
from outrider.kube.transport import HttpTransport
from outrider.runtime.informer import Informer
from tests.support.etcd import etcd_of
from tests.support.hosted import hosted

COUNT = 10_000
NAMESPACE = "default"


class TypedConfigMap(Object):
    """The same objects, decoded into a type of ours."""

    data: dict[str, str] = msgspec.field(default_factory=dict)


TYPED = Kind(
    group="", version="v1", plural="configmaps", kind="ConfigMap", namespaced=True, type=TypedConfigMap
)


def objects(generation: int) -> list[dict[str, Any]]:
    return [
        {
            "metadata": {
                "name": f"object-{number:05}",
                "namespace": NAMESPACE,
                "labels": {"app.kubernetes.io/name": "bench", "team": f"team-{number % 50}"},
                "annotations": {"example.com/owner": f"user-{number % 500}"},
            },
            "data": {
                "generation": str(generation),
                **{f"key-{n}": f"{number}-" + "x" * 70 for n in range(8)},
            },
        }
        for number in range(COUNT)
    ]


class Meter:
    """What a stretch of work cost this process."""

    def __init__(self) -> None:
        gc.collect()
        self._rss = rss()
        self._cpu = cpu()
        self._start = time.perf_counter()

    def report(self, case: str, operations: int, gaps: Sequence[float] = ()) -> None:
        seconds = time.perf_counter() - self._start
        used = cpu() - self._cpu
        gc.collect()
        grown = rss() - self._rss
        ordered = sorted(gaps) or [seconds / operations]
        print(
            json.dumps(
                {
                    "bench": "informer",
                    "case": case,
                    "objects": operations,
                    "seconds": round(seconds, 3),
                    "rate": round(operations / seconds),
                    "p50_ms": round(ordered[len(ordered) // 2] * 1e3, 4),
                    "p99_ms": round(ordered[int(len(ordered) * 0.99)] * 1e3, 4),
                    "cpu_us_per_op": round(used / operations * 1e6, 2),
                    "memory_mb": round(grown / 2**20, 1),
                    "bytes_per_object": round(grown / operations),
                    "peak_mb": round(peak() / 2**20, 1),
                }
            ),
            flush=True,
        )


def rss() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak() -> int:
    # Not ru_maxrss: that begins with the size of the parent.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


@asynccontextmanager
async def client_of(kubeconfig: str) -> AsyncIterator[Client]:
    transport = HttpTransport(load(kubeconfig))
    client = Client(transport)
    await client.get_json("/version")
    try:
        yield client
    finally:
        await transport.close()


@asynccontextmanager
async def following(informer: Informer[Any]) -> AsyncIterator[None]:
    task = asyncio.create_task(informer.run())
    await informer.wait_synced()
    try:
        yield
    finally:
        await cancel_and_wait(task)


async def bench_list(kubeconfig: str, kind: Kind[Any], case: str) -> None:
    """The first list, until the informer is synced."""
    async with client_of(kubeconfig) as client:
        informer = Informer(client, kind, namespace=NAMESPACE)
        meter = Meter()
        async with following(informer):
            meter.report(case, len(informer))


async def bench_relist(kubeconfig: str) -> None:
    """Another list, as after a 410, in which nothing has changed."""
    async with client_of(kubeconfig) as client:
        informer = Informer(client, TYPED, namespace=NAMESPACE)
        async with following(informer):
            meter = Meter()
            await informer._relist()
            meter.report("relist", len(informer))


async def bench_watch(kubeconfig: str, data_dir: str) -> None:
    """Every object changes at once; how fast the events are taken in."""
    async with client_of(kubeconfig) as client:
        informer = Informer(client, TYPED, namespace=NAMESPACE)
        async with following(informer):
            arrived: list[float] = []
            done = asyncio.Event()

            def note(event: Any) -> None:
                arrived.append(time.perf_counter())
                if len(arrived) == COUNT:
                    done.set()

            informer.subscribe(note)
            arrived.clear()
            done.clear()
            # The writer must not run in this process, or its work would count.
            writer = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.bench.informer", "change-all", data_dir
            )
            meter = Meter()
            await done.wait()
            meter.report("watch", COUNT, [b - a for a, b in itertools.pairwise(arrived)])
            await writer.wait()


async def bench_latency(kubeconfig: str) -> None:
    """One object after another changes: from the write's answer to the handler."""
    async with client_of(kubeconfig) as client:
        informer = Informer(client, TYPED, namespace=NAMESPACE)
        async with following(informer):
            queue: asyncio.Queue[float] = asyncio.Queue()
            informer.subscribe(lambda event: queue.put_nowait(time.perf_counter()))
            while not queue.empty():
                queue.get_nowait()
            delays: list[float] = []
            meter = Meter()
            for number in range(300):
                await client.patch(
                    CONFIGMAPS, f"object-{number:05}", {"data": {"generation": f"l{number}"}}, NAMESPACE
                )
                answered = time.perf_counter()
                delays.append(max(0.0, await queue.get() - answered))
            meter.report("latency", len(delays), delays)


async def bench_read(kubeconfig: str) -> None:
    """Reading by key and by index from memory."""
    async with client_of(kubeconfig) as client:
        informer = Informer(
            client, TYPED, namespace=NAMESPACE, indexes={"team": lambda obj: [obj.metadata.labels["team"]]}
        )
        async with following(informer):
            keys = [ObjectKey(NAMESPACE, f"object-{number:05}") for number in range(COUNT)]
            meter = Meter()
            for _ in range(10):
                for key in keys:
                    informer.get(key)
            meter.report("get", 10 * COUNT)
            meter = Meter()
            for number in range(1000):
                informer.index("team", f"team-{number % 50}")
            meter.report("index", 1000)


async def plant(data_dir: str) -> None:
    async with etcd_of(Path(data_dir)) as etcd:
        await etcd.plant(CONFIGMAPS, objects(1))


async def change_all(data_dir: str) -> None:
    async with etcd_of(Path(data_dir)) as etcd:
        await etcd.plant_each(CONFIGMAPS, objects(2))


CASES = {
    "list": lambda config, _: bench_list(config, CONFIGMAPS, "list"),
    "list-typed": lambda config, _: bench_list(config, TYPED, "list-typed"),
    "relist": lambda config, _: bench_relist(config),
    "watch": bench_watch,
    "latency": lambda config, _: bench_latency(config),
    "read": lambda config, _: bench_read(config),
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder) / "cluster"
        cluster = EmbeddedCluster(data_dir, durable=False, controllers=(), name="bench")
        with hosted(cluster):
            kubeconfig = cluster.kubeconfig(Path(folder) / "kubeconfig")
            asyncio.run(plant(str(data_dir)))
            for case in CASES:
                subprocess.run(
                    [sys.executable, "-m", "tests.bench.informer", case, str(kubeconfig), str(data_dir)],
                    check=True,
                )


if __name__ == "__main__":
    match sys.argv[1:]:
        case "change-all", data_dir:
            asyncio.run(change_all(data_dir))
        case case, kubeconfig, data_dir:
            asyncio.run(CASES[case](kubeconfig, data_dir))
        case _:
            main()
