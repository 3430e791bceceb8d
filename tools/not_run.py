"""A pytest plugin: ends every run with the tests that this machine could not run, by name, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write the list; say so too when there is none."""
    skipped = terminalreporter.stats.get("skipped", [])
    grouped = by_reason((report.nodeid, reason(report.longrepr)) for report in skipped)
    for line in lines(grouped):
        terminalreporter.write_line(line)


def by_reason(skipped: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Test ids under the reason for which they were not run, both in the order of their first appearance."""
    grouped: dict[str, list[str]] = {}
    for name, why in skipped:
        grouped.setdefault(why, []).append(name)
    return grouped


def reason(longrepr: object) -> str:
    """What ``pytest.skip`` was told; pytest keeps it as (file, line, "Skipped: …")."""
    text = str(longrepr[2]) if isinstance(longrepr, Sequence) and len(longrepr) == 3 else str(longrepr)
    return text.removeprefix("Skipped: ").strip() or "no reason given"


def lines(grouped: Mapping[str, Sequence[str]]) -> list[str]:
    """The report."""
    if not grouped:
        return ["Every chosen test was run on this machine."]
    report = ["Not run on this machine:"]
    for why, names in grouped.items():
        report.append(f"  {why}")
        report.extend(f"    {name}" for name in names)
    return report
