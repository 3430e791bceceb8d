from datetime import timedelta

from outrider.features.auth.views import rfc3339, token_fields
from tests.unit.features.auth.samples import NOW, a_token


def test_a_token_shows_everything_but_its_secret():
    token = a_token(cluster_name="c-abcde", description="for CI")
    view = token_fields(token, current="token-abcde", now=NOW, idle_minutes=10)
    assert view["token"] == ""
    assert token.token not in str(view)
    assert view["clusterId"] == "c-abcde"
    assert (view["current"], view["expired"], view["isDerived"], view["enabled"]) == (True, False, True, True)
    assert view["expiresAt"] == "2030-01-01T01:00:00Z"
    assert (view["userId"], view["userPrincipal"]) == ("user-abcde", "local://user-abcde")


def test_a_token_shows_what_it_was_made_with_once():
    made = a_token(token="token-abcde:its secret")
    assert token_fields(made, current="", now=NOW, idle_minutes=10)["token"] == "token-abcde:its secret"


def test_an_ended_token_says_so():
    view = token_fields(a_token(), current="", now=NOW + timedelta(hours=2), idle_minutes=10)
    assert (view["expired"], view["current"]) == (True, False)
    assert token_fields(a_token(ttl=0), current="", now=NOW, idle_minutes=1)["expiresAt"] == ""


def test_times():
    assert rfc3339(None) == ""
    assert rfc3339(NOW + timedelta(microseconds=5)) == "2030-01-01T00:00:00Z"
