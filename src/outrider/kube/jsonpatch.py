"""JSON patches (RFC 6902), applied to plain values."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

MAX_OPERATIONS = 1000


class PatchError(ValueError):
    """A patch that is malformed or does not fit; the message says which operation and why."""


def patched(document: Any, operations: Any) -> Any:
    """What the operations make of the document, which stays as it is. Raises PatchError."""
    if not isinstance(operations, list) or len(operations) > MAX_OPERATIONS:
        raise PatchError(f"a JSON patch is a list of at most {MAX_OPERATIONS} operations")
    held = {"": copy.deepcopy(document)}
    for number, operation in enumerate(operations):
        try:
            _apply(held, operation)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise PatchError(f"operation {number} of the JSON patch: {_reason(error)}") from None
    return held[""]


def _apply(held: dict[str, Any], operation: Any) -> None:
    if not isinstance(operation, dict):
        raise TypeError("it is not an object")
    path = _pointer(operation.get("path"))
    match operation.get("op"):
        case "add":
            _add(held, path, copy.deepcopy(operation["value"]))
        case "replace":
            _found(held, path)
            _remove(held, path, keep_root=True)
            _add(held, path, copy.deepcopy(operation["value"]))
        case "remove":
            _remove(held, path)
        case "test":
            if _found(held, path) != operation["value"]:
                raise ValueError("the test failed")
        case "copy":
            _add(held, path, copy.deepcopy(_found(held, _pointer(operation.get("from")))))
        case "move":
            origin = _pointer(operation.get("from"))
            if path[: len(origin)] == origin and path != origin:
                raise ValueError("a value cannot be moved into itself")
            value = _found(held, origin)
            _remove(held, origin)
            _add(held, path, value)
        case other:
            raise ValueError(f"{other!r} is no operation")


def _pointer(text: Any) -> list[str]:
    """The steps of a JSON pointer (RFC 6901) below the holder of the document, whose key is empty."""
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise ValueError("a path begins with /")
    return [step.replace("~1", "/").replace("~0", "~") for step in text.split("/")]


def _found(held: Any, path: Sequence[str]) -> Any:
    value = held
    for step in path:
        value = value[_index(value, step)] if isinstance(value, list) else _member(value, step)
    return value


def _member(value: Any, step: str) -> Any:
    if not isinstance(value, dict):
        raise TypeError("there is nothing at its path")
    return value[step]


def _index(value: list[Any], step: str, *, end: bool = False) -> int:
    if end and step == "-":
        return len(value)
    if not step.isascii() or not step.isdigit() or (step != "0" and step.startswith("0")):
        raise ValueError(f"{step!r} is no index of a list")
    index = int(step)
    if index > len(value) - (0 if end else 1):
        raise IndexError(f"the list has no place {step}")
    return index


def _add(held: Any, path: Sequence[str], value: Any) -> None:
    parent, step = _found(held, path[:-1]), path[-1]
    if isinstance(parent, list):
        parent.insert(_index(parent, step, end=True), value)
    elif isinstance(parent, dict):
        parent[step] = value
    else:
        raise TypeError("there is nothing to add to at its path")


def _remove(held: Any, path: Sequence[str], *, keep_root: bool = False) -> None:
    if len(path) == 1:
        if not keep_root:
            raise ValueError("the whole document cannot be removed")
        return
    parent, step = _found(held, path[:-1]), path[-1]
    if isinstance(parent, list):
        del parent[_index(parent, step)]
    else:
        _member(parent, step)
        del parent[step]


def _reason(error: Exception) -> str:
    return f"there is no {error}" if isinstance(error, KeyError) else str(error)
