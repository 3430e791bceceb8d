"""Lists that are filtered, put in order and cut, against an oracle that does it the plain way."""

from __future__ import annotations

import asyncio
import functools
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.facade.v1 import query as queries
from outrider.facade.v1.query import Query
from outrider.facade.v1.rows import Bundle, Rows
from outrider.facade.v1.select import CHUNK, SMALL, Where, select, summarize
from outrider.kube.meta import ObjectKey
from outrider.kube.table import Column, Row

NOW = datetime(2026, 6, 1, tzinfo=UTC)
COLUMNS = (Column("Name"), Column("Size", type="integer"))
WORDS = ("red", "blue", "Reddish", "", "7", "12")

OBJECTS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from("abcdefgh"),
            "namespace": st.sampled_from(("one", "two", "three")),
            "color": st.sampled_from(WORDS) | st.none(),
            "size": st.integers(-3, 12),
            "tags": st.lists(st.sampled_from(WORDS), max_size=2),
        }
    ),
    unique_by=lambda one: (one["namespace"], one["name"]),
    max_size=24,
)
FIELDS = (
    "spec.color",
    "spec.size",
    "spec.tags",
    "metadata.name",
    "metadata.namespace",
    "metadata.fields[1]",
    "id",
)
FILTERS = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from(FIELDS),
            st.sampled_from(("=", "!=", "in", "notin", "<", ">")),
            st.sampled_from(WORDS),
        ),
        min_size=1,
        max_size=2,
    ),
    max_size=2,
)
SORTS = st.lists(st.tuples(st.sampled_from(FIELDS), st.booleans()), max_size=3)


def native(one: dict[str, Any]) -> dict[str, Any]:
    spec = {name: one[name] for name in ("color", "size", "tags") if one[name] is not None}
    return {"metadata": {"name": one["name"], "namespace": one["namespace"]}, "spec": spec}


def rows_of(objects: list[dict[str, Any]]) -> Rows:
    rows = Rows(COLUMNS, lambda: NOW)
    made = [
        Row(object=msgspec.Raw(msgspec.json.encode(native(one))), cells=(one["name"], one["size"]))
        for one in objects
    ]
    rows.add(Bundle(made, ()))
    return rows


def held(one: dict[str, Any], field: str) -> Any:
    return {
        "spec.color": one["color"],
        "spec.size": one["size"],
        "spec.tags": one["tags"],
        "metadata.name": one["name"],
        "metadata.namespace": one["namespace"],
        "metadata.fields[1]": one["size"],
        "id": f"{one['namespace']}/{one['name']}",
    }[field]


def text(value: Any) -> str:
    return "" if value is None else str(value)


def oracle_passes(one: dict[str, Any], field: str, sign: str, value: str) -> bool:
    found = held(one, field)
    entries = found if isinstance(found, list) else [found]
    if sign in ("=", "!="):
        return any(value.lower() in text(entry).lower() for entry in entries) is (sign == "=")
    if sign in ("in", "notin"):
        return any(text(entry) == value for entry in entries) is (sign == "in")
    numbers = [float(text(entry)) for entry in entries if text(entry).lstrip("-").isdigit()]
    bound = float(value)
    return any(number < bound if sign == "<" else number > bound for number in numbers)


def oracle_compare(one: dict[str, Any], other: dict[str, Any], sorts: list[tuple[str, bool]]) -> int:
    for field, descending in sorts:
        a, b = (place(held(each, field)) for each in (one, other))
        if a != b:
            return -1 if (a < b) is not descending else 1
    a, b = ((each["namespace"], each["name"]) for each in (one, other))
    return (a > b) - (a < b)


def place(value: Any) -> tuple[int, float, str]:
    if isinstance(value, list):
        value = ",".join(value)
    if value in (None, ""):
        return (0, 0, "")
    return (1, value, "") if isinstance(value, int) else (2, 0, value)


def written(alternatives: list[tuple[str, str, str]]) -> str:
    return ",".join(
        f"{field} {sign} ({value})" if sign in ("in", "notin") else f"{field}{sign}{value}"
        for field, sign, value in alternatives
    )


