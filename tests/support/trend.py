"""Whether what is measured over time grows: a slope over all of it, not a comparison of two moments."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple


class Sample(NamedTuple):
    """A measurement, and when it was made, in seconds."""

    at: float
    value: float


def slope(samples: Sequence[Sample]) -> float:
    """Units a second: the median of the slopes between all pairs (Theil and Sen).

    Saw-teeth and single outliers hardly move it. Raises ValueError for fewer than three samples.
    """
    if len(samples) < 3:
        raise ValueError(f"no slope from {len(samples)} samples")
    return statistics.median(
        (later.value - sooner.value) / (later.at - sooner.at)
        for sooner, later in combinations(samples, 2)
        if later.at > sooner.at
    )


def growth(samples: Sequence[Sample], *, settle: float) -> float:
    """Units by which the value rose, by its slope, after the first `settle` (0 to 1) of the time."""
    first, last = samples[0].at, samples[-1].at
    kept = [one for one in samples if one.at >= first + settle * (last - first)]
    return slope(kept) * (kept[-1].at - kept[0].at)
