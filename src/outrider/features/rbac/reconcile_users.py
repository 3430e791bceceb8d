"""Gives new users their roles, once, and removes the bindings of those who are gone (spec: auth §1.14)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final

import msgspec

from outrider.apis.management.cluster_role_template_binding import (
    CLUSTER_ROLE_TEMPLATE_BINDINGS,
    ClusterRoleTemplateBinding,
)
from outrider.apis.management.global_role_binding import GLOBAL_ROLE_BINDINGS, GlobalRoleBinding
from outrider.apis.management.project_role_template_binding import (
    PROJECT_ROLE_BINDINGS,
    PROJECT_ROLE_TEMPLATE_BINDINGS,
    ProjectRoleBinding,
    ProjectRoleTemplateBinding,
)
from outrider.apis.management.user import USERS, User
from outrider.features.rbac.creators import PROGRESS
from outrider.features.rbac.users import new_user_roles, user_binding
from outrider.features.rbac.world import World
from outrider.kube.client import Client
from outrider.kube.errors import AlreadyExists, NotFound
from outrider.kube.kind import Kind
from outrider.kube.meta import ObjectKey
from outrider.runtime.controller import DONE, Result
from outrider.runtime.store import Lister

FINALIZER: Final = "controller.cattle.io/mgmt-auth-users-controller"
_KINDS: Final[dict[type, Kind[Any]]] = {
    GlobalRoleBinding: GLOBAL_ROLE_BINDINGS,
    ClusterRoleTemplateBinding: CLUSTER_ROLE_TEMPLATE_BINDINGS,
    ProjectRoleTemplateBinding: PROJECT_ROLE_TEMPLATE_BINDINGS,
    ProjectRoleBinding: PROJECT_ROLE_BINDINGS,
}


class UserReconciler:
    """One user at a time."""

    def __init__(self, client: Client, users: Lister[User], world: Callable[[], World]) -> None:
        self._client = client
        self._users = users
        self._world = world

    async def reconcile(self, key: ObjectKey) -> Result:
        """Give what was never given, or take everything away."""
        user = self._users.get(key)
        if user is None:
            return DONE
        if user.is_deleting:
            await self._release(user)
            return DONE
        if FINALIZER not in user.metadata.finalizers:
            user = await self._patch(user, {"finalizers": [*user.metadata.finalizers, FINALIZER]})
        metadata, world = user.metadata, self._world()
        due = new_user_roles(metadata.labels, metadata.annotations, world.global_roles.values())
        if due is None:
            return DONE
        for role in due.missing:
            with contextlib.suppress(AlreadyExists):
                await self._client.create(GLOBAL_ROLE_BINDINGS, user_binding(metadata.name, role))
        done = msgspec.structs.replace(due, created=due.required).to_json()
        await self._patch(user, {"annotations": {PROGRESS: done}})
        return DONE

    async def _release(self, user: User) -> None:
        if FINALIZER not in user.metadata.finalizers:
            return
        for one in self._world().bindings:
            if one.user_name == user.metadata.name:
                await self._client.delete_if_exists(
                    _KINDS[type(one)], one.metadata.name, one.metadata.namespace, uid=one.metadata.uid
                )
        remaining = [one for one in user.metadata.finalizers if one != FINALIZER]
        with contextlib.suppress(NotFound):
            await self._patch(user, {"finalizers": remaining or None})

    async def _patch(self, user: User, metadata: dict[str, Any]) -> User:
        guarded = {"metadata": {**metadata, "resourceVersion": user.metadata.resource_version}}
        return await self._client.patch(USERS, user.metadata.name, guarded)
