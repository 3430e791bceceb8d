"""The proxy's data path: rate, latency and CPU per request, beside the direct way and the peer.

Cases: 1 KB GETs by 1, 16 and 64 clients (`c1`, `c16`, `c64`), 1 MB lists by 4 (`list`), one watch at full speed
(`watch`). The real gateway, the real tunnel and the real pool run in processes of their own; a stand-in for control
and a stub API server complete them. The peer, the reference's proxy path with its connection pool tuned, is built
from `../shared/peer-tunnel` when that and Go are there; it runs in the same rounds, in alternating order, and the
ratios are medians of the pairs. `audit` says at which level requests were recorded. CPU is that of server and agent.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from outrider.kit import pki

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT.parent / "shared" / "peer-tunnel"
CACHE = Path(os.environ.get("OUTRIDER_CACHE") or Path.home() / ".cache" / "outrider") / "bench"
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "4"))
CASES = tuple(filter(None, os.environ.get("BENCH_CASES", "c1,c16,c64,list,watch").split(",")))
TOKEN = "Bearer kubeconfig-u-alice:secret"
IMPERSONATION = ("Authorization: Bearer impersonator-sa", "Impersonate-User: u-alice")
GROUPS = ("Impersonate-Group: system:authenticated", "Impersonate-Group: system:cattle:authenticated")
POD, LIST = "/api/v1/namespaces/default/pods/p", "/api/v1/pods"


class Contestant:
    """A way to the stub API server: its processes, where it listens, and what a client sends."""

    def __init__(self, name: str, port: int, prefix: str, processes: list[subprocess.Popen[bytes]]) -> None:
        self.name = name
        self.base = f"https://127.0.0.1:{port}{prefix}"
        self.processes = processes
        self.is_direct = not prefix
        lines = (*IMPERSONATION, *GROUPS) if self.is_direct else (f"Authorization: {TOKEN}",)
        self.headers = [word for line in lines for word in ("-H", line)]

    def cpu(self) -> float:
        """Seconds of CPU that its processes have used."""
        return sum(time.clock_gettime((~p.pid << 3) | 2) for p in self.processes)


def free_port() -> int:
    """A port that nobody uses right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def certificates(folder: Path) -> None:
    """A CA and a certificate for loopback, under the names that the peer expects."""
    now = datetime.now(UTC)
    authority = pki.create_authority("bench-ca", now=now)
    leaf = pki.issue_server(authority, "localhost", now=now, dns=["localhost"], ips=["127.0.0.1"])
    folder.mkdir()
    (folder / "ca.crt").write_bytes(authority.cert_pem)
    (folder / "srv.crt").write_bytes(leaf.cert_pem)
    (folder / "srv.key").write_bytes(leaf.key_pem)


