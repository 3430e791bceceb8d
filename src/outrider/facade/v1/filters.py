"""The language of the parameter `filter`; pure.

`<field> <operator> <value>`, alternatives separated by commas, parameters that are repeated all hold. Fields are
paths. `=` and `~` look for a part, whatever the case, `'…'` for exactly that; `!=` and `!~` are their contraries.
`in (a,b)`, `notin (…)`, `<`, `>` (numbers), `field` (is there) and `!field` (is not) are the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from outrider.facade.v1 import paths
from outrider.facade.v1.matching import MATCHERS, number
from outrider.facade.v1.paths import Path

MAX_TEXT: Final = 8192
MAX_REQUIREMENTS: Final = 256

_FIELD: Final = re.compile(r"\s*(!?)\s*([\w$][^\s=!<>~,()\[\]]*(?:\[[^\]]*\][^\s=!<>~,()\[\]]*)*)\s*")
_OPERATOR: Final = re.compile(r"(!=|!~|==|=|~|<|>|(?:notin|in|lt|gt)(?=[\s(]))\s*", re.IGNORECASE)
_QUOTED: Final = re.compile(r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)\"""")
_BARE: Final = re.compile(r"[^,]*")
_MEMBER: Final = re.compile(r"[^,()]*")


class FilterError(ValueError):
    """A filter that cannot be read; the message says where."""


@dataclass(frozen=True)
class Requirement:
    """One condition on a field: `operator` is part, exact, lt, gt or exists; `negated` turns it around."""

    path: Path
    operator: str
    values: tuple[str, ...] = ()
    negated: bool = False

    def test(self) -> Callable[[Any], bool]:
        """The condition as a function of what the field holds; of a list, any entry will do."""
        matches = MATCHERS[self.operator](self.values)
        negated = self.negated

        def passes(held: Any) -> bool:
            if isinstance(held, list):
                return any(map(matches, held)) is not negated
            return matches(held) is not negated

        return passes


Alternatives = tuple[Requirement, ...]
"""One of them must hold."""


def parse(text: str) -> Alternatives:
    """The alternatives of one parameter. Raises FilterError."""
    if len(text) > MAX_TEXT:
        raise FilterError(f"a filter is longer than {MAX_TEXT} characters")
    found: list[Requirement] = []
    at = 0
    while at < len(text):
        requirement, at = _requirement(text, at)
        found.append(requirement)
        if len(found) > MAX_REQUIREMENTS:
            raise FilterError(f"a filter has more than {MAX_REQUIREMENTS} alternatives")
        if at < len(text):
            if text[at] != ",":
                raise FilterError(f"filter {text[:80]!r}: a comma is missing before {text[at : at + 20]!r}")
            at += 1
    return tuple(found)


def _requirement(text: str, at: int) -> tuple[Requirement, int]:
    field = _FIELD.match(text, at)
    if field is None:
        raise FilterError(f"filter {text[:80]!r}: no field at {text[at : at + 20]!r}")
    try:
        path = paths.parse(field[2])
    except ValueError as error:
        raise FilterError(f"filter {text[:80]!r}: {error}") from None
    absent, at = bool(field[1]), field.end()
    operator = _OPERATOR.match(text, at)
    if operator is None or absent:
        return Requirement(path, "exists", negated=absent), at
    sign, at = operator[1].lower(), operator.end()
    if sign in ("in", "notin"):
        values, at = _members(text, at)
        return Requirement(path, "exact", values, sign == "notin"), at
    value, quote, at = _value(text, at, _BARE)
    if sign in ("<", ">", "lt", "gt"):
        return Requirement(path, "lt" if sign in ("<", "lt") else "gt", (_number(text, value),)), at
    exactly = quote == "'" and "~" not in sign
    return Requirement(path, "exact" if exactly else "part", (value,), sign.startswith("!")), at


def _members(text: str, at: int) -> tuple[tuple[str, ...], int]:
    if not text.startswith("(", at):
        raise FilterError(f"filter {text[:80]!r}: 'in' is followed by a set in parentheses")
    values: list[str] = []
    while True:
        value, _, at = _value(text, at + 1, _MEMBER)
        values.append(value)
        if text.startswith(")", at):
            return tuple(values), re.compile(r"\)\s*").match(text, at).end()  # type: ignore[union-attr]
        if not text.startswith(",", at):
            raise FilterError(f"filter {text[:80]!r}: a set of values is not closed with ')'")


def _value(text: str, at: int, bare: re.Pattern[str]) -> tuple[str, str, int]:
    """A value, the quotation mark that it stood in, and where it ends."""
    start = at + len(text[at:]) - len(text[at:].lstrip())
    quoted = _QUOTED.match(text, start)
    if quoted is not None:
        inner = quoted[1] if quoted[1] is not None else quoted[2]
        end = quoted.end()
        while end < len(text) and text[end].isspace():
            end += 1
        return re.sub(r"\\(.)", r"\1", inner, flags=re.DOTALL), text[start], end
    found = bare.match(text, at)
    return (found[0].strip(), "", found.end()) if found is not None else ("", "", at)


def _number(text: str, value: str) -> str:
    if number(value) is None:
        raise FilterError(f"filter {text[:80]!r}: {value[:40]!r} is no number, which < and > need")
    return value
