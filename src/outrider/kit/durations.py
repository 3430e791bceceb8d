"""Lengths of time as Kubernetes and Go write them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

_PART: Final = re.compile(r"([0-9]{1,9})(ms|s|m|h)", re.ASCII)
_WHOLE: Final = re.compile(f"(?:{_PART.pattern})+", re.ASCII)
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST: Final = 100 * 365 * 24 * 3600.0


def parse_duration(text: str) -> timedelta | None:
    """``300s``, ``5m``, ``1h30m``; None for anything else. More than 100 years count as 100 years."""
    if len(text) > 100 or not _WHOLE.fullmatch(text):
        return None
    seconds = sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    return timedelta(seconds=min(seconds, _LONGEST))
