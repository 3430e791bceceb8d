"""What ``make setup`` costs when there is nothing to do. Prints one JSON object."""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 30


def main() -> None:
    """Run set-up ROUNDS times, after one that may have something to do."""
    times = [once() for _ in range(ROUNDS + 1)][1:]
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    ordered = sorted(times)
    result = {
        "bench": "setup",
        "case": "nothing-to-do",
        "rate": round(ROUNDS / sum(times), 1),
        "p50_ms": round(ordered[ROUNDS // 2] * 1000, 1),
        "p99_ms": round(ordered[-1] * 1000, 1),
        "cpu_us_per_op": round((used.ru_utime + used.ru_stime) / (ROUNDS + 1) * 1_000_000),
    }
    print(json.dumps(result), flush=True)


def once() -> float:
    """Seconds that one run takes."""
    started = time.perf_counter()
    subprocess.run(["make", "--silent", "setup"], cwd=ROOT, check=True, stdout=sys.stderr)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
