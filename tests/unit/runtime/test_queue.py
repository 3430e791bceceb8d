import asyncio
from collections import Counter

import pytest

from outrider.kit.tasks import cancel_and_wait
from outrider.runtime.queue import QueueClosed, WorkQueue
from tests.support.clock import FakeClock, settle


def queue_of(clock: FakeClock | None = None, **options: float) -> WorkQueue[str]:
    return WorkQueue(clock=clock or FakeClock(), rand=lambda: 0.0, **options)


async def take(queue: WorkQueue[str]) -> str:
    async with asyncio.timeout(1):
        return await queue.get()


async def test_a_key_is_queued_once_and_in_order() -> None:
    queue = queue_of()
    for key in "abcab":
        queue.add(key)
    assert len(queue) == 3
    assert [await take(queue) for _ in range(3)] == ["a", "b", "c"]
    assert len(queue) == 0


async def test_a_key_in_work_is_not_given_to_another_worker() -> None:
    queue = queue_of()
    queue.add("a")
    assert await take(queue) == "a"
    queue.add("a")
    queue.add("a")
    second = asyncio.create_task(queue.get())
    await settle()
    assert not second.done()
    queue.done("a")
    assert await second == "a"
    queue.done("a")
    assert queue.idle


async def test_waiting_workers_are_served() -> None:
    queue = queue_of()
    workers = [asyncio.create_task(queue.get()) for _ in range(3)]
    await settle()
    for key in "abc":
        queue.add(key)
    assert sorted(await asyncio.gather(*workers)) == ["a", "b", "c"]


async def test_a_cancelled_worker_does_not_swallow_a_wake_up() -> None:
    queue = queue_of()
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await settle()
    queue.add("a")
    first.cancel()
    assert await asyncio.wait_for(second, 1) == "a"


async def test_later() -> None:
    clock = FakeClock()
    queue = queue_of(clock)
    queue.add_after("late", 60)
    queue.add_after("soon", 1)
    queue.add_after("now", 0)
    assert await take(queue) == "now"
    await clock.advance(0.9)
    assert len(queue) == 0
    await clock.advance(0.2)
    assert await take(queue) == "soon"
    await clock.advance(60)
    assert await take(queue) == "late"
    await queue.close()


@pytest.mark.parametrize("order", [(5, 60), (60, 5)])
async def test_the_earliest_wish_holds_and_only_it(order: tuple[float, float]) -> None:
    clock = FakeClock()
    queue = queue_of(clock)
    for seconds in order:
        queue.add_after("a", seconds)
        await settle()
    queue.add_after("b", 100)
    await clock.advance(5)
    assert await take(queue) == "a"
    queue.done("a")
    await clock.advance(94)
    assert len(queue) == 0
    await clock.advance(1)
    assert await take(queue) == "b"
    queue.done("b")
    assert queue.idle
    await queue.close()


async def test_retries_of_a_key_wait_longer_each_time_until_it_is_forgotten() -> None:
    clock = FakeClock()
    queue = queue_of(clock, initial=1, maximum=5)
    assert [queue.retry("a") for _ in range(4)] == [1, 2, 4, 5]
    assert queue.retry("b") == 1
    queue.forget("a")
    assert queue.retry("a") == 1
    await queue.close()


async def test_retries_are_jittered() -> None:
    queue: WorkQueue[str] = WorkQueue(initial=1, jitter=0.5)
    delays = {queue.retry(str(number)) for number in range(50)}
    assert len(delays) > 10
    assert all(0.5 <= delay <= 1 for delay in delays)
    await queue.close()


async def test_closing_ends_workers_and_timers() -> None:
    clock = FakeClock()
    queue = queue_of(clock)
    worker = asyncio.create_task(queue.get())
    queue.add_after("a", 60)
    await settle()
    await queue.close()
    with pytest.raises(QueueClosed):
        await worker
    queue.add("b")
    queue.add_after("c", 1)
    with pytest.raises(QueueClosed):
        await queue.get()
    assert clock.sleepers == 0


async def test_many_workers_never_share_a_key_and_miss_no_change() -> None:
    """After its last add, every key is worked on at least once more."""
    queue: WorkQueue[int] = WorkQueue()
    version: Counter[int] = Counter()
    seen: dict[int, int] = {}
    busy: set[int] = set()

    async def work() -> None:
        while True:
            key = await queue.get()
            assert key not in busy
            busy.add(key)
            seen[key] = version[key]
            await asyncio.sleep(0)
            busy.discard(key)
            queue.done(key)

    workers = [asyncio.create_task(work()) for _ in range(5)]
    for step in range(2000):
        key = step * 7 % 23
        version[key] += 1
        queue.add(key)
        if step % 3 == 0:
            await asyncio.sleep(0)
    while not queue.idle:
        await asyncio.sleep(0)
    await cancel_and_wait(*workers)
    assert seen == dict(version)
