from datetime import timedelta

import pytest

from outrider.features.auth.views import collection, matches, rfc3339, token_view, user_view
from tests.unit.features.auth.samples import NOW, a_token, a_user

BASE = "https://outrider.test"


def test_a_token_shows_everything_but_its_secret():
    token = a_token(cluster_name="c-abcde", description="for CI")
    view = token_view(token, base=BASE, current="token-abcde", now=NOW, idle_minutes=10)
    assert view["id"] == view["name"] == "token-abcde"
    assert (view["type"], view["baseType"], view["token"]) == ("token", "token", "")
    assert token.token not in str(view)
    assert (view["clusterId"], view["description"]) == ("c-abcde", "for CI")
    assert (view["current"], view["expired"], view["isDerived"], view["enabled"]) == (True, False, True, True)
    assert view["expiresAt"] == "2030-01-01T01:00:00Z"
    assert (view["userId"], view["userPrincipal"]) == ("user-abcde", "local://user-abcde")
    assert view["links"]["self"] == view["links"]["remove"] == f"{BASE}/v3/tokens/token-abcde"
    assert view["createdTS"] == int(NOW.timestamp()) * 1000


def test_an_ended_token_says_so():
    view = token_view(a_token(), base=BASE, current="", now=NOW + timedelta(hours=2), idle_minutes=10)
    assert (view["expired"], view["current"]) == (True, False)
    assert token_view(a_token(ttl=0), base=BASE, current="", now=NOW, idle_minutes=1)["expiresAt"] == ""


def test_a_user_shows_no_password():
    view = user_view(
        a_user(password="old hash", principal_ids=["github_user://1"]), base=BASE, me="user-abcde"
    )
    assert "old hash" not in str(view)
    assert (view["username"], view["name"], view["me"], view["enabled"]) == ("jane", "Jane", True, True)
    assert view["principalIds"] == ["github_user://1", "local://user-abcde"]
    assert view["actions"] == {}
    assert view["state"] == "active"


def test_actions_are_those_the_caller_may_take():
    view = user_view(a_user(), base=BASE, me="", may_set_password=True)
    assert view["actions"] == {"setpassword": f"{BASE}/v3/users/user-abcde?action=setpassword"}


def test_a_collection_names_where_to_create():
    body = collection("user", "users", [{"id": "a"}], base=BASE, actions=("changepassword",))
    assert body["createTypes"] == {"user": f"{BASE}/v3/users"}
    assert body["actions"] == {"changepassword": f"{BASE}/v3/users?action=changepassword"}
    assert (body["type"], body["resourceType"], body["data"]) == ("collection", "user", [{"id": "a"}])


ROW = {"username": "jane", "enabled": True, "description": "", "clusterId": None, "labels": {"a": "b"}}


@pytest.mark.parametrize(
    ("query", "passes"),
    [
        ([], True),
        ([("username", "jane")], True),
        ([("username", "john")], False),
        ([("username", "jane"), ("username", "john")], False),
        ([("enabled", "true")], True),
        ([("enabled", "false")], False),
        ([("username_ne", "jane")], False),
        ([("username_ne", "john")], True),
        ([("description", "")], True),
        ([("clusterId", "")], True),
        ([("limit", "-1"), ("removed_null", "1"), ("state_ne", "inactive"), ("system", "false")], True),
        ([("labels", "x")], True),
    ],
)
def test_filters(query, passes):
    assert matches(ROW, query) == passes


def test_times():
    assert rfc3339(None) == ""
    assert rfc3339(NOW + timedelta(microseconds=5)) == "2030-01-01T00:00:00Z"
