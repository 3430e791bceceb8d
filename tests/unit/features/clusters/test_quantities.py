"""Quantities: canonical spelling and exact sums."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.features.clusters.quantities import canonical, parse, total


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("100m", Fraction(1, 10)),
        ("1.5", Fraction(3, 2)),
        (".5", Fraction(1, 2)),
        ("16Gi", 16 << 30),
        ("24576000Ki", 24576000 << 10),
        ("1e3", 1000),
        ("1E3", 1000),
        ("1E", 10**18),
        ("2k", 2000),
        ("-3", -3),
        ("250n", Fraction(250, 10**9)),
    ],
)
def test_parse(text: str, value: Fraction) -> None:
    assert parse(text) == value


@pytest.mark.parametrize("text", ["", "x", "1x", "1 Gi", "1e999", "1.2.3", "٣", "1" * 65, "Gi", "1KI", "--1"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="quantity"):
        parse(text)


@pytest.mark.parametrize(
    ("value", "binary", "text"),
    [
        (Fraction(6), False, "6"),
        (Fraction(15, 10), False, "1500m"),
        (Fraction(330), False, "330"),
        (Fraction(2000), False, "2k"),
        (Fraction(16 << 30), True, "16Gi"),
        (Fraction(24576001 << 10), True, "24576001Ki"),
        (Fraction(1025), True, "1025"),
        (Fraction(0), True, "0"),
        (Fraction(1, 3 * 10**9), False, "1n"),
    ],
)
def test_canonical(value: Fraction, binary: bool, text: str) -> None:
    assert canonical(value, binary=binary) == text


@given(st.integers(0, 10**15), st.sampled_from(["m", "", "Ki", "Mi", "n"]), st.booleans())
def test_spelling_keeps_the_value(number: int, suffix: str, binary: bool) -> None:
    value = parse(f"{number}{suffix}")
    assert parse(canonical(value, binary=binary)) == value


@given(st.lists(st.integers(0, 10**6), max_size=20))
def test_sums_are_exact(millis: list[int]) -> None:
    summed = total([{"cpu": f"{m}m", "memory": f"{m}Ki"} for m in millis], ["cpu", "memory", "pods"])
    assert parse(summed["cpu"]) == Fraction(sum(millis), 1000)
    assert parse(summed["memory"]) == sum(millis) << 10
    assert summed["pods"] == "0"


def test_what_is_no_quantity_counts_as_nothing() -> None:
    assert total([{"cpu": "1"}, {"cpu": "lots"}, {"cpu": 2}, {"cpu": None}], ["cpu"]) == {"cpu": "3"}
