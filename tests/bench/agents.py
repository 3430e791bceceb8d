"""A thousand agents, connected and idle: what they cost, and how they come back after the server restarted.

Real: `outrider up` with its management cluster, and of each agent the dialer, the tunnel and the reports (see
`stand/fleet.py`). A made-up cluster has BENCH_NODES nodes. Lines, one a case:

`records`: the clusters are created: seconds until each has its registration token, and what they weigh unconnected.
`connect`: seconds until all agents had a tunnel, dialled over 20 s, and until all clusters are active.
`idle`: proportional set size of gateway and control above the empty server's, for each agent, and the share of a core
that they use (`cpu_percent`) over a minute in which nothing happens; that of the management cluster beside it.
`restart gateway`, `restart server` (gateway and control): killed; seconds until every agent has a tunnel again,
how many came back in which second (`curve`), the most in any one (`peak_per_second`), and the most of a core that
each process used in any two seconds (`gateway_peak_percent`, `control_peak_percent`).

Each line names the machine's `load` (of the last minute): these figures mean little beside other work.

BENCH_AGENTS (1000), BENCH_NODES (3), BENCH_SETTLE (60 s) and BENCH_PROCESSES (4) change the size.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from outrider.apis.management.cluster import CLUSTERS
from outrider.kit.tasks import cancel_and_wait
from outrider.kube import kubeconfig
from outrider.kube.builtin import SECRETS
from outrider.kube.client import Client
from outrider.kube.transport import HttpTransport
from tests.bench.stand.fleet import FleetConfig
from tests.support.instance import Instance

AGENTS = int(os.environ.get("BENCH_AGENTS", "1000"))
NODES = int(os.environ.get("BENCH_NODES", "3"))
SETTLE = float(os.environ.get("BENCH_SETTLE", "60"))
PROCESSES = int(os.environ.get("BENCH_PROCESSES", "4"))
PATIENCE = 900.0
REPLICA = ("gateway", "control")
TICKS = os.sysconf("SC_CLK_TCK")


def report(case: str, **figures: object) -> None:
    """One result line."""
    load = round(os.getloadavg()[0], 1)
    print(
        json.dumps({"bench": "agents", "case": case, "agents": AGENTS, "load": load, **figures}), flush=True
    )


def pss(pid: int) -> int:
    """Proportional set size in KB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Server:
    """The instance's processes and its management cluster."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance

    def weights(self) -> dict[str, int]:
        """KB by role."""
        return {role: pss(self.instance.pid(role)) for role in REPLICA}

    def used(self) -> dict[str, float]:
        """Seconds of processor time by role."""
        pids = self.instance.ready["pids"]
        used = {role: cpu_seconds(self.instance.pid(role)) for role in REPLICA}
        kube = [cpu_seconds(pid) for role, pid in pids.items() if role.startswith("management-")]
        return used | {"management": sum(kube)}

    @contextmanager
    def fleet(self, folder: Path, tokens: list[str], log: Path) -> Iterator[None]:
        """All agents, in a few processes."""
        ready = self.instance.ready
        checksum = hashlib.sha256(_pem(ready["ca_file"])).hexdigest()
        share = -(-len(tokens) // PROCESSES)
        running = []
        for first in range(0, len(tokens), share):
            config = FleetConfig(
                server=ready["url"],
                checksum=checksum,
                tokens=tokens[first : first + share],
                log=str(log),
                first=first,
                nodes=NODES,
            )
            path = folder / f"fleet-{first}.json"
            path.touch(mode=0o600)
            path.write_bytes(msgspec.json.encode(config))
            with (folder / f"fleet-{first}.log").open("wb") as output:
                command = [sys.executable, "-m", "tests.bench.stand.fleet", str(path)]
                running.append(subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT))
        try:
            yield
        finally:
            for process in running:
                process.kill()
                process.wait()


def _pem(path: str) -> bytes:
    return Path(path).read_bytes()


async def until(done: Callable[[], Awaitable[bool]], pause: float = 1.0) -> float:
    """Seconds that it took; SystemExit when it takes too long."""
    began = time.monotonic()
    while not await done():
        if time.monotonic() - began > PATIENCE:
            raise SystemExit(f"not within {PATIENCE:.0f} s")
        await asyncio.sleep(pause)
    return time.monotonic() - began


async def create(client: Client) -> float:
    """Creates the cluster records, a few at a time; seconds."""
    gate = asyncio.Semaphore(8)

    async def one(number: int) -> None:
        draft = {
            "apiVersion": CLUSTERS.api_version,
            "kind": CLUSTERS.kind,
            "metadata": {"generateName": "c-"},
            "spec": {"displayName": f"bench-{number}", "importedConfig": {}},
        }
        async with gate:
            await client.create(CLUSTERS, draft)

    began = time.monotonic()
    await asyncio.gather(*(one(number) for number in range(AGENTS)))
    return time.monotonic() - began


async def tokens_of(client: Client) -> list[str]:
    """One registration token of each cluster that has any by now."""
    found = await client.list(SECRETS, labels="management.cattle.io/registration-token=true")
    tokens = {
        one["metadata"]["namespace"]: base64.b64decode(one["data"]["token"]).decode()
        for one in found.items
        if "token" in (one.get("data") or {})
    }
    return [token for cluster, token in sorted(tokens.items()) if cluster != "local"]


async def active(client: Client) -> int:
    """How many clusters are active and connected, but for `local`."""
    clusters = (await client.list(CLUSTERS)).items
    return sum(
        one.status.state == "active" and bool(one.status.connected)
        for one in clusters
        if one.metadata.name != "local"
    )


class Arrivals:
    """The tunnels that opened, as the fleet logs them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def since(self, moment: float) -> dict[int, float]:
        """First opening of each agent after a moment, in seconds from it."""
        first: dict[int, float] = {}
        if self._path.exists():
            for line in self._path.read_text().splitlines():
                when, _, number = line.partition(" ")
                if float(when) >= moment:
                    first.setdefault(int(number), float(when) - moment)
        return first

    async def all_since(self, moment: float) -> dict[int, float]:
        """The same, once every agent is back."""

        async def complete() -> bool:
            return len(self.since(moment)) >= AGENTS

        await until(complete, 0.5)
        return self.since(moment)