def sensible(groups: list[list[tuple[str, str, str]]]) -> list[list[tuple[str, str, str]]]:
    return [
        [(f, "=" if sign in "<>" and not value.isdigit() else sign, value) for f, sign, value in group]
        for group in groups
    ]


@given(OBJECTS, FILTERS.map(sensible), SORTS, st.integers(0, 5), st.integers(1, 4))
def test_pages_are_what_the_oracle_says(
    objects: list[dict[str, Any]],
    groups: list[list[tuple[str, str, str]]],
    sorts: list[tuple[str, bool]],
    pagesize: int,
    page: int,
) -> None:
    pairs = [("filter", written(group)) for group in groups]
    pairs += [("sort", ",".join("-" * descending + field for field, descending in sorts))]
    pairs += [("pagesize", str(pagesize)), ("page", str(page))]
    query = queries.parse(pairs)
    expected = [
        one for one in objects if all(any(oracle_passes(one, *each) for each in group) for group in groups)
    ]
    expected.sort(key=functools.cmp_to_key(lambda a, b: oracle_compare(a, b, sorts)))
    rows = rows_of(objects)
    numbers = asyncio.run(select(rows, query.selection, Where()))
    ids = [str(rows.key(number)) for number in numbers]
    assert ids == [f"{one['namespace']}/{one['name']}" for one in expected]
    start, size = query.window
    assert (start, size) == ((page - 1) * pagesize, pagesize)


@given(OBJECTS, OBJECTS)
def test_rows_follow_changes(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> None:
    async def run() -> None:
        rows = rows_of(before)
        by_color = queries.parse([("sort", "spec.color"), ("filter", "spec.size>0")]).selection
        await select(rows, by_color, Where())
        kept = {(one["namespace"], one["name"]) for one in after}
        for one in before:
            if (one["namespace"], one["name"]) not in kept:
                rows.remove(ObjectKey(one["namespace"], one["name"]))
        for one in after:
            raw = msgspec.Raw(msgspec.json.encode(native(one)))
            rows.add(Bundle([Row(object=raw, cells=(one["name"], one["size"]))], ()))
        fresh = rows_of(after)
        found = [rows.key(number) for number in await select(rows, by_color, Where())]
        assert found == [fresh.key(number) for number in await select(fresh, by_color, Where())]
        assert len(rows) == len(after)
        for number in rows.numbers():
            entry = rows.entry(number)
            assert entry is not None
            assert entry.data in [msgspec.json.encode(native(one)) for one in after]

    asyncio.run(run())


@pytest.mark.parametrize("count", [2 * CHUNK + 100, SMALL + 100])
async def test_more_rows_than_one_turn_takes_are_in_order_too(count: int) -> None:
    objects = [
        {"name": f"n{number * 7919 % 100003:06}", "namespace": "one", "color": WORDS[number % 6], "size": number % 11,
         "tags": []}
        for number in range(count)
    ]  # fmt: skip
    rows = rows_of(objects)
    query = queries.parse([("sort", "-spec.size,metadata.name")])
    found = [rows.key(number) for number in await select(rows, query.selection, Where())]
    expected = sorted(objects, key=lambda one: (-one["size"], one["name"]))
    assert [key.name for key in found if key is not None] == [one["name"] for one in expected]


async def test_namespaces_and_summaries() -> None:
    objects = [
        {"name": name, "namespace": namespace, "color": color, "size": 1, "tags": ["red", "blue"]}
        for name, namespace, color in (("a", "one", "red"), ("b", "two", "red"), ("c", "three", None))
    ]
    rows = rows_of(objects)
    among = await select(rows, Query().selection, Where(among=("one", "two"), apart=("two",)))
    assert [str(rows.key(number)) for number in among] == ["one/a"]
    everything = await select(rows, Query().selection, Where())
    found = await summarize(rows, everything, [("spec", "color"), ("spec", "tags")])
    assert found == [
        {"property": "spec.color", "counts": {"red": 2}},
        {"property": "spec.tags", "counts": {"red": 3, "blue": 3}},
    ]
