"""What a field holds, compared with what a filter asks for; pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final


def number(value: Any) -> float | None:
    """A value as a number, if it is one."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return None if math.isnan(found) else found


def text_of(value: Any) -> str:
    """A value as it is compared with a parameter: nothing is the empty text."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _part(values: Sequence[str]) -> Callable[[Any], bool]:
    wanted = values[0].casefold()
    return lambda held: wanted in text_of(held).casefold()


def _exact(values: Sequence[str]) -> Callable[[Any], bool]:
    wanted = frozenset(values)
    return lambda held: text_of(held) in wanted


def _ordered(sign: int) -> Callable[[Sequence[str]], Callable[[Any], bool]]:
    def make(values: Sequence[str]) -> Callable[[Any], bool]:
        bound = number(values[0]) or 0.0

        def matches(held: Any) -> bool:
            found = number(held)
            return found is not None and (found - bound) * sign > 0

        return matches

    return make


def _exists(_: Sequence[str]) -> Callable[[Any], bool]:
    return lambda held: held is not None


MATCHERS: Final[dict[str, Callable[[Sequence[str]], Callable[[Any], bool]]]] = {
    "part": _part,
    "exact": _exact,
    "lt": _ordered(-1),
    "gt": _ordered(1),
    "exists": _exists,
}
"""Operator → what makes a test of what it is compared with."""
