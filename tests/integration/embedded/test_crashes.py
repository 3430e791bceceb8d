"""Whatever is killed comes back, and nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from outrider.kube import kubeconfig
from outrider.kube.builtin import CONFIGMAPS, NAMESPACES, SERVICEACCOUNTS
from outrider.kube.client import Client
from outrider.kube.embedded import leftovers
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.errors import AlreadyExists, KubeError, NotFound
from tests.integration.embedded.conftest import Connect, MakeCluster
from tests.support.proc import until


def config_map(name: str) -> dict:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}}


async def write(client: Client, name: str) -> bool:
    """Whether the write was acknowledged, now or by an attempt whose answer was lost."""
    try:
        await client.create(CONFIGMAPS, config_map(name))
    except AlreadyExists:
        return True
    except KubeError:
        return False
    return True


async def kill(cluster: EmbeddedCluster, role: str) -> None:
    """kill -9, and wait until another process has the role."""
    # one that lost its server may just be on its way back
    await until(lambda: role in cluster.pids)
    before = cluster.pids[role]
    os.kill(before, signal.SIGKILL)
    await until(lambda: cluster.pids.get(role, before) != before)


async def has_service_account(client: Client, namespace: str) -> bool:
    try:
        await client.get(SERVICEACCOUNTS, "default", namespace)
    except NotFound:
        return False
    return True


async def test_each_child_comes_back_after_kill_9(make_cluster: MakeCluster, connect: Connect) -> None:
    async with make_cluster().running() as cluster, connect(cluster.access) as client:
        assert set(cluster.pids) == {"etcd", "apiserver", "controller-manager"}
        for role in ("etcd", "apiserver"):
            await kill(cluster, role)
            await until(lambda role=role: write(client, f"after-{role}"))
        await kill(cluster, "controller-manager")
        await client.create(
            NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "new"}}
        )
        await until(lambda: has_service_account(client, "new"))
        assert len((await client.list(CONFIGMAPS, "default")).items) == 2


async def test_no_acknowledged_write_is_lost_when_etcd_is_killed(
    make_cluster: MakeCluster, connect: Connect
) -> None:
    acknowledged: list[str] = []

    async def writer(client: Client, number: int) -> None:
        for count in range(10_000):
            name = f"w{number}-{count}"
            if await write(client, name):
                acknowledged.append(name)

    async with make_cluster(durable=True).running() as cluster, connect(cluster.access) as client:
        writers = [asyncio.create_task(writer(client, number)) for number in range(4)]
        for _ in range(3):
            enough = len(acknowledged) + 50
            await until(lambda enough=enough: len(acknowledged) >= enough, 60)
            await kill(cluster, "etcd")
        enough = len(acknowledged) + 50
        await until(lambda: len(acknowledged) >= enough, 60)
        for task in writers:
            task.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
        present = {item["metadata"]["name"] for item in (await client.list(CONFIGMAPS, "default")).items}
    assert len(acknowledged) >= 200
    assert not set(acknowledged) - present


SUPERVISOR = """
    import asyncio, json, sys
    from pathlib import Path
    from outrider.kube.embedded.cluster import EmbeddedCluster

    async def main():
        cluster = EmbeddedCluster(Path(sys.argv[1]), durable=True, binary=Path(sys.argv[2]))
        await cluster.start()
        cluster.kubeconfig(Path(sys.argv[3]))
        print(json.dumps(cluster.pids), flush=True)
        await asyncio.sleep(120)

    asyncio.run(main())
"""


async def test_a_killed_supervisor_leaves_no_process_and_loses_no_state(
    make_cluster: MakeCluster, connect: Connect, kube_binary: Path, tmp_path: Path
) -> None:
    code = textwrap.dedent(SUPERVISOR)
    arguments = [str(tmp_path / "data"), str(kube_binary), str(tmp_path / "kubeconfig")]
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True
    ) as parent:
        line = await asyncio.to_thread(parent.stdout.readline)
        pids = json.loads(line).values()
        access = kubeconfig.load(tmp_path / "kubeconfig")
        async with connect(access) as client:
            assert await write(client, "kept")
        parent.kill()
    await until(lambda: not any(leftovers.start_time(pid) for pid in pids), 5)
    async with make_cluster(durable=True).running() as cluster:
        assert cluster.server == access.server
        async with connect(access) as client:
            await client.get(CONFIGMAPS, "kept", "default")
