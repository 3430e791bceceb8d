"""Kubernetes quantities: ``500m``, ``1.5Gi``, ``2e3``, exact.

The grammar and the canonical form are those of k8s.io/apimachinery's resource.Quantity, with one difference:
values beyond 2^63-1 are kept rather than capped.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import total_ordering
from typing import Literal

Format = Literal["DecimalSI", "BinarySI", "DecimalExponent"]

_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL_SUFFIX = {power: suffix for suffix, power in _DECIMAL.items()}
_BINARY_SUFFIX = {power: suffix for suffix, power in _BINARY.items()}
_GRAMMAR = re.compile(
    r"([+-]?)([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)|[eE]([+-]?[0-9]+))?",
    re.ASCII,
)
_NANO = 10**9
# Far above anything that a cluster has; without a bound "1e999999999" would fill memory.
_MAX_DIGITS = 100
_MAX_EXPONENT = 100


class QuantityError(ValueError):
    """Text that is not a quantity."""


@total_ordering
@dataclass(frozen=True, eq=False, slots=True)
class Quantity:
    """An exact amount, at least one nano fine, and the family of suffixes that it is written with.

    Equality and order look at the amount only.
    """

    value: Fraction
    format: Format = "DecimalSI"

    def __add__(self, other: "Quantity") -> "Quantity":
        # As in apimachinery: zero takes on the other side's format.
        return Quantity(self.value + other.value, self.format if self.value else other.format)

    def __sub__(self, other: "Quantity") -> "Quantity":
        return Quantity(self.value - other.value, self.format if self.value else other.format)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.value == other.value

    def __lt__(self, other: "Quantity") -> bool:
        return self.value < other.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __str__(self) -> str:
        """The canonical form: no fraction, the largest suffix that loses nothing."""
        if not self.value:
            return "0"
        if self.format == "BinarySI" and self.value.denominator == 1 and abs(self.value) >= 1024:
            return _binary(self.value.numerator)
        mantissa, power = _decimal(self.value)
        if self.format == "DecimalExponent":
            return f"{mantissa}e{power}" if power else str(mantissa)
        if power in _DECIMAL_SUFFIX:
            return f"{mantissa}{_DECIMAL_SUFFIX[power]}"
        return f"{mantissa * 10 ** (power - 18)}E"


def parse(text: str) -> Quantity:
    """Read a quantity; finer than one nano rounds away from zero. Raises QuantityError."""
    match = _GRAMMAR.fullmatch(text) if len(text) <= _MAX_DIGITS else None
    if match is None:
        raise QuantityError(f"{text[:40]!r} is not a quantity such as 500m, 2 or 1.5Gi")
    sign, number, suffix, exponent = match.groups()
    value = _number(number)
    form: Format = "DecimalSI"
    if exponent is not None:
        if abs(int(exponent)) > _MAX_EXPONENT:
            raise QuantityError(f"the exponent of {text!r} is beyond {_MAX_EXPONENT}")
        form = "DecimalExponent"
        value *= Fraction(10) ** int(exponent)
    elif suffix in _BINARY:
        form = "BinarySI"
        value *= 1024 ** _BINARY[suffix]
    elif suffix:
        value *= Fraction(10) ** _DECIMAL[suffix]
    value = Fraction(-(-value.numerator * _NANO // value.denominator), _NANO)
    return Quantity(-value if sign == "-" else value, form)


def total(quantities: Iterable[Quantity]) -> Quantity:
    """Return the sum; zero of nothing."""
    result = Quantity(Fraction(0))
    for quantity in quantities:
        result += quantity
    return result


def _number(text: str) -> Fraction:
    whole, _, part = text.partition(".")
    return Fraction(int(whole + part), 10 ** len(part))


def _binary(value: int) -> str:
    power = 0
    while value % 1024 == 0 and power < max(_BINARY_SUFFIX):
        value //= 1024
        power += 1
    return f"{value}{_BINARY_SUFFIX[power]}" if power else str(value)


def _decimal(value: Fraction) -> tuple[int, int]:
    """Return mantissa and power of ten, a multiple of three as large as loses nothing."""
    mantissa, power = value.numerator * _NANO // value.denominator, -9
    while mantissa % 1000 == 0:
        mantissa //= 1000
        power += 3
    return mantissa, power
