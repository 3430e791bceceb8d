"""An etcd that is restored from a backup under running informers and a leader."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

from outrider.kit.backoff import Backoff
from outrider.kit.tasks import cancel_and_wait
from outrider.kube.builtin import CONFIGMAPS
from outrider.kube.client import Client
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.meta import ObjectKey
from outrider.kube.transport import HttpTransport
from outrider.runtime.informer import Informer
from outrider.runtime.leader import Durations, LeaderElector
from tests.support.hosted import hosted

NAMESPACE = "default"


def configmap(name: str, x: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": NAMESPACE}, "data": {"x": x}}


def key(name: str) -> ObjectKey:
    return ObjectKey(NAMESPACE, name)


async def test_a_restored_server_is_followed_from_its_own_time(kube_binary: Path, tmp_path: Path) -> None:
    folder, backup = tmp_path / "cluster", tmp_path / "backup"

    def cluster() -> EmbeddedCluster:
        return EmbeddedCluster(folder, durable=False, controllers=(), name="restored", binary=kube_binary)

    with hosted(cluster()) as first:
        transport = HttpTransport(first.access)
        client = Client(transport)
        await client.apply(CONFIGMAPS, configmap("kept", "1"))
        await client.apply(CONFIGMAPS, configmap("changed", "old"))
    shutil.copytree(folder / "etcd", backup)

    informer = Informer(client, CONFIGMAPS, namespace=NAMESPACE, backoff=Backoff(0.1, 0.5))
    elector = LeaderElector(client, "lease", NAMESPACE, "me", durations=Durations(3, 2, 0.3))
    epochs: list[int] = []

    async def lead() -> None:
        epochs.append(elector.epoch)
        await asyncio.Event().wait()

    tasks = [asyncio.create_task(informer.run()), asyncio.create_task(elector.run(lead))]
    with hosted(cluster()) as second:
        assert second.access.server == first.access.server
        await asyncio.wait_for(informer.wait_synced(), 20)
        await client.apply(CONFIGMAPS, configmap("changed", "new"))
        for number in range(50):
            await client.apply(CONFIGMAPS, configmap(f"lost-{number}", "1"))
        async with asyncio.timeout(20):
            while informer.get(key("lost-49")) is None or not epochs:
                await asyncio.sleep(0.02)
        kept = informer.get(key("kept"))
    shutil.rmtree(folder / "etcd")
    shutil.copytree(backup, folder / "etcd")
    with hosted(cluster()):
        async with asyncio.timeout(30):
            while informer.get(key("lost-49")) is not None:
                await asyncio.sleep(0.02)
        held = {obj["metadata"]["name"]: obj["data"]["x"] for obj in informer.list() if "x" in obj["data"]}
        assert held == {"kept": "1", "changed": "old"}
        assert informer.get(key("kept")) is kept
        await client.apply(CONFIGMAPS, configmap("next", "1"))
        async with asyncio.timeout(20):
            while informer.get(key("next")) is None or len(epochs) < 2:
                await asyncio.sleep(0.02)
        # The lease itself is gone with the rest, the order of terms is not.
        assert epochs == sorted(set(epochs))
        await cancel_and_wait(*tasks)
    await transport.close()
