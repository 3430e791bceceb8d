"""Filters, order and pages."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outrider.apis.norman import NormanError
from outrider.apis.views.query import parse, select

FIELDS = ("id", "name", "internal", "driver", "removed", "count", "labels", "tags", "clusterId", "state")
ROW: dict[str, Any] = {
    "id": "c-1",
    "name": "prod",
    "internal": False,
    "driver": None,
    "count": 3,
    "labels": {"a": "b"},
    "tags": ["x", "y"],
    "state": "active",
}


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ([], True),
        ([("name", "prod")], True),
        ([("name", "other")], False),
        ([("name", "prod"), ("name", "other")], False),
        ([("state_ne", "removing"), ("state_ne", "inactive")], True),
        ([("state_ne", "active")], False),
        ([("internal", "false")], True),
        ([("internal", "true")], False),
        ([("driver", "")], True),
        ([("name", "")], False),
        ([("removed_null", "1")], True),
        ([("removed_notnull", "1")], False),
        ([("name_null", "1")], False),
        ([("name_notnull", "1")], True),
        ([("labels_notnull", "1"), ("labels", "x")], True),
        ([("labels_null", "1")], False),
        ([("name_prefix", "pr")], True),
        ([("name_like", "%RO%")], True),
        ([("name_notlike", "%RO%")], False),
        ([("name_in", "dev, prod")], True),
        ([("name_notin", "dev,prod")], False),
        ([("count_gt", "2"), ("count_lte", "3")], True),
        ([("count_lt", "3")], False),
        ([("count_gt", "many")], False),
        ([("tags", "x")], True),
        ([("tags_ne", "x")], False),
        ([("tags_null", "1")], False),
        ([("unknown", "x"), ("unknown_ne", "x"), ("limit", "-1"), ("system", "false")], True),
    ],
)
def test_filters(query: list[tuple[str, str]], kept: bool) -> None:
    assert (select(parse(query, FIELDS), [ROW]).rows == [ROW]) is kept


@pytest.mark.parametrize("pair", [("limit", "many"), ("marker", "***"), ("marker", "bm8")])
def test_what_makes_no_sense_is_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(NormanError) as refused:
        parse([pair], FIELDS)
    assert (refused.value.status, refused.value.field) == (422, pair[0])


@settings(deadline=None)
@given(
    names=st.lists(st.text(st.sampled_from("abAB-"), max_size=3), max_size=30),
    limit=st.integers(1, 7),
    order=st.sampled_from(("asc", "desc")),
    sort=st.sampled_from(("", "name", "count", "id")),
)
def test_pages_show_each_once_and_in_order(names: list[str], limit: int, order: str, sort: str) -> None:
    rows = [{"id": f"{number:02}", "name": name, "count": -number} for number, name in enumerate(names)]
    base = [("limit", str(limit)), ("order", order), ("sort", sort)]
    whole = select(parse([*base[1:], ("limit", "-1")], FIELDS), rows).rows
    seen: list[Any] = []
    marker = ""
    for _ in range(len(rows) + 1):
        page = select(parse([*base, ("marker", marker)], FIELDS), rows)
        assert page.total == len(rows)
        assert len(page.rows) <= limit
        seen += page.rows
        marker = page.marker
        if not marker:
            break
    assert seen == whole
    assert {row["id"] for row in seen} == {row["id"] for row in rows}


def test_a_page_goes_on_behind_what_was_deleted() -> None:
    rows = [{"id": name, "name": name} for name in "abcdef"]
    first = select(parse([("limit", "2")], FIELDS), rows)
    left = [row for row in rows if row["id"] != "b"]
    rest = select(parse([("limit", "2"), ("marker", first.marker)], FIELDS), left)
    assert [row["id"] for row in rest.rows] == ["c", "d"]


def test_numbers_sort_as_numbers() -> None:
    rows = [{"id": str(n), "count": n} for n in (10, 9, 100)]
    assert [row["count"] for row in select(parse([("sort", "count")], FIELDS), rows).rows] == [9, 10, 100]
