"""Whom the aggregation layer's headers name."""

from __future__ import annotations

import pytest

from outrider.kube.frontproxy import remote_identity
from outrider.kube.identity import Identity


def test_a_user_with_groups_and_extras() -> None:
    headers = [
        ("X-Remote-User", "jane"),
        ("X-Remote-Group", "a"),
        ("x-remote-group", "b"),
        ("X-Remote-Extra-Requesttokenid", "token-a"),
        ("X-Remote-Extra-Example.com%2fscope", "x"),
        ("x-remote-extra-example.com%2Fscope", "y"),
        ("Impersonate-User", "joe"),
    ]
    extra = {"requesttokenid": ("token-a",), "example.com/scope": ("x", "y")}
    assert remote_identity(headers) == Identity("jane", ("a", "b"), extra)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("X-Remote-User", "")],
        [("X-Remote-Group", "a")],
        [("X-Remote-User", "a"), ("x-remote-user", "b")],
    ],
)
def test_nobody(headers: list[tuple[str, str]]) -> None:
    assert remote_identity(headers) is None
