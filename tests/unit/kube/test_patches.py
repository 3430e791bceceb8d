"""Merge patches make of the old what the new is."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from outrider.kube.patches import merge_patch

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


def apply(target: Any, patch: Any) -> Any:
    """RFC 7386, section 2, to the letter."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = apply(result.get(key), value)
    return result


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    return value


@given(JSON, JSON)
def test_merge_patches_do_what_they_should(old: Any, new: Any) -> None:
    old, new = without_nulls(old), without_nulls(new)
    assert apply(old, merge_patch(old, new)) == new
    assert old != new or not isinstance(old, dict) or merge_patch(old, new) == {}
