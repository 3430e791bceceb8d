"""A desired state of 1,000 objects in one real cluster: brought, restarted, healed, changed, and then left alone.

The applier runs in a process of its own. `rate` is objects a second; `writes` counts the requests other than
GET, `stored` the objects whose resource version changed, `bytes` what was reported upwards; `pss_mb` is the
memory of the process. `idle` lasts ten seconds: nothing may be written, nothing sent.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from outrider.delivery.applier import StateApplier
from outrider.delivery.assembly import assemble
from outrider.delivery.entries import LABEL, Entry
from outrider.delivery.ledger import LABEL as KEPT
from outrider.delivery.ledger import NAMESPACE
from outrider.delivery.parts import compress
from outrider.delivery.presence import MANAGER
from outrider.kit.tasks import cancel_and_wait
from outrider.kube.builtin import CLUSTERROLES, CONFIGMAPS, NAMESPACES, ROLEBINDINGS, SECRETS
from outrider.kube.client import Client
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.kubeconfig import load
from outrider.kube.transport import HttpTransport, Request, Response, StreamedResponse
from outrider.tunnel.reports import StateReport, encode
from tests.support.hosted import hosted

COUNT = 1000
PLACES = 20
IDLE = 10.0
_RBAC = "rbac.authorization.k8s.io"


class Counting:
    """A transport that counts."""

    def __init__(self, inner: HttpTransport) -> None:
        self._inner = inner
        self.writes = 0

    async def request(self, request: Request, *, timeout: float) -> Response:
        self.writes += request.method != "GET"
        return await self._inner.request(request, timeout=timeout)

    def stream(self, request: Request, *, timeout: float) -> AbstractAsyncContextManager[StreamedResponse]:
        return self._inner.stream(request, timeout=timeout)

    async def close(self) -> None:
        await self._inner.close()


def entries(changed: int = -1) -> list[Entry]:
    """What roles and projects make of a cluster: namespaces, roles, bindings, and some data."""
    found: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"team-{n}"}} for n in range(PLACES)
    ]
    for n in range(COUNT - PLACES):
        inside = {"name": f"object-{n}", "namespace": f"team-{n % PLACES}"}
        if n % 4 == 0:
            verbs = ["get", "list"] + (["watch"] if n == changed else [])
            rules = [{"apiGroups": [""], "resources": ["pods", "services"], "verbs": verbs}]
            found.append(
                {
                    "apiVersion": f"{_RBAC}/v1",
                    "kind": "ClusterRole",
                    "metadata": {"name": f"bench-{n}"},
                    "rules": rules,
                }
            )
        elif n % 4 == 1:
            data = {"setting": str(n), "text": "x" * 400}
            found.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": inside, "data": data})
        else:
            subject = {"apiGroup": _RBAC, "kind": "User", "name": f"user-{n}"}
            role = {"apiGroup": _RBAC, "kind": "ClusterRole", "name": "view"}
            found.append(
                {
                    "apiVersion": f"{_RBAC}/v1",
                    "kind": "RoleBinding",
                    "metadata": inside,
                    "roleRef": role,
                    "subjects": [subject],
                }
            )
    return [Entry(owner="bench", object=obj) for obj in found]


class Bench:
    """One applier after the other on one cluster."""

    def __init__(self, access: HttpTransport) -> None:
        self._transport = Counting(access)
        self._client = Client(self._transport, field_manager=MANAGER)
        self._looker = Client(access)
        self._reports: list[StateReport] = []
        self._bytes = 0
        self._term = 0

    def told(self, report: StateReport) -> None:
        self._reports.append(report)
        self._bytes += len(encode(report))

    async def run(self) -> None:
        await self._looker.apply(NAMESPACES, {"metadata": {"name": NAMESPACE}})
        task, applier = self._start()
        await self._measure("bring", COUNT, lambda: self._offer(applier, 1, entries()))
        await asyncio.sleep(2)
        await self._measure("change-one", 1, lambda: self._offer(applier, 2, entries(changed=400)))
        await self._heal()
        await self._idle()
        await cancel_and_wait(task)
        self._reports.clear()
        started: list[asyncio.Task[None]] = []

        def restart() -> None:
            started.append(self._start()[0])

        await self._measure("restart", COUNT, restart)
        await cancel_and_wait(*started)

    def _start(self) -> tuple[asyncio.Task[None], StateApplier]:
        self._term += 1
        applier = StateApplier(self._client, self.told, report_every=0.05)
        return asyncio.create_task(applier.run(self._term)), applier

    def _offer(self, applier: StateApplier, counter: int, wanted: list[Entry]) -> None:
        made = assemble(wanted)
        parts = {digest: compress(part) for digest, part in made.parts.items()}
        asyncio.get_running_loop().call_later(0.2, applier.offer, made.head(1, counter), parts)

    async def _measure(self, case: str, count: int, begin: Callable[[], None]) -> None:
        before, writes, started = await self._versions(), self._transport.writes, time.process_time()
        seen, sent = len(self._reports), self._bytes
        begun = time.perf_counter()
        begin()
        while len(self._reports) == seen or self._reports[-1].pending or self._reports[-1].failed:
            await asyncio.sleep(0.01)
        seconds = time.perf_counter() - begun - (0.2 if case != "restart" else 0)
        after = await self._versions()
        say(
            case,
            rate=round(count / seconds, 1),
            seconds=round(seconds, 3),
            cpu_seconds=round(time.process_time() - started, 3),
            writes=self._transport.writes - writes,
            stored=sum(before.get(key) != version for key, version in after.items()),
            bytes=self._bytes - sent,
        )

    async def _heal(self) -> None:
        """Somebody edits and somebody deletes, twenty times each; the time until it is as it was."""
        gaps = []
        for n in range(1, 81, 4):
            name, place = f"object-{n}", f"team-{n % PLACES}"
            begun = time.perf_counter()
            await self._looker.patch(CONFIGMAPS, name, {"data": {"setting": "edited"}}, place)
            while (await self._looker.get(CONFIGMAPS, name, place))["data"]["setting"] != str(n):
                await asyncio.sleep(0.002)
            gaps.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            await self._looker.delete(CONFIGMAPS, name, place)
            while await self._looker.get_or_none(CONFIGMAPS, name, place) is None:
                await asyncio.sleep(0.002)
            gaps.append(time.perf_counter() - begun)
        gaps.sort()
        say("heal", p50_ms=round(gaps[len(gaps) // 2] * 1e3, 2), p99_ms=round(gaps[-1] * 1e3, 2))

    async def _idle(self) -> None:
        await asyncio.sleep(1)
        before, writes, sent = await self._versions(), self._transport.writes, self._bytes
        started = time.process_time()
        await asyncio.sleep(IDLE)
        cpu = time.process_time() - started
        after = await self._versions()
        say(
            "idle",
            seconds=IDLE,
            cpu_percent=round(100 * cpu / IDLE, 3),
            writes=self._transport.writes - writes,
            stored=sum(before.get(key) != version for key, version in after.items()),
            bytes=self._bytes - sent,
            pss_mb=pss(),
        )

    async def _versions(self) -> dict[str, str]:
        found = {}
        for kind in (NAMESPACES, CLUSTERROLES, ROLEBINDINGS, CONFIGMAPS):
            for obj in (await self._looker.list(kind, labels=f"{LABEL}=true")).items:
                found[obj["metadata"]["uid"]] = obj["metadata"]["resourceVersion"]
        for obj in (await self._looker.list(SECRETS, NAMESPACE, labels=f"{KEPT}=true")).items:
            found[obj["metadata"]["uid"]] = obj["metadata"]["resourceVersion"]
        return found


def pss() -> float:
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return round(int(line.split()[1]) / 1024, 1)
    return 0.0


def say(case: str, **figures: float) -> None:
    print(json.dumps({"bench": "deliver", "case": case, **figures}), flush=True)


async def child(kubeconfig: str) -> None:
    transport = HttpTransport(load(kubeconfig), max_connections=8)
    try:
        await Bench(transport).run()
    finally:
        await transport.close()


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="outrider-bench-") as folder:
        cluster = EmbeddedCluster(Path(folder), durable=False, name="bench")
        with hosted(cluster):
            kubeconfig = str(cluster.kubeconfig(Path(folder) / "admin.yaml"))
            environment = {**os.environ, "OUTRIDER_BENCH_KUBECONFIG": kubeconfig}
            command = [sys.executable, "-m", "tests.bench.deliver"]
            return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    inside = os.environ.get("OUTRIDER_BENCH_KUBECONFIG")
    if inside:
        asyncio.run(child(inside))
    else:
        sys.exit(main())
