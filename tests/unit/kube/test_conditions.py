from datetime import UTC, datetime, timedelta, timezone

import pytest

from outrider.kube import conditions
from outrider.kube.meta import Condition

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=5)


def test_a_new_condition_goes_to_the_end() -> None:
    first = conditions.set_condition([], "Ready", "False", reason="Waiting", message="for nodes", now=NOON)
    both = conditions.set_condition(first, "Connected", "True", now=LATER)
    assert [c.type for c in both] == ["Ready", "Connected"]
    assert both[0] == Condition(
        type="Ready",
        status="False",
        last_update_time="2030-01-01T12:00:00Z",
        last_transition_time="2030-01-01T12:00:00Z",
        reason="Waiting",
        message="for nodes",
    )


def test_setting_it_again_changes_nothing() -> None:
    before = conditions.set_condition([], "Ready", "True", now=NOON)
    assert conditions.set_condition(before, "Ready", "True", now=LATER) == before


def test_another_message_updates_but_is_no_transition() -> None:
    before = conditions.set_condition([], "Ready", "False", message="a", now=NOON)
    [after] = conditions.set_condition(before, "Ready", "False", message="b", now=LATER)
    assert after.last_update_time == "2030-01-01T12:05:00Z"
    assert after.last_transition_time == "2030-01-01T12:00:00Z"


def test_another_status_is_a_transition_and_keeps_the_place() -> None:
    before = [Condition(type="A"), Condition(type="Ready", status="False"), Condition(type="C")]
    after = conditions.set_condition(before, "Ready", "True", now=LATER)
    assert [c.type for c in after] == ["A", "Ready", "C"]
    assert after[1].last_transition_time == "2030-01-01T12:05:00Z"
    assert before[1].status == "False"


def test_reading() -> None:
    given = [Condition(type="Ready", status="True"), Condition(type="Old", status="Unknown")]
    assert conditions.is_true(given, "Ready")
    assert not conditions.is_true(given, "Old")
    assert not conditions.is_true(given, "Absent")
    assert conditions.get_condition(given, "Absent") is None
    assert conditions.remove_condition(given, "Ready") == [given[1]]
    assert conditions.to_json(given[:1]) == [{"type": "Ready", "status": "True"}]


def test_times_are_utc_and_aware() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert conditions.rfc3339(datetime(2030, 1, 1, 9, tzinfo=tokyo)) == "2030-01-01T00:00:00Z"
    with pytest.raises(ValueError, match="zone"):
        conditions.rfc3339(datetime(2030, 1, 1))


def test_a_status_is_one_of_three_words() -> None:
    with pytest.raises(ValueError, match="True, False or Unknown"):
        conditions.set_condition([], "Ready", "yes", now=NOON)


def test_the_status_is_always_written() -> None:
    """Leaving out ``Unknown`` as if it were a default would make an invalid condition."""
    assert conditions.to_json([Condition(type="Ready", status="Unknown")]) == [
        {"type": "Ready", "status": "Unknown"}
    ]
