"""What the environment says of features at start."""

from __future__ import annotations

import logging

import pytest

from outrider.server.defaults import feature_overrides


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", {}),
        ("scim=true", {"scim": True}),
        (" scim = true , legacy=false,", {"scim": True, "legacy": False}),
        ("auth=true,dashboard=false", {}),
        ("nonsense=true,scim=maybe,scim", {}),
    ],
)
def test_overrides(text: str, wanted: dict[str, bool]) -> None:
    assert feature_overrides(text) == wanted


def test_what_is_passed_over_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        feature_overrides("nonsense=true,ui-sql-cache=true")
    assert [record.getMessage().count("nonsense") for record in caplog.records] == [1]
