from __future__ import annotations

import msgspec

from outrider.apis.management.cluster_status import AppliedStateStatus, ClusterStatus, DesiredStateStatus
from outrider.delivery import versions
from outrider.tunnel.reports import Failure, OwnerState, StateReport, decode_agent_message


def status(stamp: tuple[int, int] | None = None, applied: tuple[int, int] | None = None) -> ClusterStatus:
    made = ClusterStatus()
    if stamp:
        made.desired_state = DesiredStateStatus(epoch=stamp[0], counter=stamp[1], hash="h")
    if applied:
        made.applied_state = AppliedStateStatus(epoch=applied[0], counter=applied[1], hash="h")
    return made


def test_a_state_is_stamped_once() -> None:
    assert versions.must_stamp(status(), "h")
    assert not versions.must_stamp(status((3, 1)), "h")
    assert versions.must_stamp(status((3, 1)), "other")


def test_versions_grow_whoever_stamps() -> None:
    assert versions.next_version(status(), 3) == (3, 1)
    assert versions.next_version(status((3, 1)), 3) == (3, 2)
    assert versions.next_version(status((3, 7)), 4) == (4, 1)
    # a leader of an earlier term: still greater than all before
    assert versions.next_version(status((5, 7)), 4) == (5, 8)


def test_after_a_restored_backup_the_version_passes_what_the_agent_has() -> None:
    restored = status((3, 1), applied=(3, 9))
    assert versions.must_stamp(restored, "h")
    assert versions.next_version(restored, 3) == (3, 10)
    # an agent that claims what no server can count to is not believed
    absurd = status((3, 1), applied=(1 << 60, 0))
    assert not versions.must_stamp(absurd, "h")
    assert versions.next_version(absurd, 3) == (3, 2)


def test_a_report_counts_when_it_is_later_and_says_something_else() -> None:
    report = StateReport(epoch=1, counter=1, hash="h", term=2, sequence=5, applied=3)
    held = versions.applied_status(report)
    assert versions.is_newer(report, None)
    again = msgspec.structs.replace(report, term=3, sequence=1)
    assert not versions.is_newer(again, held), "a restart alone is no news"
    assert versions.is_newer(msgspec.structs.replace(again, applied=4), held)
    late = msgspec.structs.replace(report, sequence=4, applied=1)
    assert not versions.is_newer(late, held)


def test_a_report_fits_into_a_status() -> None:
    failure = Failure(api_version="v1", kind="Secret", namespace="n", name="x", message="m" * 5000)
    report = StateReport(
        epoch=-4,
        counter=1 << 70,
        failures=[failure] * 200,
        owners=[OwnerState(name="o", failed=1, message="m" * 5000)] * 90,
    )
    made = versions.applied_status(report)
    assert made.epoch == 0
    assert made.counter < 1 << 54
    assert len(made.failures) == 10
    assert made.failures[0].startswith("Secret n/x: m")
    assert len(made.owners) == 1
    assert len(msgspec.json.encode(made)) < 5000


def test_another_agent_is_news_and_one_that_tells_nothing_of_itself_is_understood() -> None:
    old = decode_agent_message(
        b'{"type":"stateReport","epoch":3,"counter":1,"hash":"h","term":1,"sequence":4,"applied":2}'
    )
    assert isinstance(old, StateReport)
    held = versions.applied_status(old)
    assert (held.agent_image, held.agent_version) == ("", "")
    new = msgspec.structs.replace(old, term=2, sequence=1, image="agent:2", version="2.0")
    assert versions.is_newer(new, held)
    assert not versions.is_newer(msgspec.structs.replace(new, term=3), versions.applied_status(new))
    assert versions.applied_status(new).agent_image == "agent:2"
    assert len(versions.applied_status(msgspec.structs.replace(new, image="a" * 9999)).agent_image) == 512
