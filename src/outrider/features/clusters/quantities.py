"""Sums of Kubernetes quantities (k8s.io/apimachinery/pkg/api/resource: syntax and canonical form)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Final

_SYNTAX = re.compile(r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))([A-Za-z]*(?:[+-]?[0-9]+)?)", re.ASCII)
_EXPONENT = re.compile(r"[eE]([+-]?[0-9]{1,2})")
_DECIMAL: Final = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "P": Fraction(10**15),
    "E": Fraction(10**18),
}
_BINARY: Final = {f"{letter}i": Fraction(1 << (10 * n)) for n, letter in enumerate("KMGTPE", start=1)}
_SUFFIXES: Final = _DECIMAL | _BINARY
_LONGEST: Final = 64


def parse(text: str) -> Fraction:
    """The value of a quantity such as ``100m``, ``16Gi``, ``1e3``. Raises ValueError."""
    found = _SYNTAX.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None:
        raise ValueError(f"{text[:_LONGEST]!r} is not a quantity")
    number, suffix = Fraction(found[1]), found[2]
    if suffix in _SUFFIXES:
        return number * _SUFFIXES[suffix]
    exponent = _EXPONENT.fullmatch(suffix)
    if exponent is None:
        raise ValueError(f"{suffix!r} is not a suffix of a quantity")
    return number * Fraction(10) ** int(exponent[1])


def canonical(value: Fraction, *, binary: bool) -> str:
    """The shortest spelling without a fraction: in powers of 1024 or of 1000, smallest unit the nano."""
    units = [*(_BINARY if binary else {}).items(), *(() if binary else _whole_units())]
    for suffix, unit in sorted(units, key=lambda item: item[1], reverse=True):
        if value and value % unit == 0:
            return f"{value // unit}{suffix}"
    for suffix in ("", "m", "u", "n"):
        if value % _DECIMAL[suffix] == 0:
            return f"{value // _DECIMAL[suffix]}{suffix}"
    # Nothing is smaller than a nano: round up, as Kubernetes does
    return f"{-(-value // _DECIMAL['n'])}n"


def _whole_units() -> list[tuple[str, Fraction]]:
    return [(suffix, unit) for suffix, unit in _DECIMAL.items() if unit > 1]


def total(lists: Iterable[Mapping[str, object]], keys: Iterable[str]) -> dict[str, str]:
    """The sum of several resource lists for `keys`; what is no quantity counts as nothing."""
    found = list(lists)
    sums = {key: sum((_value(entry.get(key)) for entry in found), Fraction()) for key in keys}
    return {key: canonical(value, binary=key == "memory") for key, value in sums.items()}


def _value(text: object) -> Fraction:
    try:
        return parse(str(text)) if text is not None else Fraction()
    except ValueError:
        return Fraction()
