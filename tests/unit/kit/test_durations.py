"""Go's durations."""

from __future__ import annotations

from datetime import timedelta

import pytest

from outrider.kit.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("300s", 300), ("5m", 300), ("1h30m", 5400), ("250ms", 0.25), ("0s", 0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "300", "s", "-5m", "1 h", "5m!", "٣s", "1s" * 60])
def test_what_is_none(text: str) -> None:
    assert parse_duration(text) is None


def test_an_age_is_bounded() -> None:
    assert parse_duration("999999999h") == timedelta(days=36500)
