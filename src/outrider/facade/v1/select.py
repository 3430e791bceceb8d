"""From a selection to the numbers of rows: filters, namespaces, order. In turns, so that nothing else waits."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from outrider.facade.v1.filters import Alternatives
from outrider.facade.v1.matching import text_of
from outrider.facade.v1.paths import Path
from outrider.facade.v1.query import Selection
from outrider.facade.v1.rows import Rows
from outrider.facade.v1.turns import Turn
from outrider.facade.v1.values import rank

CHUNK: Final = 5000
"""Rows that are put in order in one turn."""

SMALL: Final = 20_000
"""Rows up to which parts that are in order are put together in one turn, too."""


@dataclass(frozen=True)
class Where:
    """The namespaces that a list is narrowed to (None: all), and those that are left out."""

    among: Collection[str] | None = None
    apart: Collection[str] = ()

    def holds(self, namespace: str) -> bool:
        """Whether objects of a namespace are shown."""
        return (self.among is None or namespace in self.among) and namespace not in self.apart


async def select(rows: Rows, selection: Selection, where: Where) -> list[int]:
    """The numbers of the rows that pass, in order; by namespace and name where no order is asked for."""
    turn = Turn()
    kept = await _by_key(rows, turn)
    if where != Where():
        kept = [number for number in kept if where.holds(_namespace(rows, number))]
    for alternatives in selection.filters:
        kept = await _passing(rows, kept, alternatives, turn)
    for order in reversed(selection.order):
        values = await rows.values(order.path, turn)
        kept = await _sorted(kept, lambda number, held=values: rank(held[number]), order.descending, turn)  # type: ignore[misc]
    rows.close()
    return list(kept)


async def _by_key(rows: Rows, turn: Turn) -> Sequence[int]:
    """All rows by namespace and name: an order that every other begins with, and that is kept while nothing changes."""
    version = rows.version
    if rows.in_order is None or rows.in_order[0] != version:
        found = await _sorted(list(rows.numbers()), lambda number: rows.key(number) or ("", ""), False, turn)
        rows.in_order = (version, found)
    return rows.in_order[1]


def _namespace(rows: Rows, number: int) -> str:
    key = rows.key(number)
    return key.namespace if key is not None else ""


async def _passing(rows: Rows, kept: Sequence[int], alternatives: Alternatives, turn: Turn) -> Sequence[int]:
    tests = [(await rows.values(one.path, turn), one.test()) for one in alternatives]
    passed: list[int] = []
    for number in kept:
        if any(test(values[number]) for values, test in tests):
            passed.append(number)
        if turn.over:
            await turn.next()
    return passed


async def _sorted(
    numbers: Sequence[int], key: Callable[[int], Any], descending: bool, turn: Turn
) -> Sequence[int]:
    """In order, and those that are equal as they were."""
    keys: dict[int, Any] = {}
    for number in numbers:
        keys[number] = key(number)
        if turn.over:
            await turn.next()
    parts = []
    for start in range(0, len(numbers), CHUNK):
        parts.append(sorted(numbers[start : start + CHUNK], key=keys.__getitem__, reverse=descending))
        if turn.over:
            await turn.next()
    if len(parts) < 2:
        return parts[0] if parts else []
    if len(numbers) <= SMALL:
        # parts that are in order cost the sort little
        return sorted(chain.from_iterable(parts), key=keys.__getitem__, reverse=descending)
    merged: list[int] = []
    for number in heapq.merge(*parts, key=keys.__getitem__, reverse=descending):
        merged.append(number)
        if turn.over:
            await turn.next()
    return merged


async def summarize(rows: Rows, numbers: Iterable[int], paths: Iterable[Path]) -> list[dict[str, Any]]:
    """How often each value occurs, for each path; of lists, each entry counts."""
    turn, chosen = Turn(), list(numbers)
    summary = []
    for path in paths:
        values = await rows.values(path, turn)
        counts: Counter[str] = Counter()
        for number in chosen:
            held = values[number]
            if held is not None:
                counts.update(map(text_of, held if isinstance(held, list) else (held,)))
            if turn.over:
                await turn.next()
        summary.append({"property": ".".join(path), "counts": dict(counts)})
    return summary
