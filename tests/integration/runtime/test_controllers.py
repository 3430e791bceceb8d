"""A controller from end to end: informer, queue, reconciler, manager, events."""

import asyncio
from typing import Any

from outrider.kit.tasks import cancel_and_wait
from outrider.kube.builtin import CONFIGMAPS, EVENTS, SECRETS
from outrider.kube.client import Client
from outrider.kube.errors import NotFound
from outrider.kube.meta import ObjectKey
from outrider.runtime.controller import DONE, Controller, Result, Source
from outrider.runtime.events import Events, reference
from outrider.runtime.informer import Informer
from outrider.runtime.leader import LeaderElector
from outrider.runtime.manager import Manager
from outrider.runtime.store import Lister


class Mirror:
    """Keeps a Secret with the content of every ConfigMap."""

    def __init__(self, client: Client, configmaps: Lister[dict[str, Any]]) -> None:
        self._client = client
        self._configmaps = configmaps

    async def reconcile(self, key: ObjectKey) -> Result:
        source = self._configmaps.get(key)
        if source is None:
            await self._client.delete_if_exists(SECRETS, key.name, key.namespace)
            return DONE
        meta = {"name": key.name, "namespace": key.namespace}
        await self._client.apply(SECRETS, {"metadata": meta, "stringData": source.get("data", {})})
        return DONE


async def test_a_controller_brings_the_world_to_its_desired_state(admin: Client, namespace: str) -> None:
    configmaps = Informer(admin, CONFIGMAPS, namespace=namespace)
    secrets = Informer(admin, SECRETS, namespace=namespace)
    elector = LeaderElector(admin, "mirror", namespace, "me")
    manager = Manager(elector=elector)
    manager.add_controller(
        Controller(
            "mirror", Mirror(admin, configmaps), workers=4, sources=[Source(configmaps), Source(secrets)]
        )
    )
    meta = {"name": "early", "namespace": namespace}
    await admin.create(CONFIGMAPS, {"metadata": meta, "data": {"k": "1"}})
    task = asyncio.create_task(manager.run())
    try:
        assert await settled(admin, namespace, "early") == {"k": "MQ=="}
        await admin.patch(CONFIGMAPS, "early", {"data": {"k": "2"}}, namespace)
        async with asyncio.timeout(20):
            while await settled(admin, namespace, "early") != {"k": "Mg=="}:
                await asyncio.sleep(0.02)
        # What somebody else breaks is healed.
        await admin.delete(SECRETS, "early", namespace)
        assert await settled(admin, namespace, "early") == {"k": "Mg=="}
        await admin.delete(CONFIGMAPS, "early", namespace)
        async with asyncio.timeout(20):
            while await admin.get_or_none(SECRETS, "early", namespace):
                await asyncio.sleep(0.02)
    finally:
        await cancel_and_wait(task)


async def settled(admin: Client, namespace: str, name: str) -> dict[str, str]:
    async with asyncio.timeout(20):
        while True:
            try:
                data: dict[str, str] = (await admin.get(SECRETS, name, namespace))["data"]
            except NotFound:
                await asyncio.sleep(0.02)
            else:
                return data


async def test_events_are_counted(admin: Client, namespace: str) -> None:
    obj = await admin.create(CONFIGMAPS, {"metadata": {"name": "a", "namespace": namespace}})
    events = Events(admin, "outrider-test")
    about = reference(CONFIGMAPS, obj)
    for _ in range(3):
        await events.event(about, "Warning", "Broken", "it broke")
    await events.event(about, "Normal", "Mended", "it works")
    found = (await admin.list(EVENTS, namespace, fields="involvedObject.name=a")).items
    assert sorted((e["reason"], e["type"], e["count"]) for e in found) == [
        ("Broken", "Warning", 3),
        ("Mended", "Normal", 1),
    ]
    [event] = (await admin.list(EVENTS, namespace, fields="reason=Broken")).items
    assert event["involvedObject"]["uid"] == CONFIGMAPS.uid(obj)
    await admin.delete(EVENTS, event["metadata"]["name"], namespace)
    await events.event(about, "Warning", "Broken", "it broke")
    [event] = (await admin.list(EVENTS, namespace, fields="reason=Broken")).items
    assert event["count"] == 1
