"""The guards of roles at a real API server's door, with people who hold this and that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from outrider.apis.management import (
    CLUSTER_ROLE_TEMPLATE_BINDINGS,
    CLUSTERS,
    GLOBAL_ROLES,
    PROJECT_ROLE_TEMPLATE_BINDINGS,
    PROJECTS,
)
from outrider.facade.admission import AdmissionRoute
from outrider.features.rbac import setup
from outrider.kit.clock import SystemClock
from outrider.kube.builtin import (
    CLUSTERROLEBINDINGS,
    CLUSTERROLES,
    NAMESPACES,
    VALIDATINGADMISSIONPOLICIES,
    VALIDATINGADMISSIONPOLICYBINDINGS,
    VALIDATINGWEBHOOKCONFIGURATIONS,
)
from outrider.kube.client import Client
from outrider.kube.errors import ApiError
from outrider.kube.identity import Identity
from outrider.runtime.informer import Informer
from outrider.runtime.manager import Manager
from outrider.server.api_door import ApiDoor
from outrider.server.api_target import ApiDoorConfig
from outrider.server.registration import NAME, POLICY, Registration

Json = dict[str, Any]
OURS = "management.cattle.io"
RBAC = "rbac.authorization.k8s.io"
WRITABLE = (
    "globalroles",
    "globalrolebindings",
    "roletemplates",
    "clusterroletemplatebindings",
    "projectroletemplatebindings",
    "projectrolebindings",
    "projects",
    "clusters",
)


def rule(verbs: str, resources: str, group: str = "", *names: str) -> Json:
    """A PolicyRule."""
    found: Json = {"verbs": verbs.split(), "resources": resources.split(), "apiGroups": [group]}
    return found | ({"resourceNames": list(names)} if names else {})


class Site:
    """The feature's guards behind a door; clusters `c` and `d` with a project each."""

    def __init__(self, admin: Client, port: int) -> None:
        self.admin = admin
        clock = SystemClock()
        self.manager = Manager(clock=clock)
        clusters = self.manager.add_informer(Informer(admin, CLUSTERS))
        feature = setup.build(admin, self.manager, clusters, clock)
        route = AdmissionRoute(feature.guards, ready=lambda: self.manager.synced, proven=True).route()
        self.door = ApiDoor(admin, ApiDoorConfig(port=port, proven=True), [route], clock)
        self.registration = Registration(admin, self.door, feature.guards, interval=0.2)
        self.c, self.d = (f"c-{uuid4().hex[:8]}" for _ in "cd")
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Opens the door and waits until the API server asks at it."""
        await self.door.open()
        self._tasks = [asyncio.create_task(run()) for run in (self.door.run, self.manager.run)]
        await self.registration.prepare()
        await self.manager.wait_synced()
        for cluster in (self.c, self.d):
            await self._cluster(cluster)
        await self._enforced()

    async def stop(self) -> None:
        """Closes it, and takes the registration away."""
        await self.unregister()
        self.door.close()
        self._tasks[1].cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for cluster in (self.c, self.d):
            await self.admin.delete_if_exists(CLUSTERS, cluster)

    async def unregister(self) -> None:
        """No guard is asked any more."""
        await self.admin.delete_if_exists(VALIDATINGADMISSIONPOLICYBINDINGS, POLICY)
        await self.admin.delete_if_exists(VALIDATINGADMISSIONPOLICIES, POLICY)
        await self.admin.delete_if_exists(VALIDATINGWEBHOOKCONFIGURATIONS, NAME)

    async def person(self, *rules: Json, writes: tuple[str, ...] = WRITABLE, name: str = "") -> Client:
        """Somebody who may write all these objects, and holds more in the management cluster."""
        name = name or f"u-{uuid4().hex[:8]}"
        written = rule("get list create update patch delete", " ".join(writes), OURS)
        ref = {"apiGroup": RBAC, "kind": "ClusterRole", "name": name}
        subject = {"apiGroup": RBAC, "kind": "User", "name": name}
        await self.admin.create(CLUSTERROLES, {"metadata": {"name": name}, "rules": [written, *rules]})
        await self.admin.create(
            CLUSTERROLEBINDINGS, {"metadata": {"name": name}, "roleRef": ref, "subjects": [subject]}
        )
        client = self.admin.as_user(Identity(name, ("system:authenticated",)))
        await until(lambda: _may_list(client))
        return client

    async def give(self, who: Client, role: str, cluster: str, project: str = "") -> None:
        """A role in a cluster or in a project, given by the server itself."""
        assert who.identity is not None
        fields = {"roleTemplateName": role, "userName": who.identity.user}
        if project:
            kind: Any = PROJECT_ROLE_TEMPLATE_BINDINGS
            fields["projectName"] = f"{cluster}:{project}"
        else:
            kind = CLUSTER_ROLE_TEMPLATE_BINDINGS
            fields["clusterName"] = cluster
        await self.admin.create(
            kind, {"metadata": {"generateName": "given-", "namespace": cluster}, **fields}
        )

    async def _cluster(self, name: str) -> None:
        await self.admin.apply(CLUSTERS, {"metadata": {"name": name}, "spec": {"displayName": name}})
        await self.admin.apply(NAMESPACES, {"metadata": {"name": name}})
        project = {"metadata": {"name": f"p-{name}", "namespace": name}, "spec": {"clusterName": name}}
        await self.admin.apply(PROJECTS, project)

    async def _enforced(self) -> None:
        """The API server takes a moment to learn of a webhook."""
        probe = await self.person()
        body = {"metadata": {"generateName": "probe-"}, "rules": [rule("get", "secrets")]}

        async def refused() -> bool:
            try:
                made = await probe.create(GLOBAL_ROLES, body)
            except ApiError as error:
                return "errors due to escalation" in str(error)
            await self.admin.delete(GLOBAL_ROLES, made.metadata.name)
            return False

        await until(refused)


async def _may_list(client: Client) -> bool:
    try:
        await client.list(CLUSTERS, limit=1)
    except ApiError:
        return False
    return True


async def until(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    """Waits until it holds."""
    end = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < end, "it did not come to hold in time"
        await asyncio.sleep(0.05)
