"""`/v1/pods` of a cluster with 10,000 pods on a real API server, and what the event loop feels of it.

Times are of whole answers from the façade, without the gateway: `first_ms` of the first, `p50_ms` and `worst_ms` of
those after it, `byte_ms` the longest wait for a first byte, `cpu_ms` what one of them costs this process in the mean.
`turn_ms` is the most that the event loop's thread worked without giving others a turn, `stall_ms` how long that was by
the clock, other processes and threads included. `memory_mb` is the peak of what the process holds above what it held
before. Subscribers: `ready_s` until all are, `told_all_ms` from a write until the last of them is told, `cpu_ms` of
this process meanwhile, its clients included, `kb_each` their memory.
"""

import asyncio
import gc
import itertools
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import picows
import uvicorn
import uvloop

from outrider.apis.install import install
from outrider.apis.management.cluster import CLUSTERS
from outrider.facade.v1.lists import Lists
from outrider.facade.websocket import WebSocketProtocol
from outrider.kit.clock import SystemClock
from outrider.kube.builtin import CLUSTERROLEBINDINGS, CLUSTERROLES, CONFIGMAPS, PODS, plain
from outrider.kube.client import Client
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.identity import Identity
from outrider.kube.transport import HttpTransport
from outrider.link.claims import encode_claim
from outrider.link.messages import CLAIM_HEADER, Claim
from outrider.runtime.manager import Manager
from tests.bench.lists import clusters
from tests.integration.views.conftest import GROUPS, HOST, RBAC, Person, Plane
from tests.support.etcd import etcd_of
from tests.support.hosted import hosted
from tests.support.memory import Peak

COUNT, NODES, PAGES, SUBSCRIBERS = 10_000, 100, 12, 500
IDLE = 5.0


def pods() -> list[dict[str, Any]]:
    """Pods as they are while they run: some 4 KB each, a third of it what their managers wrote down."""
    return [pod(number) for number in range(COUNT)]


def pod(number: int) -> dict[str, Any]:
    """One of them."""
    app, name = f"app-{number % 200:03}", f"app-{number % 200:03}-{number:05}-x{number * 7919 % 99991:05}"
    since = f"2026-01-{1 + number % 28:02}T{number % 24:02}:{number % 60:02}:00Z"
    mount = {
        "name": "kube-api-access",
        "readOnly": True,
        "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
    }
    container = {
        "name": "main",
        "image": f"registry.example.com/team/{app}:v1.{number % 9}.0",
        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
        "env": [{"name": f"SETTING_{index}", "value": f"value-{index}-{number % 10}"} for index in range(8)],
        "resources": {
            "limits": {"cpu": "500m", "memory": "256Mi"},
            "requests": {"cpu": "50m", "memory": "64Mi"},
        },
        "volumeMounts": [mount],
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
    }
    managed = {
        f'k:{{"name":"SETTING_{index}"}}': {".": {}, "f:name": {}, "f:value": {}} for index in range(8)
    }
    conditions = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    return {
        "metadata": {
            "name": name,
            "namespace": f"team-{number % 40:02}",
            "labels": {
                "app.kubernetes.io/name": app,
                "pod-template-hash": f"{number % 200:05}",
                "tier": "web",
            },
            "annotations": {"example.com/checksum": f"{number:064x}"},
            "creationTimestamp": since,
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": app,
                    "uid": f"u-{number % 200}",
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
            "managedFields": [
                {
                    "manager": "kube-controller-manager",
                    "operation": "Update",
                    "apiVersion": "v1",
                    "time": since,
                    "fieldsType": "FieldsV1",
                    "fieldsV1": {"f:spec": {"f:containers": {'k:{"name":"main"}': {"f:env": managed}}}},
                }
            ],
        },
        "spec": {
            "nodeName": f"node-{number * 31 % NODES:03}",
            "serviceAccountName": "default",
            "restartPolicy": "Always",
            "dnsPolicy": "ClusterFirst",
            "schedulerName": "default-scheduler",
            "terminationGracePeriodSeconds": 30,
            "securityContext": {},
            "containers": [container],
            "volumes": [{"name": "kube-api-access", "emptyDir": {}}],
            "tolerations": [
                {
                    "key": f"node.kubernetes.io/{what}",
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": 300,
                }
                for what in ("not-ready", "unreachable")
            ],
        },
        "status": {
            "phase": "Running" if number % 17 else "Pending",
            "podIP": f"10.{number % 200}.{number // 250 % 250}.{number % 250}",
            "hostIP": f"192.168.0.{number * 31 % NODES}",
            "startTime": since,
            "qosClass": "Burstable",
            "conditions": [
                {"type": kind, "status": "True", "lastTransitionTime": since, "lastProbeTime": None}
                for kind in conditions
            ],
            "containerStatuses": [
                {
                    "name": "main",
                    "ready": True,
                    "started": True,
                    "restartCount": number % 5,
                    "image": container["image"],
                    "imageID": f"sha256:{number:064x}",
                    "containerID": f"containerd://{number:064x}",
                    "state": {"running": {"startedAt": since}},
                    "lastState": {},
                }
            ],
        },
    }


