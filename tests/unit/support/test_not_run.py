"""The report of what could not run, in a pytest of its own."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
SAMPLE = """
import pytest
from tests.support.not_run import not_run

@pytest.fixture
def machine():
    not_run("no such machine here")

def test_runs(): pass
def test_needs_the_machine(machine): pass
def test_needs_it_too(machine): pass
@pytest.mark.not_run_unless(False, "needs root")
def test_needs_root(): raise AssertionError
@pytest.mark.not_run_unless(True, "never said")
def test_has_what_it_needs(): pass
@pytest.mark.skip(reason="an ordinary skip")
def test_skipped(): raise AssertionError
"""


def run(folder: Path, *arguments: str) -> str:
    (folder / "test_sample.py").write_text(SAMPLE)
    command = [sys.executable, "-m", "pytest", "-p", "tests.support.not_run", "--strict-markers", *arguments]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_everything_not_run_is_named_with_its_reason(tmp_path: Path) -> None:
    output = run(tmp_path)
    section = output.partition("not run on this machine")[2].splitlines()[1:]
    assert [line for line in section if line][:7] == [
        "NOT RUN: an ordinary skip",
        "  test_sample.py::test_skipped",
        "NOT RUN: needs root",
        "  test_sample.py::test_needs_root",
        "NOT RUN: no such machine here",
        "  test_sample.py::test_needs_it_too",
        "  test_sample.py::test_needs_the_machine",
    ]
    assert "never said" not in output
    assert "2 passed, 4 skipped" in output


def test_a_machine_that_can_run_everything_has_no_such_section(tmp_path: Path) -> None:
    assert "not run on this machine" not in run(tmp_path, "-k", "test_runs")
