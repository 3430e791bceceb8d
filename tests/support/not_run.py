"""Reports, by name and with the reason, every test that this machine could not run.

A plugin: ``tests/conftest.py`` loads it. A test or fixture calls ``not_run("kubectl is not installed")``;
a test whose need is known beforehand carries ``@pytest.mark.not_run_unless(condition, "reason")``.
The terminal summary ends with the section "not run on this machine"; nothing is skipped silently.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NoReturn

import pytest

TITLE = "not run on this machine"


def not_run(reason: str) -> NoReturn:
    """Ends the running test or fixture: this machine lacks what it needs. ``reason`` says what."""
    pytest.skip(reason)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "not_run_unless(condition, reason): reported as not run where the condition is false"
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("not_run_unless"):
        condition, reason = marker.args
        if not condition:
            not_run(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = summary(terminalreporter.getreports("skipped"))
    if lines:
        terminalreporter.section(TITLE)
        for line in lines:
            terminalreporter.write_line(line)


def summary(reports: Iterable[pytest.TestReport | pytest.CollectReport]) -> list[str]:
    """The section's lines: each reason once, below it the tests in order."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for report in reports:
        by_reason[_reason(report)].append(report.nodeid)
    lines = []
    for reason, names in sorted(by_reason.items()):
        lines.append(f"NOT RUN: {reason}")
        lines += [f"  {name}" for name in sorted(names)]
    return lines


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    # pytest keeps a skip as (file, line, "Skipped: reason").
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")