async def idle(server: Server, empty: dict[str, int]) -> None:
    """What they cost while nothing happens."""
    await asyncio.sleep(SETTLE)
    before, began = server.used(), time.monotonic()
    await asyncio.sleep(60)
    seconds = time.monotonic() - began
    spent = {role: 100 * (used - before[role]) / seconds for role, used in server.used().items()}
    weights = server.weights()
    each = {role: (weights[role] - empty[role]) / AGENTS for role in REPLICA}
    report(
        "idle",
        kb_per_agent=round(sum(each.values()), 1),
        gateway_kb_per_agent=round(each["gateway"], 1),
        control_kb_per_agent=round(each["control"], 1),
        cpu_percent=round(spent["gateway"] + spent["control"], 2),
        **{f"{role}_cpu_percent": round(value, 2) for role, value in spent.items()},
        **{f"{role}_pss_kb": value for role, value in weights.items()},
    )


class Peaks:
    """The largest share of a core that each of the replica's processes used between two looks."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.percent = dict.fromkeys(REPLICA, 0.0)

    async def follow(self) -> None:
        """Looks every two seconds until cancelled."""
        before, moment = self._look(), time.monotonic()
        while True:
            await asyncio.sleep(2)
            now, after = time.monotonic(), self._look()
            for role, (pid, used) in after.items():
                was = before.get(role, (0, 0.0))
                spent = used - (was[1] if was[0] == pid else 0.0)
                self.percent[role] = max(self.percent[role], 100 * spent / (now - moment))
            before, moment = after, now

    def _look(self) -> dict[str, tuple[int, float]]:
        found = {}
        for role in REPLICA:
            pid = self._server.instance.pid(role)
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found[role] = (pid, cpu_seconds(pid))
        return found


async def restart(
    server: Server, arrivals: Arrivals, client: Client, case: str, roles: tuple[str, ...]
) -> None:
    """Kills processes of the server; the supervisor starts them again."""
    moment, before = time.time(), server.used()["management"]
    peaks = Peaks(server)
    following = asyncio.create_task(peaks.follow())
    for role in roles:
        os.kill(server.instance.pid(role), signal.SIGKILL)
    back = await arrivals.all_since(moment)
    await cancel_and_wait(following)
    curve = Counter(int(seconds) for seconds in back.values())

    async def whole() -> bool:
        return await active(client) == AGENTS

    await until(whole)
    report(
        case,
        seconds=round(max(back.values()), 2),
        active_seconds=round(time.time() - moment, 1),
        peak_per_second=max(curve.values()),
        **{f"{role}_peak_percent": round(value) for role, value in peaks.percent.items()},
        curve=[curve.get(second, 0) for second in range(max(curve) + 1)],
        management_cpu_seconds=round(server.used()["management"] - before, 1),
    )


async def run(instance: Instance, folder: Path) -> None:
    """All cases."""
    server = Server(instance)
    transport = HttpTransport(kubeconfig.load(instance.data / "server" / "management.kubeconfig"))
    client = Client(transport)
    arrivals = Arrivals(folder / "arrivals")
    await asyncio.sleep(15)
    empty = server.weights()

    async def all_tokens() -> bool:
        return len(await tokens_of(client)) >= AGENTS

    before = server.used()
    created = await create(client)
    pending = await until(all_tokens, 5.0)
    spent = {f"{role}_cpu_seconds": round(used - before[role], 1) for role, used in server.used().items()}
    await asyncio.sleep(10)
    grown = server.weights()["control"] - empty["control"]
    seconds = round(created + pending, 1)
    report("records", seconds=seconds, control_kb_per_record=round(grown / AGENTS, 1), **spent)

    async def whole() -> bool:
        return await active(client) == AGENTS

    moment = time.time()
    with server.fleet(folder, (await tokens_of(client))[:AGENTS], folder / "arrivals"):
        connected = max((await arrivals.all_since(moment)).values())
        await until(whole)
        report("connect", seconds=round(connected, 1), active_seconds=round(time.time() - moment, 1))
        await idle(server, empty)
        await restart(server, arrivals, client, "restart gateway", ("gateway",))
        await asyncio.sleep(15)
        await restart(server, arrivals, client, "restart server", REPLICA)
    await transport.close()


def main() -> None:
    """Starts the server, measures, stops it; also when it is told to end early."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="ob") as name:
        folder = Path(name)
        instance = Instance(folder)
        instance.start()
        try:
            asyncio.run(run(instance, folder))
        finally:
            instance.stop()


if __name__ == "__main__":
    main()
