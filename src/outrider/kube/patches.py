"""Merge patches (RFC 7386)."""

from typing import Any


def merge_patch(old: Any, new: Any) -> Any:
    """The merge patch that makes `new` of `old`."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    removed: dict[str, Any] = dict.fromkeys(old.keys() - new.keys())
    changed = {
        key: merge_patch(old.get(key), value)
        for key, value in new.items()
        if key not in old or old[key] != value
    }
    return removed | changed
