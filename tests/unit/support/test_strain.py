"""When a site counts as recovered: not before the failure has shown."""

from __future__ import annotations

from tests.failures.strain import STREAK, Probe, recovery

GOOD, BAD = 200, 503


def probes(*statuses: int) -> list[Probe]:
    return [Probe(float(n), n + 0.5, status) for n, status in enumerate(statuses)]


def test_answers_that_were_good_all_the_time() -> None:
    seen = probes(*[GOOD] * STREAK)
    assert recovery(seen) == seen[0]
    assert recovery(seen[1:]) is None


def test_good_answers_before_the_failure_shows_are_no_recovery() -> None:
    seen = probes(*[GOOD] * 20, *[BAD] * 3, *[GOOD] * STREAK)
    assert recovery(seen) == seen[23]
    assert recovery(seen[:-1]) is None
    assert recovery(seen[:21]) is None


def test_a_failure_that_must_be_felt() -> None:
    seen = probes(*[GOOD] * 20)
    assert recovery(seen, felt=True) is None
    assert recovery([*seen, *probes(BAD, *[GOOD] * STREAK)], felt=True) is not None


def test_one_bad_answer_amid_good_ones_ends_the_streak() -> None:
    seen = probes(BAD, GOOD, GOOD, BAD, *[GOOD] * STREAK)
    assert recovery(seen) == seen[4]