class Stall:
    """The longest time in which the event loop gave nothing else a turn."""

    def __init__(self) -> None:
        self.worst = self.turn = 0.0
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        last, worked = time.perf_counter(), time.thread_time()
        while True:
            await asyncio.sleep(0.001)
            self.worst = max(self.worst, time.perf_counter() - last - 0.001)
            self.turn = max(self.turn, time.thread_time() - worked)
            last, worked = time.perf_counter(), time.thread_time()

    def end(self) -> dict[str, float]:
        """Milliseconds: of work, and by the clock."""
        self._task.cancel()
        return {"turn_ms": round(self.turn * 1e3, 1), "stall_ms": round(self.worst * 1e3, 1)}


async def ask(who: Person, path: str) -> tuple[float, float, int]:
    """One request: seconds until its first byte and its last, and its size; nothing of it is kept."""
    claim = Claim(identity=who.identity, user=who.identity.user, host=HOST)
    target, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": target,
        "raw_path": target.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(CLAIM_HEADER.lower().encode(), encode_claim(claim).encode())],
        "client": None,
        "server": None,
    }
    begun, first, size, status = time.perf_counter(), 0.0, 0, 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        nonlocal first, size, status
        status = message.get("status", status)
        size += len(message.get("body", b""))
        first = first or (time.perf_counter() if size else 0.0)

    await who.plane.app(scope, receive, send)
    assert status == 200, (path, status)
    return first - begun, time.perf_counter() - begun, size


async def measure(case: str, who: Person, paths: Sequence[str]) -> None:
    """Some requests, one after the other."""
    times, byte, size = [], 0.0, 0
    gc.collect()
    peak, stall, spent = Peak(os.getpid()), Stall(), time.process_time()
    for path in paths:
        first, whole, size = await ask(who, path)
        byte = max(byte, first)
        times.append(whole * 1e3)
        await asyncio.sleep(0.01)
    row: dict[str, Any] = {"bench": "steve", "case": case, "first_ms": round(times[0], 1)}
    if later := sorted(times[1:]):
        row |= {"p50_ms": round(later[len(later) // 2], 1), "worst_ms": round(later[-1], 1)}
    cpu = (time.process_time() - spent) * 1e3 / len(paths)
    row |= {"byte_ms": round(byte * 1e3, 1), "cpu_ms": round(cpu, 1)} | stall.end()
    row |= {"memory_mb": round(peak.growth, 1), "bytes": size}
    gc.collect()
    print(json.dumps(row), flush=True)


async def subscribers(plane: Plane, admin: Client) -> None:
    """500 people who subscribe to one kind, and one object that changes."""
    people = [await plane.person() for _ in range(SUBSCRIBERS)]
    group = Identity(people[0].identity.user, (*GROUPS, "bench"))
    role = {
        "metadata": {"name": "bench"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}],
    }
    await admin.create(CLUSTERROLES, role)
    subject = {"apiGroup": RBAC, "kind": "Group", "name": "bench"}
    reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "bench"}
    await admin.create(
        CLUSTERROLEBINDINGS, {"metadata": {"name": "bench"}, "roleRef": reference, "subjects": [subject]}
    )
    options = uvicorn.Config(
        plane.app, host="127.0.0.1", port=0, lifespan="off", log_config=None, ws=WebSocketProtocol
    )
    server = uvicorn.Server(options)
    task = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.01)
    address = f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    for case, identities in (
        ("500 subscribers, 500 users", [Identity(one.identity.user, group.groups) for one in people]),
        ("500 subscribers, one user", [group] * SUBSCRIBERS),
    ):
        await _subscribed(case, plane, admin, address, identities)
    server.should_exit = True
    await task


