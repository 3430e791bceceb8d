"""Rows of one list in memory: packed objects, and of their fields those that somebody asked for.

Objects lie in compressed blocks of a few. An order over all of them needs one value of each; a page needs the objects
that are on it, and no others.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from outrider.facade.v1.paths import Path
from outrider.facade.v1.turns import Turn
from outrider.facade.v1.values import Entry, Read, entry_of, needs_object, reader
from outrider.kube.meta import ObjectKey
from outrider.kube.table import Column, Row

BLOCK: Final = 8
"""Objects that are packed together: more pack better, fewer are quicker to get at one by one."""

_LEVEL: Final = 1
_SEPARATOR: Final = b"\0"  # JSON has none
_UNREAD: Final = object()


class Packed:
    """A few objects, compressed."""

    __slots__ = ("_data",)

    def __init__(self, objects: Iterable[bytes | msgspec.Raw]) -> None:
        self._data = zlib.compress(_SEPARATOR.join(objects), _LEVEL)

    def objects(self) -> list[bytes]:
        """The objects."""
        return zlib.decompress(self._data).split(_SEPARATOR)

    def __len__(self) -> int:
        return len(self._data)


class _Slot:
    """Where a row is."""

    __slots__ = ("at", "cells", "created", "key", "packed")

    def __init__(self, entry: Entry, packed: Packed, at: int) -> None:
        self.key = entry.key
        self.cells = entry.cells
        self.created = entry.created
        self.packed = packed
        self.at = at


class Bundle:
    """A page of rows, packed, with the values that were asked for; made in a thread, added on the event loop."""

    __slots__ = ("size", "slots", "values")

    def __init__(self, rows: Sequence[Row], reads: Sequence[Read]) -> None:
        self.slots: list[_Slot] = []
        self.values: list[list[Any]] = [[] for _ in reads]
        self.size = 0
        for start in range(0, len(rows), BLOCK):
            part = rows[start : start + BLOCK]
            packed = Packed(row.object for row in part)
            self.size += len(packed)
            for at, row in enumerate(part):
                entry = entry_of(row)
                self.slots.append(_Slot(entry, packed, at))
                for values, read in zip(self.values, reads, strict=True):
                    values.append(read(entry))


class Rows:
    """All rows, each at a number that it keeps; numbers of rows that are gone are not used again.

    `version` grows with every change. `size` is about what the objects take, in bytes. `in_order` is a place to keep
    the numbers in the order of the rows' keys, with the version that this was.
    """

    def __init__(self, columns: tuple[Column, ...], now: Callable[[], datetime]) -> None:
        self.columns = columns
        self.version = 0
        self.size = 0
        self.in_order: tuple[int, Sequence[int]] | None = None
        self._now = now
        self._slots: list[_Slot | None] = []
        self._numbers: dict[ObjectKey, int] = {}
        self._values: dict[Path, list[Any]] = {}
        self._pool: dict[Any, Any] = {}
        self._open: tuple[Packed, list[bytes]] | None = None

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def span(self) -> int:
        """How many numbers were given out."""
        return len(self._slots)

    def numbers(self) -> Iterator[int]:
        """The numbers of all rows, in the order in which they came."""
        return iter(self._numbers.values())

    def key(self, number: int) -> ObjectKey | None:
        """The key of a row, None when it is gone."""
        slot = self._slots[number]
        return slot.key if slot is not None else None

    def entry(self, number: int) -> Entry | None:
        """A row with its object, None when it is gone."""
        slot = self._slots[number]
        if slot is None:
            return None
        if self._open is None or self._open[0] is not slot.packed:
            self._open = (slot.packed, slot.packed.objects())
        return Entry(slot.key, slot.cells, self._open[1][slot.at], slot.created)

    def _outside(self, number: int) -> Entry | None:
        """A row without its object."""
        slot = self._slots[number]
        return Entry(slot.key, slot.cells, b"", slot.created) if slot is not None else None

    def close(self) -> None:
        """Drops what is unpacked."""
        self._open = None

    def reads(self, paths: Iterable[Path]) -> list[Read]:
        """How the fields at some paths are read."""
        return [reader(path, self.columns, self._now) for path in paths]

    def add(self, bundle: Bundle, paths: Sequence[Path] = ()) -> None:
        """Takes rows in; of those with a key that is known, the new one stays."""
        for path in paths:
            self._values.setdefault(path, [_UNREAD] * len(self._slots))
        at = dict(zip(paths, bundle.values, strict=True))
        for index, slot in enumerate(bundle.slots):
            self.remove(slot.key)
            slot.cells = self._shared(slot.cells)
            self._numbers[slot.key] = len(self._slots)
            self._slots.append(slot)
            for path, values in self._values.items():
                values.append(at[path][index] if path in at else _UNREAD)
        self.size += bundle.size
        self.version += 1

    def remove(self, key: ObjectKey) -> None:
        """Drops a row, if it is there."""
        number = self._numbers.pop(key, None)
        if number is not None:
            self._slots[number] = None
            for values in self._values.values():
                values[number] = None
            self.version += 1

    async def values(self, path: Path, turn: Turn) -> Sequence[Any]:
        """What all rows hold at a path, by their numbers."""
        values = self._values.get(path)
        if values is None:
            values = self._values[path] = [_UNREAD] * len(self._slots)
        (read,) = self.reads((path,))
        look = self.entry if needs_object(path) else self._outside
        for number in range(len(values)):
            if values[number] is _UNREAD:
                entry = look(number)
                values[number] = read(entry) if entry is not None else None
                if turn.over:
                    await turn.next()
        return values

    def _shared(self, cells: tuple[Any, ...]) -> tuple[Any, ...]:
        """The same cells, with the values that others have as well."""
        pool = self._pool
        return tuple(pool.setdefault(cell, cell) if isinstance(cell, str) else cell for cell in cells)
