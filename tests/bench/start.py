"""How long `outrider up` takes from cached binaries to ready, and what it weighs.

Cases: `fresh` (empty data folder), `again` (its second start), `demo` (fresh, two clusters). Memory is the
proportional set size (PSS) half a minute after the start of case `again`: of supervisor, gateway and control together,
of the audit writer, and (case `demo`) of an agent. `skeleton` is a bare Python process that imports the event loop
and the HTTP and TLS libraries of the data path and does nothing: what a process costs before any of our code.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SETTLE = float(os.environ.get("BENCH_SETTLE", "30"))
OUTRIDER = [sys.executable, "-m", "outrider.cli", "up", "--listen", "127.0.0.1:0"]
SKELETON = "import asyncio, ssl, uvloop, httptools, aiofastnet, msgspec, time; time.sleep(60)"


def pss(pid: int) -> int:
    """Proportional set size in KB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def start(data: Path, *arguments: str) -> tuple[float, subprocess.Popen[bytes], dict]:
    """Seconds to ready, the process, and the ready file."""
    ready = data.parent / "ready.json"
    ready.unlink(missing_ok=True)
    began = time.monotonic()
    process = subprocess.Popen(
        [*OUTRIDER, "--data", str(data), "--ready-file", str(ready), *arguments], stdout=subprocess.DEVNULL
    )
    while not ready.exists():
        if process.poll() is not None or time.monotonic() - began > 180:
            raise SystemExit("outrider up did not become ready")
        time.sleep(0.02)
    return time.monotonic() - began, process, json.loads(ready.read_text())


def stop(process: subprocess.Popen[bytes]) -> float:
    """Seconds that Ctrl-C takes."""
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.wait(60)
    return time.monotonic() - began


def report(case: str, **figures: float) -> None:
    """One result line."""
    print(json.dumps({"bench": "start", "case": case, **figures}), flush=True)


def seconds(values: list[float]) -> dict[str, float]:
    """Median and range."""
    return {
        "seconds": round(statistics.median(values), 2),
        "least": round(min(values), 2),
        "most": round(max(values), 2),
    }


def skeleton() -> int:
    """PSS of a process without our code."""
    process = subprocess.Popen([sys.executable, "-c", SKELETON])
    time.sleep(2)
    weight = pss(process.pid)
    process.kill()
    process.wait()
    return weight


def main() -> None:
    """Runs all cases."""
    fresh, again, demo, stops = [], [], [], []
    memory: dict[str, float] = {}
    for number in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="ob") as folder:
            took, process, _ = start(Path(folder) / "a")
            fresh.append(took)
            stops.append(stop(process))
            took, process, ready = start(Path(folder) / "a")
            again.append(took)
            if number == ROUNDS - 1:
                time.sleep(SETTLE)
                pids = ready["pids"]
                together = {role: pss(pids[role]) for role in ("supervisor", "gateway", "control")}
                memory = {f"{role}_pss_kb": weight for role, weight in together.items()}
                memory |= {"together_pss_kb": sum(together.values()), "audit_pss_kb": pss(pids["audit"])}
            stop(process)
        with tempfile.TemporaryDirectory(prefix="ob") as folder:
            took, process, ready = start(Path(folder) / "d", "--demo", "2")
            demo.append(took)
            memory["agent_pss_kb"] = pss(ready["clusters"][0]["agent_pid"])
            stop(process)
    report("fresh", **seconds(fresh))
    report("again", **seconds(again))
    report("demo", **seconds(demo))
    report("stop", **seconds(stops))
    report("memory", **memory, skeleton_pss_kb=skeleton())


main()
