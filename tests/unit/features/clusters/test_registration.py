"""How long a registration token is good for: tables, and one property over any life."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.features.clusters import registration as reg

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
POLICY = reg.Policy()


def terms(
    name: str = "crt-abcde",
    *,
    ttl: int | None = None,
    grace: int | None = None,
    policy: reg.Policy = POLICY,
    **annotations: str,
) -> reg.Terms:
    names = {"unit": reg.UNIT_ANNOTATION, "expiry": reg.ON_EXPIRY_ANNOTATION}
    return reg.terms(name, {names[k]: v for k, v in annotations.items()}, ttl, grace, policy)


def test_tokens_have_the_form_that_the_contract_gives() -> None:
    tokens = {reg.new_token() for _ in range(200)}
    assert len(tokens) == 200
    assert all(re.fullmatch("[bcdfghjklmnpqrstvwxz2456789]{54}", token) for token in tokens)
    assert all(reg.well_formed(token) for token in tokens)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("g7xk2mq9plwc8th4vn5bzjdf6", True),
        ("short", False),
        ("a" * 129, False),
        ("UPPERCASE0123456789", False),
        ("a" * 20 + "\n", False),
        ("a" * 15 + "٣" * 3, False),
    ],
)
def test_older_shapes_are_let_through_and_others_not(text: str, good: bool) -> None:
    assert reg.well_formed(text) is good


MINUTES = reg.Policy(unit="minutes")


@pytest.mark.parametrize(
    ("wanted", "ttl"),
    [
        (terms(ttl=86400), timedelta(hours=24)),
        (terms(ttl=86400, policy=MINUTES), timedelta(days=60)),
        (terms(ttl=60, unit="minutes"), timedelta(hours=1)),
        (terms(ttl=60, policy=MINUTES, unit="seconds"), timedelta(minutes=1)),
        (terms(ttl=5), timedelta(seconds=5)),
        (terms("default-token", ttl=5), timedelta(seconds=30)),
        (terms(ttl=0), None),
        (terms(ttl=-1), None),
        (terms(), timedelta(days=30)),
        (terms(policy=reg.Policy(rotation=False)), None),
        (terms(ttl=60, policy=reg.Policy(rotation=False)), timedelta(minutes=1)),
        (terms(policy=reg.Policy(default_ttl=timedelta())), None),
        (terms(ttl=2**63 - 1), timedelta(days=36500)),
    ],
)
def test_ttl(wanted: reg.Terms, ttl: timedelta | None) -> None:
    assert wanted.ttl == ttl


@pytest.mark.parametrize(
    ("wanted", "grace"),
    [
        (terms(), timedelta(hours=3)),
        (terms(grace=1), timedelta(minutes=10)),
        (terms(grace=60), timedelta(hours=1)),
        (terms(ttl=100), timedelta(seconds=80)),
        (terms(ttl=0, grace=60), timedelta(hours=1)),
    ],
)
def test_grace(wanted: reg.Terms, grace: timedelta) -> None:
    assert wanted.grace == grace


@pytest.mark.parametrize(
    ("wanted", "revoke"),
    [
        (terms("default-token"), False),
        (terms("system"), False),
        (terms("token-limited"), True),
        (terms("token-limited", expiry="rotate"), False),
        (terms("default-token", expiry="revoke"), True),
        (terms("default-token", expiry="nonsense"), False),
    ],
)
def test_what_happens_on_expiry(wanted: reg.Terms, revoke: bool) -> None:
    assert wanted.revoke is revoke


def test_a_revoked_token_dies_to_the_second_and_has_no_successor() -> None:
    wanted = terms(ttl=60)
    secret = reg.issue(wanted, NOW, token="t" * 54, jitter=0.9)
    assert secret.expires_at == NOW + timedelta(seconds=60)
    assert reg.accepts(secret, wanted, "t" * 54, NOW + timedelta(seconds=59))
    end = NOW + timedelta(seconds=60)
    assert not reg.accepts(secret, wanted, "t" * 54, end)
    assert reg.renew(secret, wanted, end, make=reg.new_token, jitter=0) == secret
    assert reg.next_change(secret, wanted, end) is None


def test_a_rotated_token_hands_over_within_its_grace() -> None:
    wanted = terms("default-token", ttl=3600, grace=20)
    first = reg.issue(wanted, NOW, token="a" * 54, jitter=0.5)
    assert first.expires_at == NOW + timedelta(minutes=63)
    due = first.expires_at
    second = reg.renew(first, wanted, due, make=lambda: "b" * 54, jitter=0)
    assert (second.token, second.previous_token) == ("b" * 54, "a" * 54)
    assert second.grace_ends_at == due + timedelta(minutes=20)
    assert second.expires_at == due + timedelta(hours=1)
    assert reg.next_change(second, wanted, due) == second.grace_ends_at
    for token, minutes, good in [("a", 19, True), ("a", 20, False), ("b", 20, True), ("c", 0, False)]:
        assert reg.accepts(second, wanted, token * 54, due + timedelta(minutes=minutes)) is good
    third = reg.renew(second, wanted, due + timedelta(minutes=20), make=reg.new_token, jitter=0)
    assert (third.token, third.previous_token, third.grace_ends_at) == ("b" * 54, "", None)


def test_a_late_rotation_locks_nobody_out_before_the_grace_is_over() -> None:
    wanted = terms("system", ttl=3600, grace=20)
    secret = reg.issue(wanted, NOW, token="a" * 54, jitter=0)
    assert reg.usable(secret, wanted, NOW + timedelta(minutes=79))
    assert not reg.usable(secret, wanted, NOW + timedelta(minutes=80))


def test_a_changed_ttl_counts_from_the_issue() -> None:
    secret = reg.issue(terms(ttl=3600), NOW, token="a" * 54, jitter=0)
    later = NOW + timedelta(minutes=10)
    longer = reg.renew(secret, terms(ttl=7200), later, make=reg.new_token, jitter=0)
    assert longer.expires_at == NOW + timedelta(hours=2)
    forever = reg.renew(longer, terms(ttl=0), later, make=reg.new_token, jitter=0)
    assert forever.expires_at is None
    assert forever.token == secret.token


def test_a_schedule_from_another_server_is_kept() -> None:
    foreign = reg.TokenSecret(token="a" * 54, expires_at=NOW + timedelta(days=3))
    kept = reg.renew(foreign, terms("default-token"), NOW, make=reg.new_token, jitter=0)
    assert kept.expires_at == foreign.expires_at
    assert kept.issued_at == NOW


def test_turning_rotation_off_does_not_let_a_schedule_lapse() -> None:
    on, off = (
        terms("default-token", ttl=60),
        terms("default-token", ttl=60, policy=reg.Policy(rotation=False)),
    )
    secret = reg.issue(on, NOW, token="a" * 54, jitter=0)
    due = NOW + timedelta(minutes=1)
    assert reg.renew(secret, off, due, make=lambda: "b" * 54, jitter=0).token == "b" * 54


def test_the_secret_round_trips() -> None:
    secret = reg.TokenSecret(
        token="a" * 54,
        previous_token="b" * 54,
        expires_at=NOW,
        grace_ends_at=NOW + timedelta(hours=1),
        issued_at=NOW - timedelta(hours=1),
        ttl_seconds=3600,
    )
    stored = {"metadata": {"annotations": reg.secret_annotations(secret)}, "data": reg.secret_data(secret)}
    assert reg.read_secret(stored) == secret
    assert "a" * 10 not in repr(secret)


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"token": ""},
        {"token": "%%%"},
        {"token": base64.b64encode(b"\xff").decode()},
    ],
)
def test_a_damaged_secret_has_no_token(data: dict[str, str] | None) -> None:
    assert reg.read_secret({"metadata": {}, "data": data}) is None


@given(
    ttl=st.none() | st.integers(-5, 100_000),
    grace=st.none() | st.integers(0, 500),
    name=st.sampled_from(["default-token", "crt-aaaaa"]),
    steps=st.lists(st.integers(0, 50_000), max_size=12),
    jitter=st.floats(0, 1, exclude_max=True),
)
def test_any_life(ttl: int | None, grace: int | None, name: str, steps: list[int], jitter: float) -> None:
    wanted = terms(name, ttl=ttl, grace=grace)
    now = NOW
    secret = reg.issue(wanted, now, token=reg.new_token(), jitter=jitter)
    for step in steps:
        now += timedelta(seconds=step)
        before = secret
        secret = reg.renew(before, wanted, now, make=reg.new_token, jitter=jitter)
        again = reg.renew(secret, wanted, now, make=reg.new_token, jitter=jitter)
        assert again == secret, "settles"
        assert not reg.accepts(secret, wanted, "", now)
        if not wanted.revoke:
            assert reg.usable(secret, wanted, now), "a rotating registration always has a good token"
        if secret.token != before.token:
            assert secret.previous_token == before.token
        change = reg.next_change(secret, wanted, now)
        assert change is None or change > now
        assert wanted.ttl is None or secret.expires_at is not None
        assert msgspec.structs.replace(secret) == secret
