"""Says in each global role's status how far it is in effect."""

from __future__ import annotations

from collections.abc import Callable

from outrider.apis.management.global_role import GLOBAL_ROLES, GlobalRole
from outrider.apis.management.group import LOCAL_CLUSTER
from outrider.features.rbac.conditions import role_status
from outrider.features.rbac.effects import SOON, Effects, State
from outrider.features.rbac.statuses import write_status
from outrider.features.rbac.world import World
from outrider.kit.clock import Clock
from outrider.kube.client import Client
from outrider.kube.meta import ObjectKey
from outrider.runtime.controller import DONE, Result, requeue
from outrider.runtime.store import Lister


class GlobalRoleReconciler:
    """One global role at a time."""

    def __init__(
        self,
        client: Client,
        roles: Lister[GlobalRole],
        *,
        world: Callable[[], World],
        effects: Effects,
        clock: Clock,
    ) -> None:
        self._client = client
        self._roles = roles
        self._world = world
        self._effects = effects
        self._clock = clock

    async def reconcile(self, key: ObjectKey) -> Result:
        """Bring the status up to date."""
        stored, world = self._roles.get(key), self._world()
        given = world.global_roles.get(key.name)
        if stored is None or stored.is_deleting or given is None:
            return DONE
        clusters = sorted(world.clusters - {LOCAL_CLUSTER}) if given.inherited_namespaced_rules else ()
        here = self._effects.of(given, LOCAL_CLUSTER)
        there = [self._effects.of(given, name) for name in clusters]
        status = role_status(
            here,
            there,
            before=stored.status,
            generation=stored.metadata.generation,
            now=self._clock.now(),
        )
        if status != stored.status:
            await write_status(self._client, GLOBAL_ROLES, stored.metadata, status)
        return requeue(SOON) if any(one.state is State.COMPUTING for one in (here, *there)) else DONE


def is_pending(given: GlobalRole) -> bool:
    """Whether a report of a cluster may change what the status says."""
    status = given.status
    return status.summary != "Completed" or status.observed_generation != given.metadata.generation
