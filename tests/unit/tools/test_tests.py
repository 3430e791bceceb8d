"""``make test`` and the tests that fail."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tools import tests as module


class Runs:
    """Stands for pytest: gives exit statuses in turn and leaves the names of what failed."""

    def __init__(self, cache: Path, statuses: list[int], names: list[str]) -> None:
        self.calls: list[list[str]] = []
        self._cache = cache
        self._statuses = statuses
        self._names = names

    def __call__(self, arguments: Sequence[str]) -> int:
        self.calls.append(list(arguments))
        self._cache.write_text(json.dumps(dict.fromkeys(self._names, True)))
        return self._statuses[len(self.calls) - 1]


@pytest.mark.parametrize(
    ("statuses", "names", "result", "calls"),
    [
        ([0], [], 0, 1),
        ([1, 0], ["a", "b"], 0, 2),
        ([1, 1], ["a"], 1, 2),
        ([1], [str(n) for n in range(module.FEW + 1)], 1, 1),
        ([2], ["a"], 2, 1),
    ],
)
def test_few_failures_are_tried_once_more(
    statuses: list[int],
    names: list[str],
    result: int,
    calls: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cache = tmp_path / "lastfailed"
    runs = Runs(cache, statuses, names)
    monkeypatch.setattr(module, "CACHE", cache)
    monkeypatch.setattr(module, "run", runs)
    assert module.main(["-m", "not long"]) == result
    assert len(runs.calls) == calls
    assert all(call[1:] == ["-m", "not long"] for call in runs.calls)
    unsteady = result == 0 and calls > 1
    assert ("Unsteady" in capsys.readouterr().out) == unsteady
