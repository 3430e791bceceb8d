"""Roles: until a change is in effect, ten thousand bindings, and what an edit and a second start write.

The feature runs on two real API servers, with the real appliers in this process and a stand-in for the tunnel between
them. `effective`: from the creation (or deletion) of a binding until the other cluster's authorizer says so. `scale`:
50 projects of 20 namespaces, 500 users with one project binding each; `server_mb` is what the server's own side grew by
before the cluster was handed anything, `seconds` from the first binding until the last RoleBinding is there. `edit`: a
role template that 1,000 bindings use, in two real clusters and 18 stand-ins that count writes. `again`: a second start
with nothing changed. OUTRIDER_BENCH_SCALE=0.1 makes all of it smaller.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from outrider.apis.install import install
from outrider.apis.management import (
    CLUSTER_ROLE_TEMPLATE_BINDINGS,
    PROJECT_ROLE_TEMPLATE_BINDINGS,
    PROJECTS,
    ROLE_TEMPLATES,
)
from outrider.delivery.assembly import derive
from outrider.delivery.entries import LABEL
from outrider.delivery.ledger import NAMESPACE
from outrider.delivery.presence import MANAGER
from outrider.features.rbac.builtin import install_builtin_roles
from outrider.kit.tasks import cancel_and_wait
from outrider.kube.builtin import NAMESPACES, ROLEBINDINGS
from outrider.kube.client import Client
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.embedded.commands import DOWNSTREAM_CONTROLLERS, MANAGEMENT_CONTROLLERS
from outrider.kube.meta import ObjectKey
from outrider.kube.transport import HttpTransport, Request, Response
from tests.support.hosted import hosted
from tests.support.roles import Site, can, until

SCALE = float(os.environ.get("OUTRIDER_BENCH_SCALE", "1"))
RULE = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
Json = dict[str, Any]

_RESOURCES = {
    "/api/v1": {
        "namespaces": ("Namespace", False),
        "secrets": ("Secret", True),
        "limitranges": ("LimitRange", True),
    },
    "/apis/rbac.authorization.k8s.io/v1": {
        "clusterroles": ("ClusterRole", False),
        "clusterrolebindings": ("ClusterRoleBinding", False),
        "roles": ("Role", True),
        "rolebindings": ("RoleBinding", True),
    },
    "/apis/admissionregistration.k8s.io/v1": {
        "validatingadmissionpolicies": ("ValidatingAdmissionPolicy", False),
        "validatingadmissionpolicybindings": ("ValidatingAdmissionPolicyBinding", False),
    },
}
_PLURALS = {plural for known in _RESOURCES.values() for plural in known}


class StubServer:
    """An API server in memory that keeps what is applied and counts writes by resource."""

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}
        self.writes: Counter[str] = Counter()

    async def request(self, request: Request, *, timeout: float) -> Response:
        await asyncio.sleep(0)
        split = urlsplit(request.path)
        body = json.loads(request.body) if request.body else {}
        if request.method == "GET":
            return self._read(split.path, split.query)
        plural = next(part for part in reversed(split.path.split("/")) if part in _PLURALS)
        self.writes[plural] += 1
        name = split.path if request.method != "POST" else f"{split.path}/{body['metadata']['name']}"
        if request.method == "DELETE":
            found = self.objects.pop(name, None)
            return _answer(200 if found else 404, found or {"kind": "Status", "reason": "NotFound"})
        held = self.objects.get(name, {"metadata": {}})
        metadata = {**held["metadata"], **body["metadata"], "uid": name, "resourceVersion": uuid4().hex}
        metadata["managedFields"] = [{"manager": MANAGER, "operation": "Apply", "fieldsV1": {"f:x": {}}}]
        self.objects[name] = {**held, **body, "metadata": metadata}
        return _answer(200, self.objects[name])

    def _read(self, path: str, query: str) -> Response:
        if path in _RESOURCES:
            known = _RESOURCES[path].items()
            resources = [{"name": name, "kind": kind, "namespaced": inside} for name, (kind, inside) in known]
            return _answer(200, {"resources": resources})
        if path.rpartition("/")[2] not in _PLURALS:
            found = self.objects.get(path)
            return _answer(200 if found else 404, found or {"kind": "Status", "reason": "NotFound"})
        key, _, value = parse_qs(query).get("labelSelector", [""])[0].partition("=")
        items = [
            one
            for name, one in self.objects.items()
            if name.startswith(f"{path}/")
            and (not key or one["metadata"].get("labels", {}).get(key) == value)
        ]
        return _answer(200, {"metadata": {"resourceVersion": "1"}, "items": items})

    @asynccontextmanager
    async def stream(self, request: Request, *, timeout: float) -> AsyncIterator[Silence]:
        yield Silence()

    async def close(self) -> None:
        self.objects.clear()


class Silence:
    """A watch that never tells anything."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""


