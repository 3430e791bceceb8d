"""``make test``: runs the tests, then once more the few that failed.

The tests start real clusters on machines that others use too. A test that fails and then passes is named at the end
as unsteady, and is a fault to be found; one that fails twice, or one of many that fail, fails the run.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".pytest_cache" / "v" / "cache" / "lastfailed"
FEW = 8
FAILED = 1


def main(arguments: Sequence[str]) -> int:
    """Run the tests with pytest's arguments; pytest's exit status."""
    status = run(["--cache-clear", *arguments])
    names = failed(CACHE) if status == FAILED else []
    if not 0 < len(names) <= FEW:
        return status
    print(f"\nOnce more: {len(names)} that failed\n", flush=True)
    status = run(["--last-failed", *arguments])
    if status == 0:
        print("\nUnsteady (failed, then passed):", *names, sep="\n  ", flush=True)
    return status


def run(arguments: Sequence[str]) -> int:
    """Run pytest; its exit status."""
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=ROOT, check=False).returncode


def failed(cache: Path) -> list[str]:
    """The tests that failed in the last run."""
    return sorted(json.loads(cache.read_text())) if cache.is_file() else []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
