"""A million tunnels by a coverage-guided fuzzer, where there is one."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.test_datapath import ANSWER_FRAMES, REQUEST_FRAMES
from tests.support.not_run import not_run

ROUNDS = [
    pytest.param(2_000, id="short"),
    pytest.param(1_000_000, marks=[pytest.mark.long, pytest.mark.timeout(3600)]),
]


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize("role", ["server", "agent"])
def test_frames(role: str, rounds: int, tmp_path: Path) -> None:
    """No input raises, none passes a head that must not pass; the corpus begins with sound frames."""
    if importlib.util.find_spec("atheris") is None:
        not_run("atheris is not installed; the fuzzer of our own ran instead (tests/fuzz/test_datapath.py)")
    corpus, found = tmp_path / "corpus", tmp_path / "found"
    corpus.mkdir()
    found.mkdir()
    for number, data in enumerate(ANSWER_FRAMES if role == "server" else REQUEST_FRAMES):
        (corpus / f"{number}").write_bytes(data)
    options = [
        f"-runs={rounds}",
        "-seed=7",
        "-max_len=4096",
        "-rss_limit_mb=512",
        "-timeout=60",
        "-print_final_stats=1",
        f"-artifact_prefix={found}/",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.guided", role, *options, str(corpus)],
        cwd=Path(__file__).resolve().parents[2],
        env=os.environ | {"OUTRIDER_PURE": "1"},  # it instruments Python
        capture_output=True,
        text=True,
        timeout=3500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert f"stat::number_of_executed_units: {rounds}" in done.stderr, done.stderr[-2000:]
