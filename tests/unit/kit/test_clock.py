"""The system's clock, and the fake one that other tests stand on."""

import asyncio
from datetime import UTC, timedelta

from outrider.kit.clock import Clock, SystemClock
from tests.support.clock import FakeClock


async def test_the_system_clock_is_aware_and_moves_on() -> None:
    clock: Clock = SystemClock()
    before, start = clock.now(), clock.monotonic()
    await clock.sleep(0.01)
    assert before.tzinfo is UTC
    assert clock.now() > before
    assert clock.monotonic() - start >= 0.009


async def test_the_fake_clock_wakes_sleepers_at_their_own_moments() -> None:
    clock = FakeClock()
    begin = clock.now()
    woken: list[tuple[str, timedelta]] = []

    async def sleeper(name: str, *naps: float) -> None:
        for nap in naps:
            await clock.sleep(nap)
            woken.append((name, clock.now() - begin))

    tasks = [asyncio.create_task(sleeper("a", 3, 3)), asyncio.create_task(sleeper("b", 5))]
    await clock.advance(2.9)
    assert woken == []
    await clock.advance(10)
    assert woken == [("a", timedelta(seconds=3)), ("b", timedelta(seconds=5)), ("a", timedelta(seconds=6))]
    assert clock.now() - begin == timedelta(seconds=12.9)
    await asyncio.gather(*tasks)
    assert clock.sleepers == 0
