import asyncio

import pytest

from outrider.kit.tasks import cancel_and_wait
from outrider.kube.builtin import CONFIGMAPS, LEASES
from outrider.kube.client import Client
from outrider.kube.errors import TransportError
from outrider.kube.meta import ObjectKey
from outrider.runtime.controller import DONE, Controller, Result, Source
from outrider.runtime.informer import Informer
from outrider.runtime.leader import LeaderElector
from outrider.runtime.manager import Manager
from tests.support.clock import FakeClock, settle
from tests.support.fake_api import FakeApi


class Recorder:
    def __init__(self) -> None:
        self.keys: list[ObjectKey] = []

    async def reconcile(self, key: ObjectKey) -> Result:
        self.keys.append(key)
        return DONE


async def forever() -> None:
    await asyncio.Event().wait()


async def test_controllers_start_when_informers_are_synced() -> None:
    api, clock = FakeApi(CONFIGMAPS), FakeClock()
    api.put(CONFIGMAPS, "a", "n")
    api.interfere = lambda request: TransportError("starting")
    informer = Informer(Client(api), CONFIGMAPS, clock=clock)
    recorder = Recorder()
    tasks: list[str] = []

    async def note() -> None:
        tasks.append("ran")

    manager = Manager(clock=clock)
    assert manager.add_informer(informer) is informer
    manager.add_controller(Controller("test", recorder, sources=[Source(informer)]))
    manager.add_task("note", note)
    task = asyncio.create_task(manager.run())
    await settle()
    assert not manager.synced
    assert tasks == []
    api.interfere = None
    await clock.advance(60)
    await manager.wait_synced()
    await settle(100)
    assert recorder.keys == [ObjectKey("n", "a")]
    assert tasks == ["ran"]
    await cancel_and_wait(task)
    assert api.watches == []


async def test_only_the_leader_runs_controllers_and_losing_the_lead_stops_them() -> None:
    api, clock = FakeApi(CONFIGMAPS, LEASES), FakeClock()
    api.put(LEASES, "lease", "ns", spec={"holderIdentity": "other", "leaseDurationSeconds": 15})
    informer = Informer(Client(api), CONFIGMAPS, clock=clock)
    recorder = Recorder()
    state: list[str] = []

    async def everywhere() -> None:
        state.append("everywhere")
        await forever()

    async def leading() -> None:
        state.append("leading")
        try:
            await forever()
        finally:
            state.append("led")

    elector = LeaderElector(Client(api), "lease", "ns", "me", clock=clock)
    manager = Manager(elector=elector, clock=clock)
    manager.add_controller(Controller("test", recorder, sources=[Source(informer)]))
    manager.add_task("everywhere", everywhere)
    manager.add_task("leading", leading, leader_only=True)
    task = asyncio.create_task(manager.run())
    await settle(100)
    assert state == ["everywhere"]
    api.put(CONFIGMAPS, "a", "n")
    await settle()
    assert recorder.keys == []
    await clock.advance(25)
    assert state == ["everywhere", "leading"]
    assert recorder.keys == [ObjectKey("n", "a")]
    api.put(LEASES, "lease", "ns", spec={"holderIdentity": "other", "leaseDurationSeconds": 15})
    await clock.advance(3)
    assert state == ["everywhere", "leading", "led"]
    api.put(CONFIGMAPS, "b", "n")
    await settle()
    assert len(recorder.keys) == 1
    await cancel_and_wait(task)


async def test_a_task_that_fails_is_started_again(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    starts: list[float] = []

    async def flaky() -> None:
        starts.append(clock.monotonic())
        if len(starts) < 3:
            raise LookupError("not yet")

    manager = Manager(clock=clock)
    manager.add_task("flaky", flaky)
    task = asyncio.create_task(manager.run())
    await clock.advance(30)
    await task
    assert len(starts) == 3
    assert "task flaky failed" in caplog.text
