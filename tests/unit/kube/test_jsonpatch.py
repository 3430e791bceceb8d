"""JSON patches: the RFC's own cases (RFC 6902, appendix A), and that nothing else gets through."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.kube.jsonpatch import PatchError, patched

GOOD: list[tuple[Any, list[dict[str, Any]], Any]] = [
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"foo": "bar", "baz": "qux"}),
    (
        {"foo": ["bar", "baz"]},
        [{"op": "add", "path": "/foo/1", "value": "qux"}],
        {"foo": ["bar", "qux", "baz"]},
    ),
    ({"a": 1, "b": 2}, [{"op": "remove", "path": "/a"}], {"b": 2}),
    ({"foo": [1, 2, 3]}, [{"op": "remove", "path": "/foo/1"}], {"foo": [1, 3]}),
    ({"a": 1}, [{"op": "replace", "path": "/a", "value": 2}], {"a": 2}),
    ({"a": {"b": 1}, "c": {}}, [{"op": "move", "from": "/a/b", "path": "/c/d"}], {"a": {}, "c": {"d": 1}}),
    ({"foo": [1, 2]}, [{"op": "move", "from": "/foo/0", "path": "/foo/1"}], {"foo": [2, 1]}),
    ({"a": [1]}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": [1], "b": [1]}),
    ({"foo": [1]}, [{"op": "add", "path": "/foo/-", "value": [2]}], {"foo": [1, [2]]}),
    ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
    ({"a": 1}, [{"op": "replace", "path": "", "value": {"b": 2}}], {"b": 2}),
    ({"a": 1}, [{"op": "add", "path": "", "value": [1]}], [1]),
]


@pytest.mark.parametrize(("document", "operations", "expected"), GOOD)
def test_operations(document: Any, operations: list[dict[str, Any]], expected: Any) -> None:
    before = copy.deepcopy(document)
    assert patched(document, operations) == expected
    assert document == before


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/a", "value": 2},
        {"op": "remove", "path": "/b"},
        {"op": "replace", "path": "/b", "value": 1},
        {"op": "add", "path": "/b/c", "value": 1},
        {"op": "add", "path": "/l/5", "value": 1},
        {"op": "add", "path": "/l/01", "value": 1},
        {"op": "add", "path": "/l/x", "value": 1},
        {"op": "add", "path": "/a"},
        {"op": "add", "path": "/a/b", "value": 1},
        {"op": "move", "from": "/o", "path": "/o/x"},
        {"op": "remove", "path": ""},
        {"op": "dance", "path": "/a"},
        {"op": "add", "path": "a", "value": 1},
        {"op": "add", "value": 1},
        "remove",
    ],
)
def test_what_does_not_fit(operation: Any) -> None:
    with pytest.raises(PatchError, match="operation 0"):
        patched({"a": 1, "l": [1], "o": {"x": 1}}, [operation])


def test_no_list_and_too_many() -> None:
    for operations in ({"op": "add"}, None, [{"op": "test", "path": "", "value": 1}] * 1001):
        with pytest.raises(PatchError):
            patched(1, operations)


VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=4), lambda inner: st.lists(inner, max_size=3)
)


@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=5), st.text(max_size=5), VALUES)
def test_what_is_added_is_there(document: dict[str, Any], key: str, value: Any) -> None:
    path = "/" + key.replace("~", "~0").replace("/", "~1")
    changed = patched(document, [{"op": "add", "path": path, "value": value}])
    assert changed == document | {key: value}
    assert patched(changed, [{"op": "remove", "path": path}]) == {
        name: held for name, held in document.items() if name != key
    }
