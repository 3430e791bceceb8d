"""What counts as growth."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.trend import Sample, growth, slope


def series(*values: float) -> list[Sample]:
    return [Sample(float(at), value) for at, value in enumerate(values)]


@given(st.floats(-5, 5), st.floats(-100, 100), st.integers(3, 40))
def test_a_straight_line_has_its_slope(rise: float, start: float, length: int) -> None:
    assert slope(series(*(start + rise * at for at in range(length)))) == pytest.approx(rise, abs=1e-6)


def test_outliers_and_saw_teeth_are_no_growth() -> None:
    assert slope(series(5, 5, 900, 5, 5, 5, 5)) == 0
    teeth = [at % 10 for at in range(200)]
    assert abs(growth(series(*teeth), settle=0.0)) < 3


def test_a_slow_leak_shows_through_noise() -> None:
    rand = random.Random(1)
    leak = [100 + 0.05 * at + rand.uniform(-2, 2) for at in range(200)]
    assert growth(series(*leak), settle=0.3) == pytest.approx(7, abs=1)


def test_what_rises_at_the_beginning_only_is_settled() -> None:
    assert growth(series(*range(10), *[10.0] * 30), settle=0.3) == 0


def test_two_points_make_no_slope() -> None:
    with pytest.raises(ValueError, match="no slope from 2 samples"):
        slope(series(1, 2))
