"""kill -9 of the applier's process at any moment: nothing is lost, nothing is orphaned."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

from outrider.delivery.entries import LABEL
from outrider.kube.builtin import CONFIGMAPS
from outrider.kube.client import Client
from outrider.kube.embedded.cluster import EmbeddedCluster
from tests.integration.delivery.conftest import until
from tests.integration.delivery.mortal import entries


async def test_killed_again_and_again(
    downstream: Client, admin: Client, namespace: str, api_server: EmbeddedCluster, tmp_path: Path
) -> None:
    kubeconfig = str(api_server.kubeconfig(tmp_path / "admin.yaml"))
    rand = random.Random(11)

    async def begin(counter: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.integration.delivery.mortal", kubeconfig, namespace, str(counter)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )

    async def names() -> dict[str, str]:
        found = (await admin.list(CONFIGMAPS, namespace, labels=f"{LABEL}=true")).items
        return {one["metadata"]["name"]: one["data"]["k"] for one in found}

    for counter in range(1, 6):
        process = await begin(counter)
        before = await names()

        async def moved(before: dict[str, str] = before) -> bool:
            return await names() != before

        # it gets as far as its first objects, and then a little further, or not
        await until(moved, 60)
        await asyncio.sleep(rand.random() * 0.3)
        process.kill()
        await process.wait()

    final = await begin(6)
    assert final.stdout is not None
    async with asyncio.timeout(60):
        assert await final.stdout.readline() == b"applied 120\n"
    wanted = {entry.object["metadata"]["name"]: entry.object["data"]["k"] for entry in entries(namespace, 6)}

    async def exact() -> bool:
        return await names() == wanted

    await until(exact, 60)
    final.kill()
    await final.wait()
