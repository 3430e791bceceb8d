"""Says of each project what clusters report of its namespaces: what they use of its quota, and that they joined it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

from outrider.apis.management.cluster import Cluster
from outrider.apis.management.project import PROJECTS, Project
from outrider.features.rbac.effects import SOON, Effects
from outrider.features.rbac.standard import ASSIGNED
from outrider.kit.clock import Clock
from outrider.kube import conditions as c
from outrider.kube.client import Client
from outrider.kube.errors import Invalid, NotFound
from outrider.kube.meta import ObjectKey
from outrider.runtime.controller import DONE, Result, requeue
from outrider.runtime.store import Lister


class UsageReconciler:
    """One project at a time."""

    def __init__(self, client: Client, projects: Lister[Project], effects: Effects, clock: Clock) -> None:
        self._client = client
        self._projects = projects
        self._effects = effects
        self._clock = clock

    async def reconcile(self, key: ObjectKey) -> Result:
        """Bring what is reported up to date."""
        project = self._projects.get(key)
        if project is None or project.is_deleting:
            return DONE
        await self._note_used(project)
        await self._note_members(project)
        return DONE if self._effects.computed(key.namespace) else requeue(SOON)

    async def _note_used(self, project: Project) -> None:
        quota, applied = project.spec.resource_quota, self._effects.applied(project.spec.cluster_name)
        if quota is None or not quota.limit or applied is None:
            return
        identity = f"{project.spec.cluster_name}:{project.metadata.name}"
        used = next((one.used for one in applied.shares if one.project == identity), None)
        if used is None or used == (quota.used_limit or {}):
            return
        gone = dict.fromkeys((quota.used_limit or {}).keys() - used.keys())
        # A report that is older than the quota may say more than it has now: the next one will not
        with contextlib.suppress(Invalid):
            await self._patch(project, {"spec": {"resourceQuota": {"usedLimit": {**gone, **used}}}})

    async def _note_members(self, project: Project) -> None:
        """Namespaces that joined a standard project are said to be in it once; they may leave it later."""
        kinds = [kind for label, kind in ASSIGNED.items() if label in project.metadata.labels]
        world = self._effects.world(project.spec.cluster_name)
        if not kinds or world is None or not _is_known(project, world.projects.values()):
            return
        found = list(project.status.conditions)
        for kind in kinds:
            found = c.set_condition(found, kind, "True", now=self._clock.now())
        if found != project.status.conditions:
            await self._patch(project, {"status": {"conditions": c.to_json(found)}}, subresource="status")

    async def _patch(self, project: Project, patch: dict[str, Any], *, subresource: str = "") -> None:
        metadata = {"resourceVersion": project.metadata.resource_version}
        with contextlib.suppress(NotFound):
            await self._client.patch(
                PROJECTS,
                project.metadata.name,
                {"metadata": metadata, **patch},
                project.metadata.namespace,
                subresource=subresource,
            )


def _is_known(project: Project, known: Iterable[Project]) -> bool:
    return any(one.metadata.uid == project.metadata.uid for one in known)


def same_usage(old: Cluster, new: Cluster) -> bool:
    """Whether a cluster reported nothing new that this depends on."""
    return _look(old) == _look(new)


def _look(cluster: Cluster) -> tuple[object, ...]:
    applied = cluster.status.applied_state
    if applied is None:
        return ()
    return (applied.epoch, applied.counter, applied.hash, applied.shares, applied.leaving)
