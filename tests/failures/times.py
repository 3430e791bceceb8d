"""How long it took to recover: one JSON object a failure, and the table that is made of them.

`python -m tests.failures.times FILE` prints the table of docs/reference/failures.md.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class Times:
    """Collects the figures of one run in a file, a line each."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, failure: str, **figures: float | str) -> None:
        """Seconds are rounded to hundredths; other figures say what they are by their names."""
        line = {"failure": failure} | {
            name: round(value, 2) if isinstance(value, float) else value for name, value in figures.items()
        }
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def lines(self) -> list[str]:
        """What was collected so far."""
        return self.path.read_text().splitlines() if self.path.exists() else []


def table(lines: Iterable[str]) -> list[str]:
    """Markdown, one row a failure; a later line about the same failure replaces an earlier one."""
    latest: dict[tuple[str, str], dict[str, Any]] = {}
    for line in lines:
        row = json.loads(line)
        latest[row["failure"], row.get("times", "")] = row
    head = [
        "| failure | time-outs | noticed after | working again after | remark |",
        "| --- | --- | --- | --- | --- |",
    ]
    return head + [_row(row) for row in latest.values()]


def _row(row: dict[str, Any]) -> str:
    cells = (
        row["failure"],
        row.get("times", ""),
        _seconds(row.get("noticed")),
        _seconds(row.get("recovered")),
    )
    return f"| {' | '.join((*cells, row.get('remark', '')))} |"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s"


if __name__ == "__main__":
    print("\n".join(table(Path(sys.argv[1]).read_text().splitlines())))