def peer() -> Path | None:
    """The folder of the peer's programs, built if need be; None where that cannot be."""
    if not SOURCE.is_dir() or shutil.which("go") is None:
        print("proxy: no peer beside it: its source or Go is missing", file=sys.stderr)
        return None
    digest = hashlib.sha256()
    for path in sorted((SOURCE / "peer").rglob("*")):
        digest.update(path.read_bytes() if path.is_file() else b"")
    target = CACHE / digest.hexdigest()[:16]
    if not target.is_dir():
        print("proxy: building the peer, once, about a minute", file=sys.stderr)
        partial = Path(tempfile.mkdtemp(dir=CACHE)) if CACHE.is_dir() else CACHE.with_suffix(".new")
        partial.mkdir(parents=True, exist_ok=True)
        for program in ("upstream", "server", "agent"):
            command = ["go", "build", "-o", str(partial / program), f"./{program}"]
            subprocess.run(command, cwd=SOURCE / "peer", check=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.rename(target)
    return target


@contextlib.contextmanager
def running(
    commands: list[list[str]], folder: Path, wait: list[int]
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Runs programs one after the other; after the n-th, waits for the n-th port (0: none)."""
    environment = os.environ | {"PEER_HOME": f"{folder}/", "PYTHONPATH": str(ROOT / "tests" / "bench")}
    processes = []
    with (folder / "log.txt").open("ab") as log:
        try:
            for command, port in zip(commands, wait, strict=True):
                processes.append(subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=log))
                await_port(port)
            yield processes
        finally:
            for process in reversed(processes):
                process.terminate()
            for process in processes:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(5)
                process.kill()


def await_port(port: int) -> None:
    """Returns once somebody listens."""
    for _ in range(200 if port else 0):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.05)


@contextlib.contextmanager
def outrider(folder: Path, api: int, level: int) -> Iterator[Contestant]:
    """Our gateway and agent."""
    port, python = free_port(), sys.executable
    link, pipe = folder / f"link{level}", folder / f"pipe{level}"
    config = {
        "listen": [{"host": "127.0.0.1", "port": port}],
        "link_socket": str(link),
        "control_socket": str(folder / "none"),
        "kubeconfig": str(folder / "kubeconfig"),
        "audit_pipe": str(pipe) if level else "",
        "audit_level": level,
    }
    (folder / "gateway.json").write_text(json.dumps(config))
    (folder / "audit.json").write_text(json.dumps({"pipe": str(pipe), "path": str(folder / "audit.log")}))
    certs = folder / "certs"
    commands = [
        [python, "-m", "stand.control", str(link), str(certs / "srv.crt"), str(certs / "srv.key")],
        *([[python, "-m", "outrider.server.audit", str(folder / "audit.json")]] if level else []),
        [python, "-m", "outrider.server.gateway", str(folder / "gateway.json")],
        [
            *(python, "-m", "stand.agent", f"wss://127.0.0.1:{port}/v3/connect"),
            *(str(certs / "ca.crt"), f"https://127.0.0.1:{api}", "c0"),
        ],
    ]
    waits = [0] * (len(commands) - 2) + [port, 0]
    with running(commands, folder, waits) as processes:
        yield Contestant(f"outrider{level}", port, "/k8s/clusters/c0", processes[1:])


@contextlib.contextmanager
def rival(folder: Path, programs: Path, api: int) -> Iterator[Contestant]:
    """The peer, tuned."""
    port = free_port()
    server = [str(programs / "server"), "-addr", f"127.0.0.1:{port}", "-idle", "256"]
    server += ["-upstream", f"https://127.0.0.1:{api}"]
    agent = [str(programs / "agent"), "-server", f"wss://127.0.0.1:{port}/v3/connect"]
    with running([server, agent], folder, [port, 0]) as processes:
        yield Contestant("peer", port, "/k8s/clusters/c0", processes)


def load(folder: Path, contestant: Contestant, path: str, clients: int, seconds: float) -> dict[str, float]:
    """wrk's figures. Raises SystemExit when an answer was not a success."""
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds:.0f}s", "--timeout", "10s", "--latency"]
    command += ["-s", str(folder / "direct.lua")] if contestant.is_direct else contestant.headers
    text = subprocess.run(
        [*command, contestant.base + path],
        env=os.environ | {"WRK_PATH": path},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"{contestant.name}: {text}")
    total = re.search(r"(\d+) requests in", text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    if total is None or rate is None:
        raise SystemExit(f"{contestant.name}: wrk said nothing: {text}")
    return {
        "ops": float(total[1]),
        "rate": float(rate[1]),
        "p50_ms": latency(text, 50),
        "p99_ms": latency(text, 99),
    }


def latency(text: str, percentile: int) -> float:
    """A percentile of wrk's table in ms."""
    found = re.search(rf"\s{percentile}%\s+([\d.]+)(us|ms|s)", text)
    return float(found[1]) * {"us": 0.001, "ms": 1, "s": 1000}[found[2]] if found else 0.0


def watch(contestant: Contestant, seconds: float) -> dict[str, float]:
    """Lines of one watch, read by curl and counted by wc."""
    url = f"{contestant.base}/watch?rate=0"
    curl = ["curl", "-skN", "--http1.1", "-m", str(seconds), *contestant.headers, url]
    reader = subprocess.Popen(curl, stdout=subprocess.PIPE)
    count = subprocess.run(["wc", "-l"], stdin=reader.stdout, capture_output=True, text=True, check=True)
    reader.wait()
    lines = float(count.stdout)
    return {"ops": max(lines, 1), "rate": lines / seconds, "p50_ms": 0.0, "p99_ms": 0.0}


def measure(folder: Path, contestant: Contestant, case: str) -> dict[str, float]:
    """One case of one contestant in one round."""
    before = contestant.cpu()
    if case == "watch":
        figures = watch(contestant, SECONDS)
    elif case == "list":
        figures = load(folder, contestant, LIST, 4, SECONDS)
    else:
        figures = load(folder, contestant, POD, int(case[1:]), SECONDS)
    figures["cpu_us_per_op"] = (contestant.cpu() - before) / figures["ops"] * 1e6
    return figures


def report(case: str, level: int, rounds: list[dict[str, dict[str, float]]]) -> None:
    """One result line: medians, and medians of the paired ratios."""
    name = f"outrider{level}"
    own = [figures[name] for figures in rounds]
    line: dict[str, object] = {"bench": "proxy", "case": case, "audit": level, "rounds": len(rounds)}
    line |= {key: round(statistics.median(one[key] for one in own), 3) for key in own[0] if key != "ops"}
    for other, key, figure in (
        ("peer", "rate_vs_peer", "rate"),
        ("peer", "cpu_vs_peer", "cpu_us_per_op"),
        ("direct", "rate_vs_direct", "rate"),
    ):
        pairs = [f[name][figure] / f[other][figure] for f in rounds if f.get(other, {}).get(figure)]
        if pairs:
            line[key] = round(statistics.median(pairs), 3)
    print(json.dumps(line), flush=True)


def main() -> None:
    """All cases."""
    programs = peer()
    results: dict[str, list[dict[str, dict[str, float]]]] = {case: [] for case in CASES}
    with tempfile.TemporaryDirectory(prefix="ob") as name:
        folder = Path(name)
        certificates(folder / "certs")
        (folder / "kubeconfig").write_text(KUBECONFIG)
        (folder / "direct.lua").write_text(direct_script())
        api = free_port()
        stub = (
            [str(programs / "upstream"), "-addr", f"127.0.0.1:{api}"]
            if programs
            else [
                sys.executable,
                "-m",
                "stand.api",
                str(folder / "certs/srv.crt"),
                str(folder / "certs/srv.key"),
                str(api),
            ]
        )
        with running([stub], folder, [api]):
            for number in range(ROUNDS):
                ways = [lambda: contextlib.nullcontext(Contestant("direct", api, "", []))]
                ways += [lambda level=level: outrider(folder, api, level) for level in (0, 1)]
                ways += [lambda: rival(folder, programs, api)] if programs else []
                ways = ways[number % len(ways) :] + ways[: number % len(ways)]
                figures: dict[str, dict[str, dict[str, float]]] = {case: {} for case in CASES}
                for way in ways:
                    with way() as contestant:
                        settle(folder, contestant)
                        for case in CASES:
                            figures[case][contestant.name] = measure(folder, contestant, case)
                for case in CASES:
                    results[case].append(figures[case])
    for case in CASES:
        for level in (0, 1):
            report(case, level, results[case])


def settle(folder: Path, contestant: Contestant) -> None:
    """Waits until it answers, and warms it up."""
    probe = ["curl", "-sk", "-m", "2", "-o", "/dev/null", "-w", "%{http_code}", *contestant.headers]
    for _ in range(100):
        code = subprocess.run([*probe, contestant.base + POD], capture_output=True, check=False)
        if code.stdout == b"200":
            break
        time.sleep(0.1)
    load(folder, contestant, POD, 16, 1)


def direct_script() -> str:
    """wrk joins headers of one name, so what the agent would add is spelled out."""
    lines = "".join(f"{line}\\r\\n" for line in ("Host: localhost", *IMPERSONATION, *GROUPS))
    return (
        f'local raw = "GET " .. os.getenv("WRK_PATH") .. " HTTP/1.1\\r\\n{lines}\\r\\n"\n'
        "request = function() return raw end\n"
    )


KUBECONFIG = """apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {token: x}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
"""

if __name__ == "__main__":
    main()
