from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.features.auth.ttl import MINUTE, expires_at, idle_until, session_ttl, token_ttl

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("requested", "default", "maximum", "result"),
    [
        (0, 10, 20, 10 * MINUTE),  # omitted: the default
        (0, 0, 20, 20 * MINUTE),  # no default: the maximum
        (0, 0, 0, 0),  # neither: never expires
        (0, 30, 20, 20 * MINUTE),  # a default beyond the maximum is the maximum
        (0, 30, 0, 30 * MINUTE),
        (-1, 10, 0, 0),  # no end asked for and none set
        (-1, 10, 20, 20 * MINUTE),
        (5 * MINUTE, 10, 20, 5 * MINUTE),
        (21 * MINUTE, 10, 20, 20 * MINUTE),  # clamped without a word
        (21 * MINUTE, 10, 0, 21 * MINUTE),
        (21 * MINUTE, 10, -5, 21 * MINUTE),  # a maximum below one is none
        (1, 10, 20, 1),
    ],
)
def test_the_contracts_table(requested, default, maximum, result):
    assert token_ttl(requested, default_minutes=default, max_minutes=maximum) == result


@given(st.integers(), st.integers(min_value=-10, max_value=10**6), st.integers(min_value=1, max_value=10**6))
def test_nothing_outlives_the_maximum(requested, default, maximum):
    result = token_ttl(requested, default_minutes=default, max_minutes=maximum)
    assert 0 < result <= maximum * MINUTE


@given(st.integers(), st.integers())
def test_every_end_is_a_date(requested, default):
    end = expires_at(NOW, token_ttl(requested, default_minutes=default, max_minutes=0))
    assert end is None or end > NOW


def test_sessions_always_end():
    assert session_ttl(960) == 960 * MINUTE
    assert session_ttl(0) == MINUTE


def test_ends():
    assert expires_at(NOW, 0) is None
    assert expires_at(NOW, 1500) == NOW + timedelta(seconds=1.5)
    undated = expires_at(None, 10)
    assert undated is not None
    assert undated < NOW


def test_idle_counts_only_recorded_activity():
    assert idle_until(None, idle_minutes=10) is None
    assert idle_until(NOW, idle_minutes=10) == NOW + timedelta(minutes=10)
