"""The feature of roles on real clusters, with a stand-in for the hand-over between server and agent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import msgspec

from outrider.apis.management import CLUSTERS, Cluster
from outrider.delivery import versions
from outrider.delivery.applier import StateApplier
from outrider.delivery.assembly import derive
from outrider.delivery.parts import compress
from outrider.features.rbac import setup
from outrider.kit.clock import SystemClock
from outrider.kube.builtin import NAMESPACES
from outrider.kube.client import Client
from outrider.kube.identity import Identity
from outrider.kube.meta import ObjectKey
from outrider.runtime.controller import DONE, Controller, Result
from outrider.runtime.informer import Informer
from outrider.runtime.manager import Manager
from outrider.tunnel.reports import StateReport

Json = dict[str, Any]
REVIEWS = "authorization.k8s.io/v1"


async def until(condition: Callable[[], Any], seconds: float = 40.0) -> Any:
    """Wait until it holds, and return what it gave; a coroutine function is awaited."""
    async with asyncio.timeout(seconds):
        while True:
            held = condition()
            if isinstance(held, Awaitable):
                held = await held
            if held:
                return held
            await asyncio.sleep(0.02)


async def can(
    client: Client,
    user: str,
    verb: str,
    resource: str,
    namespace: str = "",
    *,
    groups: tuple[str, ...] = (),
    **more: str,
) -> bool:
    """What the real authorizer says."""
    asked = {"verb": verb, "resource": resource, "namespace": namespace, **more}
    groups = (*groups, "system:authenticated")
    spec = {"user": user, "groups": list(groups), "resourceAttributes": asked}
    review = {"apiVersion": REVIEWS, "kind": "SubjectAccessReview", "spec": spec}
    answer = await client.post(f"/apis/{REVIEWS}/subjectaccessreviews", review)
    return bool(answer["status"]["allowed"])


class Site:
    """The two clusters with the feature between them; `c` is the id of the other one.

    `cluster` is that id, if it is given. `appliers` are the clients of delivery: of `local`, of `other`, and of
    further clusters by their ids.
    """

    def __init__(
        self,
        here: Client,
        there: Client,
        appliers: dict[str, Client],
        *,
        cluster: str = "",
        report_every: float = 0.02,
    ) -> None:
        self.here, self.there = here, there
        self.c = cluster or f"c-{uuid4().hex[:8]}"
        self.written: list[str] = []
        self.offline: set[str] = set()
        self._clock = SystemClock()
        self.manager = Manager(clock=self._clock)
        self.clusters: Informer[Cluster] = self.manager.add_informer(Informer(here, CLUSTERS))
        self.feature = setup.build(here, self.manager, self.clusters, self._clock)
        self._appliers = {
            name: StateApplier(
                client,
                lambda report, cluster=name: self._report(cluster, report),  # type: ignore[misc]
                retry=0.3,
                report_every=report_every,
            )
            for name, client in ((self.c if key == "other" else key, one) for key, one in appliers.items())
        }
        self._hashes: dict[str, str] = {}
        self._counter = 0
        self._reported: dict[str, StateReport] = {}
        self.controller = Controller(
            "hand-over", self, workers=2, sources=self.feature.objects.sources, clock=self._clock
        )
        self.manager.add_controller(self.controller)

    def settled(self, cluster: str, wanted: str) -> bool:
        """Whether a cluster reported that all of the set with that hash is applied."""
        report = self._reported.get(cluster)
        return report is not None and report.hash == wanted and not report.pending and not report.failed

    def _report(self, cluster: str, report: StateReport) -> None:
        self._reported[cluster] = report
        self.controller.enqueue(ObjectKey("", cluster))

    async def reconcile(self, key: ObjectKey) -> Result:
        """What the publisher does for one cluster."""
        record, applier = self.clusters.get(key), self._appliers.get(key.name)
        if record is None or applier is None or key.name in self.offline:
            return DONE
        wanted = await derive(record, [self.feature.objects])
        if self._hashes.get(key.name) != wanted.hash:
            await until(lambda: applier.active)
            self._hashes[key.name] = wanted.hash
            self._counter += 1
            self.written.append(key.name)
            applier.offer(
                wanted.head(int(time.time()), self._counter),
                {digest: compress(part) for digest, part in wanted.parts.items()},
            )
        report = self._reported.get(key.name)
        if report is not None and (report.pending == 0 or report.failures):
            applied = versions.applied_status(report)
            held = record.status.applied_state
            if held is None or versions.content(applied) != versions.content(held):
                fields = {
                    field.encode_name: msgspec.to_builtins(getattr(applied, field.name))
                    for field in msgspec.structs.fields(type(applied))
                }
                patch = {"status": {"appliedState": fields}}
                await self.here.patch(CLUSTERS, key.name, patch, subresource="status")
        return DONE

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.manager.run())
            for number, applier in enumerate(self._appliers.values()):
                group.create_task(applier.run(number + 1))

    def as_user(self, user: str, *groups: str) -> Client:
        """Somebody, in the management cluster."""
        return self.here.as_user(Identity(user=user, groups=(*groups, "system:authenticated")))

    async def record(self, name: str, **annotations: str) -> None:
        """A cluster's record with its namespace, as another feature makes them."""
        metadata = {"name": name, "annotations": annotations}
        await self.here.apply(CLUSTERS, {"metadata": metadata, "spec": {"displayName": name}})
        await self.here.apply(NAMESPACES, {"metadata": {"name": name}})
        ready = {"type": "BackingNamespaceCreated", "status": "True"}
        await self.here.patch(CLUSTERS, name, {"status": {"conditions": [ready]}}, subresource="status")
