"""``make bench [BENCH=name]``: runs ``tests/bench/<name>.py``, which print one JSON object a line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "tests" / "bench"


def main(arguments: Sequence[str]) -> int:
    """Run the named benchmarks, or all; the first failure's exit status, 2 for an unknown name."""
    known = names(FOLDER)
    unknown = [name for name in arguments if name not in known]
    if unknown:
        print(
            f"make bench: no benchmark {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr
        )
        return 2
    statuses = [run(name) for name in arguments or known]
    return next((status for status in statuses if status), 0)


def names(folder: Path) -> list[str]:
    """The benchmarks of a folder: its modules that are not private."""
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))


def run(name: str) -> int:
    """Run one benchmark as a module, so that it can import its neighbours; its exit status."""
    print(f"bench {name}", file=sys.stderr, flush=True)
    return subprocess.run([sys.executable, "-m", f"tests.bench.{name}"], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
