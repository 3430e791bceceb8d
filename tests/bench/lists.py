"""`/v3/clusters` with 2,000 clusters on a real API server, as an administrator and as somebody who may see 20.

Times are of whole answers from the façade, without the gateway: `first_ms` of the first, `p50_ms` and `best_ms` of ten
more. `bytes` is the size of the answer. The façade shares this process with nothing but its local copies.
"""

import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from outrider.apis.install import install
from outrider.apis.management.cluster import CLUSTERS
from outrider.kube.builtin import plain
from outrider.kube.client import Client
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.transport import HttpTransport
from outrider.runtime.manager import Manager
from tests.integration.views.conftest import Person, Plane
from tests.support.etcd import etcd_of
from tests.support.hosted import hosted

COUNT, VISIBLE, ROUNDS = 2000, 20, 10


def clusters() -> list[dict[str, Any]]:
    """Clusters as they are some time after their import."""
    words = (
        "Pending",
        "Provisioned",
        "Waiting",
        "Connected",
        "Ready",
        "BackingNamespaceCreated",
        "AgentDeployed",
    )
    conditions = [
        {"type": word, "status": "True", "lastUpdateTime": "2026-01-01T00:00:00Z", "message": ""}
        for word in words
    ]
    return [
        {
            "metadata": {
                "name": f"c-b{number:04}",
                "labels": {"env": f"env-{number % 5}", "provider.cattle.io": "k3s"},
                "annotations": {"field.cattle.io/creatorId": "user-abcde"},
            },
            "spec": {"displayName": f"bench-{number:04}", "importedConfig": {}, "description": "x" * 80},
            "status": {
                "driver": "imported",
                "provider": "k3s",
                "connected": True,
                "conditions": conditions,
                "apiEndpoint": "https://10.43.0.1:443",
                "caCert": "y" * 1600,
                "version": {"major": "1", "minor": "34", "gitVersion": "v1.34.2+k3s1"},
                "capacity": {"cpu": "24", "memory": "98304000Ki", "pods": "330"},
                "allocatable": {"cpu": "24", "memory": "98304000Ki", "pods": "330"},
            },
        }
        for number in range(COUNT)
    ]


async def measure(case: str, who: Person, path: str) -> None:
    """One kind of request, several times."""
    send, times, size = who.send(), [], 0
    for _ in range(ROUNDS + 1):
        begun = time.perf_counter()
        reply = await send("GET", path, None)
        times.append((time.perf_counter() - begun) * 1e3)
        assert reply.status == 200, reply.body
        size = len(reply.body)
    first, later = times[0], sorted(times[1:])
    row = {
        "bench": "lists",
        "case": case,
        "first_ms": round(first, 1),
        "p50_ms": round(later[len(later) // 2], 1),
        "best_ms": round(later[0], 1),
        "bytes": size,
    }
    print(json.dumps(row), flush=True)


async def run(cluster: EmbeddedCluster, data_dir: Path) -> None:
    """All cases."""
    transport = HttpTransport(cluster.access)
    client = Client(transport)
    await install(client)
    async with etcd_of(data_dir) as etcd:
        await etcd.plant(plain(CLUSTERS), clusters())
    manager = Manager()
    plane = Plane(client, manager, {"CATTLE_BOOTSTRAP_PASSWORD": "bootstrap-secret-1"})
    # the local copies alone: no controller writes while this measures
    informers = list(manager._informers.values())
    copies = [asyncio.create_task(one.run()) for one in informers]
    try:
        await asyncio.gather(*(one.wait_synced() for one in informers))
        root, jane = await plane.administrator(), await plane.person()
        await jane.may("get", resource="clusters", names=[f"c-b{number:04}" for number in range(VISIBLE)])
        await measure("all, administrator", root, "/v3/clusters?limit=-1")
        await measure("page of 100, administrator", root, "/v3/clusters?limit=100")
        await measure("20 of 2000", jane, "/v3/clusters?limit=-1")
        await measure("one", root, "/v3/clusters/c-b0001")
        await measure("schemas", root, "/v3/schemas")
    finally:
        for copy in copies:
            copy.cancel()
        await asyncio.gather(*copies, return_exceptions=True)
        plane.auth.close()
        await plane.reach.close()
        await transport.close()


def main() -> None:
    """Starts a throw-away API server and measures."""
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder) / "cluster"
        cluster = EmbeddedCluster(data_dir, durable=False, controllers=(), name="bench")
        with hosted(cluster):
            asyncio.run(run(cluster, data_dir))


if __name__ == "__main__":
    main()
