"""How many manifests an address may ask for."""

from __future__ import annotations

from outrider.features.clusters.routes_import import AddressBuckets
from tests.support.clock import FakeClock


async def test_buckets_fill_again_and_stay_few() -> None:
    clock = FakeClock()
    buckets = AddressBuckets(clock, rate=1.0, burst=2, size=2)
    assert [buckets.allow("a") for _ in range(3)] == [True, True, False]
    assert buckets.allow("b")
    await clock.advance(1)
    assert [buckets.allow("a"), buckets.allow("a")] == [True, False]
    buckets.allow("c")
    buckets.allow("d")
    assert [buckets.allow("a"), buckets.allow("a")] == [True, True], "forgotten, it starts anew"
