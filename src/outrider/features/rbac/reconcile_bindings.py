"""Says in each binding's status how far it is in effect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from outrider.apis.management.binding_status import Binding, BindingStatus
from outrider.apis.management.cluster import Cluster
from outrider.apis.management.cluster_role_template_binding import ClusterRoleTemplateBinding
from outrider.apis.management.global_role_binding import GlobalRoleBinding
from outrider.apis.management.group import LOCAL_CLUSTER
from outrider.apis.management.project_role_template_binding import (
    ProjectRoleBinding,
    ProjectRoleTemplateBinding,
)
from outrider.apis.spelling import plain
from outrider.features.rbac.conditions import Words, effective, refused
from outrider.features.rbac.effects import SOON, Effects, State
from outrider.features.rbac.global_roles import is_admin
from outrider.features.rbac.statuses import write_status
from outrider.features.rbac.world import Refusal, World
from outrider.kit.clock import Clock
from outrider.kube.client import Client
from outrider.kube.kind import Kind
from outrider.kube.meta import ObjectKey
from outrider.runtime.controller import DONE, Result, requeue
from outrider.runtime.store import Lister

B = TypeVar("B", bound=Binding)

ClustersOf = Callable[[B, World], Sequence[str]]
"""The clusters that a binding speaks of, but for `local`. Raises Refusal when it grants nothing."""


class BindingReconciler(Generic[B]):
    """One binding of one kind at a time."""

    def __init__(
        self,
        client: Client,
        kind: Kind[B],
        bindings: Lister[B],
        *,
        world: Callable[[], World],
        clusters_of: ClustersOf[B],
        effects: Effects,
        words: Words,
        clock: Clock,
    ) -> None:
        self._client = client
        self._kind = kind
        self._bindings = bindings
        self._world = world
        self._clusters_of = clusters_of
        self._effects = effects
        self._words = words
        self._clock = clock

    async def reconcile(self, key: ObjectKey) -> Result:
        """Bring the status up to date."""
        stored = self._bindings.get(key)
        if stored is None or stored.is_deleting:
            return DONE
        status, soon = self._status(stored)
        if status != stored.status:
            await write_status(self._client, self._kind, stored.metadata, status)
        return requeue(SOON) if soon else DONE

    def _status(self, stored: B) -> tuple[BindingStatus, bool]:
        """The status, and whether to look again soon."""
        now, generation = self._clock.now(), stored.metadata.generation
        try:
            binding = plain(stored)
            clusters = self._clusters_of(binding, self._world())
        except (Refusal, msgspec.ValidationError) as error:
            problem, before = str(error), stored.status
            return refused(self._words, problem, before=before, generation=generation, now=now), False
        local = self._effects.of(binding, LOCAL_CLUSTER)
        remote = [self._effects.of(binding, one) for one in clusters]
        status = effective(self._words, local, remote, before=stored.status, generation=generation, now=now)
        return status, any(one.state is State.COMPUTING for one in (local, *remote))


def cluster_of(binding: ClusterRoleTemplateBinding, world: World) -> Sequence[str]:
    """`ClustersOf` a cluster's binding."""
    grant = world.judge(binding)
    return () if grant.cluster == LOCAL_CLUSTER else (grant.cluster,)


def cluster_of_project(
    binding: ProjectRoleTemplateBinding | ProjectRoleBinding, world: World
) -> Sequence[str]:
    """`ClustersOf` a project's binding."""
    grant = world.judge(binding)
    return () if grant.cluster == LOCAL_CLUSTER else (grant.cluster,)


def clusters_of_role(binding: GlobalRoleBinding, world: World) -> Sequence[str]:
    """`ClustersOf` a global role's binding: all, when the role brings anything into them."""
    given = world.global_roles.get(binding.global_role_name)
    if given is None:
        raise Refusal(f"global role {binding.global_role_name} not found: create it")
    world.subject(binding)
    reaches = is_admin(given) or given.inherited_namespaced_rules
    return sorted(world.clusters - {LOCAL_CLUSTER}) if reaches else ()


def is_pending(binding: Any) -> bool:
    """Whether a report of a cluster may change what the binding's status says."""
    status, generation = binding.status, binding.metadata.generation
    observed = (status.observed_generation_local, status.observed_generation_remote)
    return status.summary != "Completed" or observed != (generation, generation)


def same_reports(old: Cluster, new: Cluster) -> bool:
    """Whether nothing changed that effects are judged by."""
    return (old.status.desired_state, old.status.applied_state) == (
        new.status.desired_state,
        new.status.applied_state,
    )
