import asyncio

import pytest

from outrider.kit.backoff import Backoff
from outrider.kit.tasks import TaskSupervisor, cancel_and_wait
from tests.support.clock import FakeClock, settle


async def forever() -> None:
    await asyncio.Event().wait()


async def test_cancel_and_wait_returns_when_the_tasks_have_ended() -> None:
    ended: list[str] = []

    async def slow_to_end() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0.01)
            ended.append("slow")

    async def fails_when_cancelled() -> None:
        try:
            await forever()
        finally:
            raise RuntimeError("in the way out")

    tasks = [asyncio.create_task(slow_to_end()), asyncio.create_task(fails_when_cancelled())]
    await settle()
    await cancel_and_wait(*tasks)
    assert ended == ["slow"]
    assert all(task.done() for task in tasks)


async def test_cancel_and_wait_does_not_lose_the_callers_own_cancellation() -> None:
    release = asyncio.Event()

    async def stubborn() -> None:
        try:
            await forever()
        finally:
            await release.wait()

    inner = asyncio.create_task(stubborn())
    await settle()
    outer = asyncio.create_task(cancel_and_wait(inner))
    await settle()
    outer.cancel()
    await settle()
    assert not outer.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await outer
    assert inner.done()


async def test_a_failed_task_ends_its_owner_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> None:
        raise LookupError("nothing there")

    others: list[asyncio.Task[None]] = []

    async def owner() -> None:
        async with TaskSupervisor() as tasks:
            others.append(tasks.start("other", forever))
            tasks.start("broken", fails)
            await forever()

    with pytest.raises(LookupError, match="nothing there"):
        await owner()
    assert others[0].cancelled()
    assert "task broken failed" in caplog.text


async def test_a_restarted_task_waits_for_its_backoff_each_time() -> None:
    clock = FakeClock()
    starts: list[float] = []

    async def flaky() -> None:
        starts.append(clock.monotonic() - 1000)
        if len(starts) < 4:
            raise OSError("again")

    async with TaskSupervisor(clock=clock) as tasks:
        tasks.start("flaky", flaky, restart=Backoff(1, 60, jitter=0))
        await clock.advance(30)
        await tasks.wait()
    assert starts == [0, 1, 3, 7]


async def test_leaving_the_block_cancels_what_runs() -> None:
    async with TaskSupervisor() as tasks:
        task = tasks.start("watch", forever)
        await settle()
        assert not task.done()
    assert task.cancelled()


async def test_a_failure_of_the_block_itself_comes_out_unwrapped() -> None:
    async def owner() -> None:
        async with TaskSupervisor() as tasks:
            tasks.start("watch", forever)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await owner()


async def test_cancelling_the_owner_cancels_the_tasks() -> None:
    started: list[asyncio.Task[None]] = []

    async def owner() -> None:
        async with TaskSupervisor() as tasks:
            started.append(tasks.start("watch", forever))
            await tasks.wait()

    task = asyncio.create_task(owner())
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert started[0].cancelled()
