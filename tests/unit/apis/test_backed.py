from __future__ import annotations

import pytest

from outrider.apis.ext.backed import owned_by
from outrider.apis.ext.group import USER_LABEL
from outrider.kube.selectors import parse_labels


def matches(user: str, labels: dict[str, str]) -> bool:
    return parse_labels(owned_by(user)).matches(labels)


def test_a_user_sees_their_own() -> None:
    assert matches("user-1", {USER_LABEL: "user-1"})
    assert not matches("user-1", {USER_LABEL: "user-2"})
    assert not matches("user-1", {})


@pytest.mark.parametrize(
    "user", ["system:serviceaccount:kube-system:generic-garbage-collector", "x" * 64, "a,b"]
)
def test_whose_name_no_label_holds_sees_nothing_and_is_not_refused(user: str) -> None:
    for labels in ({}, {USER_LABEL: ""}, {USER_LABEL: "user-1"}):
        assert not matches(user, labels)
