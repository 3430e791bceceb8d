"""Conditions: stable order, times that move only when something changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from outrider.features.clusters import conditions as c

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)


def test_put_adds_at_the_end_and_changes_in_place() -> None:
    found = c.put(c.put([], "A", "True", NOW), "B", "False", NOW, reason="R", message="m")
    assert [(x.type, x.status, x.reason, x.message) for x in found] == [
        ("A", "True", "", ""),
        ("B", "False", "R", "m"),
    ]
    changed = c.put(found, "A", "False", LATER)
    assert [x.type for x in changed] == ["A", "B"]
    assert (changed[0].last_update_time, changed[0].last_transition_time) == ("2026-01-01T00:01:00Z",) * 2
    assert found[0].status == "True", "the old list is untouched"


def test_an_unchanged_condition_keeps_its_times() -> None:
    found = c.put([], "A", "True", NOW, message="m")
    assert c.put(found, "A", "True", LATER, message="m") == found


def test_another_message_is_an_update_but_no_transition() -> None:
    found = c.put(c.put([], "A", "True", NOW), "A", "True", LATER, message="m")
    assert found[0].last_update_time == "2026-01-01T00:01:00Z"
    assert found[0].last_transition_time == "2026-01-01T00:00:00Z"


def test_reading() -> None:
    found = c.put([], "A", "True", NOW)
    assert c.is_true(found, "A")
    assert not c.is_true(found, "B")
    assert c.find(found, "B") is None
    assert c.without(found, "A") == []
