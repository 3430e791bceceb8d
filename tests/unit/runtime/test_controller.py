import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from outrider.kit.tasks import cancel_and_wait
from outrider.kube.builtin import CONFIGMAPS
from outrider.kube.client import Client
from outrider.kube.errors import Conflict, Unavailable
from outrider.kube.meta import ObjectKey
from outrider.runtime.controller import DONE, Controller, Result, Source, TerminalError, requeue
from outrider.runtime.informer import Informer
from outrider.runtime.queue import WorkQueue
from tests.support.clock import FakeClock, settle
from tests.support.fake_api import FakeApi


class Recorder:
    """A reconciler that notes each call and does what the test says."""

    def __init__(self, clock: FakeClock, act: Callable[[Any], Result] | None = None) -> None:
        self._clock = clock
        self._act = act or (lambda key: DONE)
        self.calls: list[tuple[float, Any]] = []

    async def reconcile(self, key: Any) -> Result:
        self.calls.append((round(self._clock.monotonic() - 1000, 3), key))
        await asyncio.sleep(0)
        return self._act(key)

    @property
    def keys(self) -> list[Any]:
        return [key for _, key in self.calls]


@asynccontextmanager
async def running(controller: Controller[Any], *informers: Informer[Any]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(i.run()) for i in informers]
    tasks.append(asyncio.create_task(controller.run()))
    await settle(100)
    try:
        yield
    finally:
        await cancel_and_wait(*tasks)


def new_queue(clock: FakeClock) -> Callable[[], WorkQueue[Any]]:
    return lambda: WorkQueue(initial=1, maximum=60, jitter=0, clock=clock)


async def test_every_object_is_reconciled_at_first_and_on_change() -> None:
    api, clock = FakeApi(CONFIGMAPS), FakeClock()
    api.put(CONFIGMAPS, "a", "n")
    api.put(CONFIGMAPS, "b", "n")
    informer = Informer(Client(api), CONFIGMAPS)
    recorder = Recorder(clock)
    controller = Controller("test", recorder, sources=[Source(informer)])
    async with running(controller, informer):
        assert recorder.keys == [ObjectKey("n", "a"), ObjectKey("n", "b")]
        api.drop(CONFIGMAPS, "a", "n")
        await settle()
        assert recorder.keys[2:] == [ObjectKey("n", "a")]
        assert controller.idle
    assert not controller.idle


async def test_both_states_of_a_change_are_asked_for_their_keys() -> None:
    api, clock = FakeApi(CONFIGMAPS), FakeClock()
    api.put(CONFIGMAPS, "a", "n", data={"owner": "red"})
    informer = Informer(Client(api), CONFIGMAPS)
    recorder = Recorder(clock)
    source = Source(informer, lambda obj: [obj["data"]["owner"]])
    async with running(Controller("test", recorder, sources=[source]), informer):
        api.put(CONFIGMAPS, "a", "n", data={"owner": "blue"})
        await settle()
        assert sorted(recorder.keys) == ["blue", "red", "red"]


async def test_failures_are_retried_with_growing_waits_and_success_resets_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock()
    outcomes = iter(
        [Unavailable("down"), Conflict("changed"), ZeroDivisionError("bug"), None, LookupError("x")]
    )

    def act(key: Any) -> Result:
        failure = next(outcomes, None)
        if failure is not None:
            raise failure
        return DONE

    recorder = Recorder(clock, act)
    controller = Controller("test", recorder, new_queue=new_queue(clock), clock=clock)
    async with running(controller):
        controller.enqueue("k")
        await clock.advance(60)
        assert [moment for moment, _ in recorder.calls] == [0, 1, 3, 7]
        assert controller.idle
        controller.enqueue("k")
        await clock.advance(60)
        assert [moment for moment, _ in recorder.calls[4:]] == [60, 61]
    assert "test: k: down; again in 1.00 s" in caplog.text
    assert "ZeroDivisionError" in caplog.text


async def test_a_terminal_error_is_not_retried(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()

    def act(key: Any) -> Result:
        raise TerminalError("spec.size must not be negative")

    recorder = Recorder(clock, act)
    controller = Controller("test", recorder, new_queue=new_queue(clock), clock=clock)
    async with running(controller):
        controller.enqueue("k")
        await clock.advance(3600)
        assert len(recorder.calls) == 1
    assert "spec.size must not be negative" in caplog.text


async def test_a_reconciler_can_ask_to_be_called_again() -> None:
    clock = FakeClock()
    recorder = Recorder(clock, lambda key: requeue(30))
    controller = Controller("test", recorder, new_queue=new_queue(clock), clock=clock)
    async with running(controller):
        controller.enqueue("k")
        await clock.advance(95)
        assert [moment for moment, _ in recorder.calls] == [0, 30, 60, 90]


async def test_one_key_is_never_in_two_hands_and_workers_are_bounded() -> None:
    busy: list[str] = []
    peak = 0

    class Slow:
        async def reconcile(self, key: str) -> Result:
            nonlocal peak
            assert key not in busy
            busy.append(key)
            peak = max(peak, len(busy))
            await asyncio.sleep(0.001)
            busy.remove(key)
            return DONE

    controller = Controller("test", Slow(), workers=3)
    async with running(controller):
        for number in range(60):
            controller.enqueue(str(number % 20))
            await asyncio.sleep(0)
        while not controller.idle:
            await asyncio.sleep(0.001)
    assert peak == 3


async def test_a_reconciliation_is_bounded_in_time(caplog: pytest.LogCaptureFixture) -> None:
    class Stuck:
        async def reconcile(self, key: str) -> Result:
            await asyncio.Event().wait()
            return DONE

    controller = Controller("test", Stuck(), timeout=0.01)
    async with running(controller):
        controller.enqueue("k")
        async with asyncio.timeout(2):
            while "took longer than 0.01 s" not in caplog.text:
                await asyncio.sleep(0.01)


async def test_it_can_be_run_again_and_is_then_told_everything_again() -> None:
    api, clock = FakeApi(CONFIGMAPS), FakeClock()
    api.put(CONFIGMAPS, "a", "n")
    informer = Informer(Client(api), CONFIGMAPS)
    recorder = Recorder(clock)
    controller = Controller("test", recorder, sources=[Source(informer)])
    async with running(controller, informer):
        pass
    controller.enqueue("nobody listens")
    async with running(controller):
        pass
    assert recorder.keys == [ObjectKey("n", "a")] * 2
