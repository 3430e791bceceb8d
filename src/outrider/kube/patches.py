"""Merge patches (RFC 7386, RFC 7396)."""

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


def merged(old: Any, patch: Any) -> Any:
    """What a merge patch makes of `old`."""
    if not isinstance(patch, dict):
        return patch
    held = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            held.pop(key, None)
        else:
            held[key] = merged(held.get(key), value)
    return held
