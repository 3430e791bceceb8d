"""What a row holds at a path: cells and state as well as the fields of the object; pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from outrider.apis.state import State
from outrider.facade.v1 import paths
from outrider.facade.v1.heads import state_in
from outrider.facade.v1.matching import number, text_of
from outrider.facade.v1.paths import Path
from outrider.kube.meta import ObjectKey
from outrider.kube.table import Column, Row

_AGE: Final = re.compile(r"(?:(\d+)y)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
AGE: Final = "Age"
"""The column that tells how old an object is."""

_YEAR, _DAY, _HOUR, _MINUTE = 31_536_000, 86_400, 3_600, 60
_NONE: Final = (1, "")
_SPANS: Final = (
    (8 * _YEAR, (_YEAR, "y"), _NONE),
    (2 * _YEAR, (_YEAR, "y"), (_DAY, "d")),
    (8 * _DAY, (_DAY, "d"), _NONE),
    (2 * _DAY, (_DAY, "d"), (_HOUR, "h")),
    (8 * _HOUR, (_HOUR, "h"), _NONE),
    (3 * _HOUR, (_HOUR, "h"), (_MINUTE, "m")),
    (10 * _MINUTE, (_MINUTE, "m"), _NONE),
    (2 * _MINUTE, (_MINUTE, "m"), (1, "s")),
)
"""From how many seconds on: the unit that is told, and the one of what is left."""

_UNITS: Final = (31_536_000, 86_400, 3_600, 60, 1)


@dataclass(frozen=True, slots=True)
class Entry:
    """One row as it came: key, cells, the object as JSON, and when that was created, as it says."""

    key: ObjectKey
    cells: tuple[Any, ...]
    data: bytes | msgspec.Raw
    created: str = ""


class _Meta(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    creation_timestamp: str | None = None


class _Named(msgspec.Struct):
    metadata: _Meta = msgspec.field(default_factory=_Meta)


_NAMED: Final = msgspec.json.Decoder(_Named)


def entry_of(row: Row) -> Entry:
    """The entry of a row; what has no name has an empty one."""
    try:
        meta = _NAMED.decode(row.object).metadata
    except msgspec.MsgspecError:
        meta = _Meta()
    key = ObjectKey(meta.namespace, meta.name)
    return Entry(key, row.cells, row.object, meta.creation_timestamp or "")


Read = Callable[[Entry], Any]
"""What an entry holds at one path."""


def reader(path: Path, columns: Sequence[Column], now: Callable[[], datetime]) -> Read:
    """How to read a path."""
    beside = _BESIDE.get(path)
    if beside is not None:
        return beside
    match path:
        case ("metadata", "fields", index) if index.isdecimal():
            return _cell(int(index), columns)
        case ("metadata", "state", field):
            return lambda entry: state_fields(state_in(entry.data, now())).get(field)
        case _:
            return lambda entry: paths.dig(entry.data, path)


_BESIDE: Final[Mapping[Path, Read]] = {
    ("id",): lambda entry: str(entry.key),
    ("metadata", "name"): lambda entry: entry.key.name,
    ("metadata", "namespace"): lambda entry: entry.key.namespace or None,
    ("metadata", "creationTimestamp"): lambda entry: entry.created or None,
}
"""What an entry holds beside its object."""


def needs_object(path: Path) -> bool:
    """Whether what is at a path is in the object itself; key, age and cells are beside it."""
    return path not in _BESIDE and not (path[:2] == ("metadata", "fields") and path[-1].isdecimal())


def _cell(index: int, columns: Sequence[Column]) -> Read:
    """A column's cell; where it is the age, the moment itself, which does not change by waiting."""
    if index < len(columns) and columns[index].name == AGE:
        return lambda entry: entry.created or None
    if index < len(columns) and columns[index].type == "date":
        return lambda entry: _moment(entry.cells[index]) if index < len(entry.cells) else None
    return lambda entry: entry.cells[index] if index < len(entry.cells) else None


def state_fields(state: State) -> dict[str, Any]:
    """`metadata.state`."""
    return {
        "name": state.name,
        "error": state.error,
        "transitioning": state.transitioning,
        "message": state.message,
    }


def _moment(cell: Any) -> Any:
    """A number that orders ages (`3d4h`) by when they began; anything else as it is."""
    found = _AGE.fullmatch(cell) if isinstance(cell, str) else None
    if found is None or not cell:
        return cell
    return -sum(int(part) * unit for part, unit in zip(found.groups(), _UNITS, strict=True) if part)


def aged(entry: Entry, columns: Sequence[Column], now: datetime) -> tuple[Any, ...]:
    """The cells of an entry that was read a while ago: those that tell its age tell it as it is now."""
    if not any(column.name == AGE for column in columns):
        return entry.cells
    try:
        age = human((now - datetime.fromisoformat(entry.created)).total_seconds())
    except (TypeError, ValueError):
        return entry.cells
    return tuple(
        age if index < len(columns) and columns[index].name == AGE else cell
        for index, cell in enumerate(entry.cells)
    )


def human(seconds: float) -> str:
    """A time as `kubectl get` tells it: the larger unit, and the next smaller one while that matters."""
    whole = max(0, int(seconds))
    for least, (large, unit), (small, rest) in _SPANS:
        if whole >= least:
            amount = whole // large
            left = whole % large // small if rest else 0
            return f"{amount}{unit}" + (f"{left}{rest}" if left else "")
    return f"{whole}s"


def rank(value: Any) -> tuple[int, float, str]:
    """What orders values: nothing, then numbers, then text."""
    if isinstance(value, list):
        value = ",".join(map(text_of, value))
    if value is None or value == "":
        return (0, 0.0, "")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (1, number(value) or 0.0, "")
    return (2, 0.0, text_of(value))
