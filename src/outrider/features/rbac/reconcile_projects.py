"""Keeps what every project comes with: its backing namespace, its creator's bindings, its conditions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final

import msgspec

from outrider.apis.management.project import PROJECTS, Project
from outrider.apis.management.project_role_template_binding import (
    PROJECT_ROLE_BINDINGS,
    PROJECT_ROLE_TEMPLATE_BINDINGS,
    ProjectRoleBinding,
)
from outrider.features.rbac.creators import PROGRESS, creator_binding, progress
from outrider.features.rbac.effects import SOON, Effects
from outrider.features.rbac.names import safe_concat
from outrider.features.rbac.world import World
from outrider.kit.clock import Clock
from outrider.kube import conditions as c
from outrider.kube.builtin import NAMESPACES
from outrider.kube.client import Client
from outrider.kube.errors import AlreadyExists, NotFound
from outrider.kube.kind import Kind
from outrider.kube.meta import ObjectKey
from outrider.runtime.controller import DONE, Result, requeue
from outrider.runtime.store import Lister

FINALIZER: Final = "outrider.cattle.io/backing-namespace"
BACKED_BY: Final = "outrider.cattle.io/project"
_SYSTEM_NAMESPACE: Final = "management.cattle.io/system-namespace"
_CONDITIONS: Final = ("BackingNamespaceCreated", "CreatorMadeOwner", "InitialRolesPopulated")


class ProjectReconciler:
    """One project at a time."""

    def __init__(
        self,
        client: Client,
        projects: Lister[Project],
        world: Callable[[], World],
        effects: Effects,
        clock: Clock,
    ) -> None:
        self._client = client
        self._projects = projects
        self._world = world
        self._effects = effects
        self._clock = clock

    async def reconcile(self, key: ObjectKey) -> Result:
        """Make what is missing, or take the project apart."""
        project = self._projects.get(key)
        if project is None:
            return DONE
        if project.is_deleting:
            return await self._release(project)
        if FINALIZER not in project.metadata.finalizers:
            project = await self._patch(
                project, {"metadata": {"finalizers": [*project.metadata.finalizers, FINALIZER]}}
            )
        problem = await self._keep_namespace(project)
        if not problem:
            project = await self._keep_creator(project)
        await self._write_status(project, problem)
        return DONE

    async def _keep_namespace(self, project: Project) -> str:
        """Make the backing namespace; the problem when there is one of that name for something else."""
        name = backing_name(project)
        owner = f"{project.metadata.namespace}/{project.metadata.name}"
        found = await self._client.get_or_none(NAMESPACES, name)
        if found is None:
            annotations = {_SYSTEM_NAMESPACE: "true", BACKED_BY: owner}
            await self._client.apply(NAMESPACES, {"metadata": {"name": name, "annotations": annotations}})
            return ""
        if (found["metadata"].get("annotations") or {}).get(BACKED_BY) == owner:
            return ""
        return f"namespace {name} exists already and was not made for this project: make another project"

    async def _keep_creator(self, project: Project) -> Project:
        annotations = project.metadata.annotations
        world = self._world()
        templates = (world.templates.get(name) for name in world.names)
        state = progress(annotations, [one for one in templates if one and one.project_creator_default])
        for template in state.missing:
            binding = creator_binding(annotations, template, backing_name(project))
            binding["projectName"] = f"{project.metadata.namespace}:{project.metadata.name}"
            with contextlib.suppress(AlreadyExists):
                await self._client.create(PROJECT_ROLE_TEMPLATE_BINDINGS, binding)
        done = msgspec.structs.replace(state, created=state.required).to_json()
        if annotations.get(PROGRESS) == done:
            return project
        return await self._patch(project, {"metadata": {"annotations": {PROGRESS: done}}})

    async def _write_status(self, project: Project, problem: str) -> None:
        status = msgspec.structs.replace(project.status)
        now = self._clock.now()
        for kind in _CONDITIONS[:1] if problem else _CONDITIONS:
            status.conditions = c.set_condition(
                status.conditions,
                kind,
                "False" if problem else "True",
                now=now,
                reason="NamespaceTaken" if problem else "",
                message=problem,
            )
        if not problem:
            status.backing_namespace = backing_name(project)
        if status != project.status:
            await self._patch(project, {"status": msgspec.to_builtins(status)}, subresource="status")

    async def _release(self, project: Project) -> Result:
        if FINALIZER not in project.metadata.finalizers:
            return DONE
        await self._remove_bindings(project)
        name = project.status.backing_namespace
        found: dict[str, Any] | None = None
        if name:
            found = await self._client.get_or_none(NAMESPACES, name)
        if found is not None and self._backs(project, found):
            await self._client.delete_if_exists(NAMESPACES, name, uid=found["metadata"]["uid"])
            return requeue(0.5)
        if problem := self._held_by(project):
            await self._say(project, problem)
            return DONE if self._effects.computed(project.metadata.namespace) else requeue(SOON)
        remaining = [one for one in project.metadata.finalizers if one != FINALIZER]
        with contextlib.suppress(NotFound):
            await self._patch(project, {"metadata": {"finalizers": remaining or None}})
        return DONE

    async def _remove_bindings(self, project: Project) -> None:
        """Those beside the backing namespace; what is in it goes with it."""
        identity, world = f"{project.metadata.namespace}:{project.metadata.name}", self._world()
        for one in (*world.aliases, *world.project_bindings):
            if one.project_name == identity:
                kind: Kind[Any] = (
                    PROJECT_ROLE_BINDINGS
                    if isinstance(one, ProjectRoleBinding)
                    else PROJECT_ROLE_TEMPLATE_BINDINGS
                )
                metadata = one.metadata
                await self._client.delete_if_exists(kind, metadata.name, metadata.namespace, uid=metadata.uid)

    def _held_by(self, project: Project) -> str:
        """Why the project cannot go yet: its cluster has not let go of its namespaces."""
        cluster, identity = (
            project.metadata.namespace,
            f"{project.metadata.namespace}:{project.metadata.name}",
        )
        if cluster not in self._world().clusters or not self._effects.has_agent(cluster):
            return ""
        applied, world = self._effects.applied(cluster), self._effects.world(cluster)
        if applied is None or world is None or identity not in world.around.leaving:
            return f"waiting for cluster {cluster} to take its namespaces out of the project"
        if identity in applied.leaving:
            return f"there are namespaces in the project yet; cluster {cluster} takes them out"
        return ""

    async def _say(self, project: Project, problem: str) -> None:
        status = msgspec.structs.replace(project.status)
        status.conditions = c.set_condition(
            status.conditions,
            "NamespacesReleased",
            "False",
            now=self._clock.now(),
            reason="Waiting",
            message=problem,
        )
        if status != project.status:
            await self._patch(project, {"status": msgspec.to_builtins(status)}, subresource="status")

    def _backs(self, project: Project, namespace: dict[str, Any]) -> bool:
        annotations = namespace["metadata"].get("annotations") or {}
        return bool(annotations.get(BACKED_BY) == f"{project.metadata.namespace}/{project.metadata.name}")

    async def _patch(self, project: Project, patch: dict[str, Any], *, subresource: str = "") -> Project:
        metadata = project.metadata
        guarded = patch | {
            "metadata": {**patch.get("metadata", {}), "resourceVersion": metadata.resource_version}
        }
        return await self._client.patch(
            PROJECTS, metadata.name, guarded, metadata.namespace, subresource=subresource
        )


def backing_name(project: Project) -> str:
    """The namespace of what belongs to a project."""
    return project.status.backing_namespace or safe_concat(project.metadata.namespace, project.metadata.name)
