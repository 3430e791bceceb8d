"""Paths of fields: read from text, followed in JSON and in plain values alike."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.facade.v1.paths import MAX_DEPTH, dig, emptied, follow, only, parse, without

OBJECT: dict[str, Any] = {
    "metadata": {"name": "a", "labels": {"app.kubernetes.io/name": "web", "x": "y"}},
    "spec": {"containers": [{"image": "one", "ports": [1, 2]}, {"image": "two"}], "on": True},
    "empty": None,
}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("metadata.name", ("metadata", "name")),
        ("metadata.labels[app.kubernetes.io/name]", ("metadata", "labels", "app.kubernetes.io/name")),
        ('metadata.labels["a.b"].c', ("metadata", "labels", "a.b", "c")),
        ("metadata.fields[3]", ("metadata", "fields", "3")),
        ("id", ("id",)),
    ],
)
def test_paths_are_read(text: str, path: tuple[str, ...]) -> None:
    assert parse(text) == path


@pytest.mark.parametrize(
    "text", ["", ".", "a..b", "a[", "a]", "a.", ".".join("a" * (MAX_DEPTH + 1)), "a" * 600]
)
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="path"):
        parse(text)


@pytest.mark.parametrize(
    ("path", "held"),
    [
        ("metadata.labels[app.kubernetes.io/name]", "web"),
        ("spec.containers.image", ["one", "two"]),
        ("spec.containers.ports", [1, 2, None]),
        ("spec.containers[1].image", "two"),
        ("spec.containers[7].image", None),
        ("spec.on", True),
        ("spec.on.more", None),
        ("empty", None),
        ("absent.more", None),
    ],
)
def test_what_is_at_a_path(path: str, held: Any) -> None:
    parts = parse(path)
    assert follow(OBJECT, parts) == held
    assert dig(msgspec.json.encode(OBJECT), parts) == held


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc01"), inner, max_size=3),
    max_leaves=12,
)


@given(JSON, st.lists(st.sampled_from("abc01"), min_size=1, max_size=4))
def test_json_and_plain_values_hold_the_same(value: Any, path: list[str]) -> None:
    assert dig(msgspec.json.encode(value), path) == follow(value, path)


def test_parts_are_left_out_emptied_and_picked() -> None:
    raw = msgspec.Raw(msgspec.json.encode(OBJECT))

    def plain(value: Any) -> Any:
        return msgspec.json.decode(msgspec.json.encode(value))

    for value in (OBJECT, raw):
        assert "labels" not in plain(without(value, ("metadata", "labels")))["metadata"]
        assert plain(without(value, ("absent", "x"))) == OBJECT
        assert plain(emptied(value, ("metadata", "labels")))["metadata"]["labels"] == {
            "app.kubernetes.io/name": "", "x": "",
        }  # fmt: skip
        assert plain(only(value, [("metadata", "name"), ("spec", "on"), ("no",)])) == {
            "metadata": {"name": "a"}, "spec": {"on": True},
        }  # fmt: skip
