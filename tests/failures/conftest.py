"""A site whose time-outs are short, for every run, and one with the real ones, for the long run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.failures.site import Site, site
from tests.failures.strain import Strain, strain
from tests.failures.times import Times, table
from tests.support.kubectl import Kubectl
from tests.support.not_run import not_run

SHORT = {
    "OUTRIDER_TUNNEL_SILENCE": "4",
    "OUTRIDER_AGENT_SILENCE": "4",
    "OUTRIDER_AGENT_PING_EVERY": "0.8",
}
REAL: dict[str, str] = {}
_TIMES = pytest.StashKey[Times]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    times = config.stash.get(_TIMES, None)
    if times is not None and times.lines():
        terminalreporter.section("recovery from failures")
        for line in (*times.lines(), "", *table(times.lines()), f"in {times.path}"):
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def times(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Times:
    """Where the figures go: the file that FAILURE_TIMES names, or one of this run."""
    named = os.environ.get("FAILURE_TIMES")
    kept = Times(Path(named) if named else tmp_path_factory.mktemp("failures") / "times.jsonl")
    request.config.stash[_TIMES] = kept
    return kept


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """A kubectl without a cluster yet."""
    program = Path(sys.executable).with_name("kubectl")
    if not program.exists():
        not_run("the virtual environment has no kubectl; run `make setup`")
    return Kubectl(program, "", tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def quick(kube_binary: Path, client: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site with short time-outs."""
    with site(tmp_path_factory.mktemp("f"), client, "short", SHORT) as running:
        yield running


@pytest.fixture(scope="session")
def real(kube_binary: Path, client: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site with the time-outs that users have."""
    with site(tmp_path_factory.mktemp("g"), client, "real", REAL) as running:
        yield running


@pytest.fixture
def used(quick: Site) -> Iterator[Strain]:
    """The short site in use."""
    with strain(quick) as running:
        yield running


@pytest.fixture(params=["quick", pytest.param("real", marks=pytest.mark.long)])
def timed(request: pytest.FixtureRequest) -> Iterator[Strain]:
    """A site in use, for what depends on time-outs: with short ones, and in the long run with the real ones."""
    with strain(request.getfixturevalue(request.param)) as running:
        yield running