def _answer(status: int, body: Json) -> Response:
    return Response(
        status=status, headers={"content-type": "application/json"}, body=json.dumps(body).encode()
    )


def say(case: str, **figures: object) -> None:
    print(json.dumps({"bench": "roles", "case": case, **figures}), flush=True)


def pss_mb() -> float:
    gc.collect()
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:"))


def scaled(count: int, least: int = 2) -> int:
    return max(least, round(count * SCALE))


async def each(work: Iterable[Callable[[], Awaitable[Any]]], at_a_time: int = 16) -> None:
    slots = asyncio.Semaphore(at_a_time)

    async def one(call: Callable[[], Awaitable[Any]]) -> None:
        async with slots:
            await call()

    await asyncio.gather(*(one(call) for call in work))


class Bench:
    """One site, with stand-ins for further clusters."""

    def __init__(self, management: EmbeddedCluster, downstream: EmbeddedCluster) -> None:
        self._transports = [HttpTransport(one.access, max_connections=32) for one in (management, downstream)]
        self._here, self._there = (Client(one) for one in self._transports)
        self._stubs = {f"c-stub-{n}": StubServer() for n in range(scaled(18))}
        self._task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        await install(self._here)
        await install_builtin_roles(self._here)
        for client in (self._here, self._there):
            await client.apply(NAMESPACES, {"metadata": {"name": NAMESPACE}})
        for stub in self._stubs.values():
            await Client(stub).apply(NAMESPACES, {"metadata": {"name": NAMESPACE}})
        site = self._site()
        await self._start(site)
        await self._effective(site)
        await self._edit(site)
        await self._scale(site)
        await self._again(site)
        await self._stop()
        for transport in self._transports:
            await transport.close()

    def _site(self, cluster: str = "") -> Site:
        appliers = {
            name: Client(one, field_manager=MANAGER, max_retries=2)
            for name, one in zip(("local", "other"), self._transports, strict=True)
        }
        appliers |= {name: Client(one, field_manager=MANAGER) for name, one in self._stubs.items()}
        return Site(self._here, self._there, appliers, cluster=cluster, report_every=0.5)

    async def _start(self, site: Site) -> None:
        for name in ("local", site.c, *self._stubs):
            await site.record(name)
        self._task = asyncio.create_task(site.run())
        await until(lambda: len(set(site.written)) >= 2 + len(self._stubs), 120)
        await self._quiet(site)

    async def _stop(self) -> None:
        if self._task is not None:
            await cancel_and_wait(self._task)

    async def _quiet(self, site: Site) -> None:
        before = -1
        while before != len(site.written):
            before = len(site.written)
            await asyncio.sleep(3)

    async def _effective(self, site: Site) -> None:
        times: dict[str, list[float]] = {"given": [], "taken": []}
        for n in range(scaled(100, 10)):
            user = f"u-effective-{n}"
            body = {"metadata": {"name": f"b-{n}", "namespace": site.c}, "userName": user}
            begun = time.perf_counter()
            await self._here.create(
                CLUSTER_ROLE_TEMPLATE_BINDINGS,
                body | {"clusterName": site.c, "roleTemplateName": "nodes-view"},
            )
            await self._becomes(user, allowed=True)
            times["given"].append(time.perf_counter() - begun)
            begun = time.perf_counter()
            await self._here.delete(CLUSTER_ROLE_TEMPLATE_BINDINGS, f"b-{n}", site.c)
            await self._becomes(user, allowed=False)
            times["taken"].append(time.perf_counter() - begun)
        for case, found in times.items():
            found.sort()
            p50, p99 = found[len(found) // 2], found[int(len(found) * 0.99)]
            say(f"effective-{case}", count=len(found), p50_ms=round(p50 * 1e3, 1), p99_ms=round(p99 * 1e3, 1))

    async def _becomes(self, user: str, *, allowed: bool) -> None:
        while await can(self._there, user, "list", "nodes") != allowed:
            await asyncio.sleep(0.005)

    async def _edit(self, site: Site) -> None:
        template = {"metadata": {"name": "t-bench"}, "context": "cluster", "rules": [RULE]}
        await self._here.create(ROLE_TEMPLATES, template)
        clusters = [*self._stubs, site.c]
        count = scaled(1000)

        def bind(n: int) -> Awaitable[Any]:
            cluster = clusters[n % len(clusters)]
            body = {
                "metadata": {"name": f"e-{n}", "namespace": cluster},
                "clusterName": cluster,
                "roleTemplateName": "t-bench",
                "userName": f"u-{n}",
            }
            return self._here.create(CLUSTER_ROLE_TEMPLATE_BINDINGS, body)

        await each([lambda n=n: bind(n) for n in range(count)])  # type: ignore[misc]
        await self._quiet(site)
        for stub in self._stubs.values():
            stub.writes.clear()
        before = await self._versions()
        begun = time.perf_counter()
        await self._here.patch(ROLE_TEMPLATES, "t-bench", {"rules": [RULE, {**RULE, "verbs": ["list"]}]})

        def done() -> bool:
            return all(stub.writes["clusterroles"] for stub in self._stubs.values())

        await until(done, 60)
        seconds = time.perf_counter() - begun
        await self._quiet(site)
        after = await self._versions()
        writes = [
            Counter({k: v for k, v in one.writes.items() if k != "secrets"}) for one in self._stubs.values()
        ]
        say(
            "edit",
            clusters=len(clusters) + 1,
            bindings=count,
            seconds=round(seconds, 3),
            role_writes_a_cluster=max(one["clusterroles"] for one in writes),
            other_writes=sum(sum(one.values()) - one["clusterroles"] for one in writes),
            real_objects_changed=sum(before.get(key) != version for key, version in after.items()),
        )

    async def _versions(self) -> dict[str, str]:
        """What delivery has in the real cluster; the aggregator is the cluster's own doing."""
        found = {}
        for plural in ("clusterroles", "clusterrolebindings", "rolebindings"):
            path = f"/apis/rbac.authorization.k8s.io/v1/{plural}?labelSelector={LABEL}%3Dtrue"
            for one in (await self._there.get_json(path))["items"]:
                if not one["metadata"]["name"].endswith("-aggregator"):
                    found[one["metadata"]["uid"]] = one["metadata"]["resourceVersion"]
        return found

    async def _scale(self, site: Site) -> None:
        projects, spaces, users = scaled(50), scaled(20), scaled(500, 10)
        await each(
            lambda n=n: self._here.create(  # type: ignore[misc]
                PROJECTS,
                {"metadata": {"name": f"p-{n}", "namespace": site.c}, "spec": {"clusterName": site.c}},
            )
            for n in range(projects)
        )
        await each(
            lambda n=n: self._there.create(  # type: ignore[misc]
                NAMESPACES,
                {
                    "metadata": {
                        "name": f"bench-{n}",
                        "annotations": {"field.cattle.io/projectId": f"{site.c}:p-{n % projects}"},
                    }
                },
            )
            for n in range(projects * spaces)
        )
        await self._quiet(site)
        site.offline.add(site.c)
        before, begun = pss_mb(), time.perf_counter()
        await each(
            lambda n=n: self._here.create(  # type: ignore[misc]
                PROJECT_ROLE_TEMPLATE_BINDINGS,
                {
                    "metadata": {"name": f"m-{n}", "namespace": site.c},
                    "projectName": f"{site.c}:p-{n % projects}",
                    "roleTemplateName": "workloads-view",
                    "userName": f"u-{n}",
                },
            )
            for n in range(users)
        )
        record = site.clusters.get(ObjectKey("", site.c))
        assert record is not None
        derived = await derive(record, [site.feature.objects])
        grown, handed = pss_mb() - before, time.perf_counter()
        site.offline.clear()
        site.controller.enqueue(ObjectKey("", site.c))
        while not site.settled(site.c, derived.hash):
            await asyncio.sleep(0.05)
        done = time.perf_counter()
        made = await self._bindings()
        if made < users * spaces:
            raise RuntimeError(f"{made} RoleBindings of {users * spaces}")
        say(
            "scale",
            projects=projects,
            namespaces=projects * spaces,
            users=users,
            role_bindings=made,
            desired_objects=derived.size,
            seconds=round(done - begun, 1),
            seconds_handed=round(done - handed, 1),
            server_mb=round(grown, 1),
            with_agent_mb=round(pss_mb() - before, 1),
        )

    async def _bindings(self) -> int:
        """RoleBindings of members; those on the namespaces themselves are one a namespace and come on top."""
        found = await self._there.list(ROLEBINDINGS, labels=f"{LABEL}=true")
        return sum(one["metadata"]["name"].startswith("rb-") for one in found.items)

    async def _again(self, site: Site) -> None:
        await self._quiet(site)
        await self._stop()
        before = await self._versions()
        for stub in self._stubs.values():
            stub.writes.clear()
        second = self._site(site.c)
        begun = time.perf_counter()
        await self._start(second)
        after = await self._versions()
        say(
            "again",
            seconds=round(time.perf_counter() - begun, 1),
            changed_objects=sum(before.get(key) != version for key, version in after.items()),
            objects=len(after),
            stub_secrets=sum(one.writes["secrets"] for one in self._stubs.values()),
        )


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="outrider-bench-") as folder:
        here = EmbeddedCluster(
            Path(folder) / "here", durable=False, controllers=MANAGEMENT_CONTROLLERS, name="bench"
        )
        there = EmbeddedCluster(
            Path(folder) / "there", durable=False, controllers=DOWNSTREAM_CONTROLLERS, name="other"
        )
        with hosted(here), hosted(there):
            asyncio.run(Bench(here, there).run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