async def _subscribed(
    case: str, plane: Plane, admin: Client, address: str, identities: Sequence[Identity]
) -> None:
    gc.collect()
    peak, started, told = Peak(os.getpid()), asyncio.Semaphore(0), asyncio.Semaphore(0)

    class Ear(picows.WSListener):
        def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
            if frame.msg_type == picows.WSMsgType.TEXT:
                name = msgspec.json.decode(frame.get_payload_as_bytes())["name"]
                (
                    told if name in ("resource.create", "resource.change") else started
                ).release() if name != "ping" else None

    transports = []
    begun = time.perf_counter()
    for identity in identities:
        claim = encode_claim(Claim(identity=identity, user=identity.user, host=HOST))
        transport, _ = await picows.ws_connect(
            Ear, f"ws://{address}/v1/subscribe", extra_headers={CLAIM_HEADER: claim}
        )
        transport.send(picows.WSMsgType.TEXT, b'{"resourceType":"configmap","namespace":"default"}')
        transports.append(transport)
    for _ in identities:
        await started.acquire()
    ready = time.perf_counter() - begun
    stall, name = Stall(), f"bench-{len(case)}"
    spent, begun = time.process_time(), time.perf_counter()
    await admin.create(CONFIGMAPS, {"metadata": {"name": name, "namespace": "default"}, "data": {"a": "b"}})
    for _ in identities:
        await told.acquire()
    row = {
        "bench": "steve",
        "case": case,
        "watches": plane.watches.watches,
        "ready_s": round(ready, 1),
        "told_all_ms": round((time.perf_counter() - begun) * 1e3),
        "cpu_ms": round((time.process_time() - spent) * 1e3),
        **stall.end(),
        "kb_each": round(peak.growth * 1024 / len(identities), 1),
    }
    print(json.dumps(row), flush=True)
    for transport in transports:
        transport.disconnect()
    await asyncio.gather(*(transport.wait_disconnected() for transport in transports))


async def run(cluster: EmbeddedCluster, data_dir: Path) -> None:
    """All cases."""
    transport = HttpTransport(cluster.access)
    client = Client(transport)
    await install(client)
    async with etcd_of(data_dir) as etcd:
        await etcd.plant(PODS, pods())
        await etcd.plant(plain(CLUSTERS), clusters())
    manager = Manager()
    lists = Lists(SystemClock().now, idle=IDLE)
    plane = Plane(client, manager, {"CATTLE_BOOTSTRAP_PASSWORD": "bootstrap-secret-1"}, lists=lists)
    copies = [asyncio.create_task(one.run()) for one in manager._informers.values()]
    try:
        await asyncio.gather(*(one.wait_synced() for one in manager._informers.values()))
        root, jane = await plane.administrator(), await plane.person()
        await jane.may("get", resource="clusters", names=[f"c-b{number:04}" for number in range(20)])
        await measure("warm up", root, ["/v1/configmaps", "/v1/schemas", "/v1/secrets?page=1&pagesize=10"])
        base = "/v1/pods?pagesize=100&exclude=metadata.managedFields"
        sort = "&sort=spec.nodeName,-metadata.name&filter=metadata.state.name=running"
        await measure(
            "pages, sorted by a field, filtered", root, [f"{base}{sort}&page={n}" for n in range(1, PAGES)]
        )
        columns = itertools.cycle(range(9))
        sorts = [f"{base}&sort=-metadata.fields[{next(columns)}]" for _ in range(9)]
        await measure("first page, another column each", root, sorts)
        fields = ("status.podIP", "metadata.creationTimestamp", "metadata.labels[app.kubernetes.io/name]")
        await measure("first page, another field each", root, [f"{base}&sort={field}" for field in fields])
        await measure("summary of states", root, ["/v1/pods?summary=metadata.state.name&summaryonly"] * 3)
        held = Peak(os.getpid())
        await asyncio.sleep(IDLE + 1)
        gc.collect()
        print(
            json.dumps({"bench": "steve", "case": "freed", "lists": len(lists), "mb": round(held.now, 1)}),
            flush=True,
        )
        await measure("whole list", root, ["/v1/pods?exclude=metadata.managedFields"] * 4)
        all_clusters = "/v1/management.cattle.io.clusters"
        page = f"{all_clusters}?pagesize=100&sort=spec.displayName&page="
        await measure("page of 100 clusters, administrator", root, [f"{page}{n}" for n in range(1, PAGES)])
        await measure("2,000 clusters, administrator", root, [all_clusters] * 4)
        await measure("20 of 2,000 clusters", jane, [all_clusters] * 4)
        await subscribers(plane, client)
    finally:
        for copy in copies:
            copy.cancel()
        await asyncio.gather(*copies, return_exceptions=True)
        plane.auth.close()
        await plane.steve.close()
        await plane.reach.close()
        await transport.close()


def main() -> None:
    """Starts a throw-away API server and measures."""
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder) / "cluster"
        cluster = EmbeddedCluster(data_dir, durable=False, controllers=(), name="bench")
        with hosted(cluster):
            uvloop.run(run(cluster, data_dir))


if __name__ == "__main__":
    main()
