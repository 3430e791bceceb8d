from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.features.auth.judgement import (
    AUTOMATIC_GROUPS,
    EXPIRED,
    MUST_AUTHENTICATE,
    SCOPE_MISMATCH,
    Accepted,
    Facts,
    Refused,
    is_reserved,
    judge,
    judge_password,
    parse_time,
)
from tests.unit.features.auth.samples import HOUR, NOW, a_token, a_user, groups, principals


def facts(**changes: Any) -> Facts:
    values: dict[str, Any] = {
        "token": a_token(),
        "secret_matches": True,
        "user": a_user(),
        "providers": frozenset({"local"}),
        "cluster": "",
        "host": "outrider.test",
        "now": NOW + timedelta(minutes=1),
        "idle_minutes": 30,
    }
    return Facts(**(values | changes))


def accepted(**changes: Any) -> Accepted:
    result = judge(facts(**changes))
    assert isinstance(result, Accepted), result
    return result


def refused(**changes: Any) -> Refused:
    result = judge(facts(**changes))
    assert isinstance(result, Refused), result
    return result


def test_a_good_token_gives_the_contracts_identity():
    result = accepted()
    assert result.identity.user == "user-abcde"
    assert result.identity.groups == AUTOMATIC_GROUPS
    assert result.identity.extra == {
        "principalid": ("local://user-abcde",),
        "username": ("jane",),
        "requesttokenid": ("token-abcde",),
        "requesthost": ("outrider.test",),
    }
    assert result.ends == NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"token": None}, "no such token"),
        ({"secret_matches": False}, "no such token"),
        ({"token": a_token(enabled=False)}, "token disabled"),
        ({"now": NOW + timedelta(hours=1)}, "token expired"),
        ({"token": a_token(auth_provider="github")}, "provider disabled"),
        ({"token": a_token(auth_provider="")}, "provider disabled"),
        ({"providers": frozenset()}, "provider disabled"),
        ({"user": None}, "no such user"),
        ({"user": a_user("user-other")}, "no such user"),
        ({"user": a_user(enabled=False)}, "user disabled"),
        (
            {"user": a_user("system:admin"), "token": a_token(user_id="system:admin")},
            "a user of a reserved name",
        ),
    ],
)
def test_each_flaw_refuses_with_the_same_words(changes, reason):
    result = refused(**changes)
    assert result.reason == reason
    assert result.message == MUST_AUTHENTICATE


def test_an_expired_token_is_told_apart_by_code_only():
    assert refused(now=NOW + timedelta(days=1)).code == EXPIRED
    assert refused(token=None).code == "Unauthorized"


def test_deleted_objects_that_still_wait_for_finalizers_are_refused():
    token, user = a_token(), a_user()
    token.metadata.deletion_timestamp = NOW
    assert refused(token=token).reason == "token disabled"
    user.metadata.deletion_timestamp = NOW
    assert refused(user=user).reason == "user disabled"


def test_enabled_may_be_absent():
    accepted(token=a_token(enabled=None), user=a_user(enabled=None))
    accepted(token=a_token(enabled=True), user=a_user(enabled=True))


def test_a_token_without_ttl_never_ends():
    assert accepted(token=a_token(ttl=0), now=NOW + timedelta(days=36500)).ends is None


def test_a_scoped_token_reaches_its_cluster_only():
    token = a_token(cluster_name="c-abcde")
    accepted(token=token, cluster="c-abcde")
    for cluster in ("", "local", "c-abcd", "c-abcdef", "C-ABCDE"):
        assert refused(token=token, cluster=cluster).message == SCOPE_MISMATCH


def test_an_idle_session_ends_but_a_key_does_not():
    seen = NOW.isoformat()
    late = NOW + timedelta(minutes=30)
    session = a_token(kind="session", ttl=10 * HOUR, activity_last_seen_at=seen)
    assert refused(token=session, now=late).reason == "token expired"
    accepted(token=session, now=late - timedelta(seconds=1))
    accepted(token=a_token(kind="session", ttl=10 * HOUR), now=late)
    accepted(token=a_token(ttl=10 * HOUR, activity_last_seen_at=seen), now=late)


def test_groups_come_from_every_provider_of_the_attribute():
    identity = accepted(
        attribute=groups(github=["github_team://7", "github_org://1"], local=["local://g-1"]),
        token=a_token(group_principals=principals("ignored://1")),
    ).identity
    assert identity.groups == ("g-1", "github_org://1", "github_team://7", *AUTOMATIC_GROUPS)


def test_without_attribute_the_tokens_groups_count():
    identity = accepted(token=a_token(group_principals=principals("okta_group://a"))).identity
    assert identity.groups == ("okta_group://a", *AUTOMATIC_GROUPS)


RESERVED = ["system:masters", "SYSTEM:masters", " system:masters", "local://system:masters", "system:nodes"]


@pytest.mark.parametrize("name", RESERVED)
def test_no_attribute_hands_out_a_system_group(name):
    assert accepted(attribute=groups(github=[name, "x"])).identity.groups == ("x", *AUTOMATIC_GROUPS)


@pytest.mark.parametrize("name", RESERVED)
def test_no_provider_hands_out_a_system_group(name):
    assert accepted(token=a_token(group_principals=principals(name))).identity.groups == AUTOMATIC_GROUPS


@given(st.lists(st.text(max_size=20), max_size=5), st.text(max_size=20), st.text(max_size=20))
def test_no_identity_carries_a_reserved_name_or_breaks_a_header(names, user, host):
    result = judge(
        facts(
            user=a_user(user),
            token=a_token(user_id=user),
            attribute=groups(oidc=[*names, "system:masters"]),
            host=host,
        )
    )
    if isinstance(result, Accepted):
        assert not is_reserved(result.identity.user)
        assert [g for g in result.identity.groups if is_reserved(g)] == list(AUTOMATIC_GROUPS)
        assert "\n" not in "".join((result.identity.user, *result.identity.groups, host))


def test_a_password_gives_an_identity_without_token():
    result = judge_password(a_user(), None, host="h")
    assert isinstance(result, Accepted)
    assert "requesttokenid" not in result.identity.extra
    assert result.identity.extra["principalid"] == ("local://user-abcde",)


def test_a_password_that_must_be_changed_is_no_credential():
    result = judge_password(a_user(must_change_password=True), None, host="h")
    assert isinstance(result, Refused)
    assert "must be changed" in result.message


def test_a_session_works_although_the_password_must_be_changed():
    accepted(user=a_user(must_change_password=True))


@pytest.mark.parametrize("text", [None, "", "yesterday", "2030-13-01T00:00:00Z"])
def test_nonsense_is_no_time(text):
    assert parse_time(text) is None


def test_times_have_a_zone():
    assert parse_time("2030-01-01T00:00:00Z") == NOW
    assert parse_time("2030-01-01T00:00:00") == NOW


@pytest.mark.parametrize(
    "name",
    [
        "system:masters",
        "System:Masters",
        " system:nodes",
        "local://system:masters",
        "okta_group://system:x",
        "a://b:// system:y",
    ],
)
def test_reserved_names_with_and_without_a_scheme(name):
    assert is_reserved(name)
    assert not is_reserved("okta_group://devs")
    assert not is_reserved("the-system:masters")
