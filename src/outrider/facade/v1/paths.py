"""Fields of objects by their path: `metadata.labels[app.kubernetes.io/name]`, `spec.containers.image`; pure.

An object is read as far as the path goes: what lies beside it stays JSON.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

Path = tuple[str, ...]

MAX_LENGTH: Final = 512
MAX_DEPTH: Final = 16

_PART: Final = re.compile(r"""\.?([^.\[\]]+)|\[(?:"([^"]*)"|'([^']*)'|([^\[\]]*))\]""")
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_OBJECT, _ARRAY = ord("{"), ord("[")


def parse(text: str) -> Path:
    """The parts of a path. Raises ValueError for what is none."""
    parts: list[str] = []
    at = 0
    while at < len(text):
        found = _PART.match(text, at)
        if found is None or len(text) > MAX_LENGTH or len(parts) >= MAX_DEPTH:
            raise ValueError(f"{text[:80]!r} is no path of a field")
        parts.append(next(part for part in found.groups() if part is not None))
        at = found.end()
    if not parts:
        raise ValueError("the path of a field is empty")
    return tuple(parts)


def members(data: bytes | msgspec.Raw) -> dict[str, Any]:
    """The members of a JSON object, each as JSON; none where it is no object."""
    try:
        return _MEMBERS.decode(data)
    except msgspec.MsgspecError:
        return {}


def dig(data: bytes | msgspec.Raw, path: Sequence[str]) -> Any:
    """What JSON holds at a path; of arrays, what their entries hold, in a list. None where there is nothing."""
    for depth, part in enumerate(path):
        first = memoryview(data)[0]
        if first == _ARRAY:
            return follow(msgspec.json.decode(data), path[depth:])
        if first != _OBJECT:
            return None
        found = members(data).get(part)
        if found is None:
            return None
        data = found
    return msgspec.json.decode(data)


def follow(value: Any, path: Sequence[str]) -> Any:
    """The same in plain values."""
    for depth, part in enumerate(path):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal():
            value = value[int(part)] if int(part) < len(value) else None
        elif isinstance(value, list):
            found = [follow(entry, path[depth:]) for entry in value]
            return [leaf for one in found for leaf in (one if isinstance(one, list) else [one])]
        else:
            return None
    return value


def without(value: Any, path: Sequence[str]) -> Any:
    """A value, JSON or plain, without what it holds at a path."""
    held = _opened(value)
    if not isinstance(held, dict) or path[0] not in held:
        return value
    rest = dict(held)
    if len(path) == 1:
        del rest[path[0]]
    else:
        rest[path[0]] = without(rest[path[0]], path[1:])
    return rest


def emptied(value: Any, path: Sequence[str]) -> Any:
    """A value in which the values of the map at a path are empty text; its keys stay."""
    held = _opened(value)
    if not isinstance(held, dict):
        return value
    if not path:
        return dict.fromkeys(held, "")
    if path[0] not in held:
        return value
    return held | {path[0]: emptied(held[path[0]], path[1:])}


def only(value: Any, paths: Sequence[Sequence[str]]) -> dict[str, Any]:
    """What a value holds at some paths, and nothing else."""
    held = _opened(value)
    kept: dict[str, Any] = {}
    if not isinstance(held, dict):
        return kept
    for name in dict.fromkeys(path[0] for path in paths if path):
        if name not in held:
            continue
        below = [path[1:] for path in paths if path and path[0] == name]
        kept[name] = held[name] if any(not path for path in below) else only(held[name], below)
    return kept


def _opened(value: Any) -> Any:
    if isinstance(value, msgspec.Raw):
        return members(value) if memoryview(value)[0] == _OBJECT else None
    return value
