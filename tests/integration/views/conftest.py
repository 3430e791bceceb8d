"""`/v3` as the server composes it, on a real API server, with a Norman client for each person."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import uvicorn

from outrider.apis.views.view import Context, View
from outrider.facade.app import build_app
from outrider.facade.changes import Watches
from outrider.facade.reach import ClusterReach
from outrider.facade.settings import setting_views
from outrider.facade.v1.api import SteveApi
from outrider.facade.v1.lists import Lists
from outrider.facade.v3.api import NormanApi
from outrider.facade.v3.calls import Calls
from outrider.facade.v3.inside import inside_views
from outrider.facade.v3.places import Places, binding_informer
from outrider.facade.v3.registry import Registry
from outrider.facade.v3.workloads import workload_view
from outrider.facade.websocket import WebSocketProtocol
from outrider.features.auth import setup as auth
from outrider.features.auth.passwords import Cost
from outrider.features.clusters import setup as clusters
from outrider.features.clusters.config import ClustersConfig
from outrider.features.clusters.informers import cluster_informer
from outrider.features.rbac.views import role_views
from outrider.kit.clock import SystemClock
from outrider.kube.builtin import CLUSTERROLEBINDINGS, CLUSTERROLES, ROLEBINDINGS, ROLES
from outrider.kube.client import Client
from outrider.kube.identity import Identity
from outrider.kube.meta import ObjectKey
from outrider.link.messages import Claim
from outrider.runtime.manager import Manager
from outrider.server import defaults
from tests.support.asgi import call
from tests.support.norman_client import NormanClient, Reply, Send
from tests.support.recorder import Recorder

HOST = "outrider.test"
BASE = f"https://{HOST}"
GROUPS = ("system:authenticated", "system:cattle:authenticated")
RBAC = "rbac.authorization.k8s.io"


class Person:
    """Somebody with rights of their own, and what they were shown."""

    def __init__(self, plane: Plane, identity: Identity) -> None:
        self.plane = plane
        self.identity = identity
        self.namespaces: set[str] = set()

    def send(self) -> Send:
        claim = Claim(identity=self.identity, user=self.identity.user, host=HOST, remote="192.0.2.1")

        async def run(method: str, path: str, body: Any) -> Reply:
            answer = await call(self.plane.app, method, path, body, claim=claim)
            return Reply(answer.status, answer.headers, answer.body)

        return run

    def recorder(self) -> Recorder:
        views = [view for view in self.plane.views if view.context is Context.MANAGEMENT]
        return Recorder(self.plane.client, views, self.identity, namespaces=self.namespaces)

    async def norman(self, recorder: Recorder | None = None, root: str = "/v3") -> NormanClient:
        send = self.send() if recorder is None else recorder.watching(self.send())
        return await NormanClient.open(send, BASE, root)

    async def may(
        self,
        *verbs: str,
        resource: str,
        group: str = "management.cattle.io",
        names: Iterable[str] = (),
        namespace: str = "",
    ) -> ObjectKey:
        """Grants a right, in one namespace or everywhere; returns the name of the binding."""
        name = f"test-{uuid4().hex[:10]}"
        rule: dict[str, Any] = {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}
        if names := list(names):
            rule["resourceNames"] = names
        metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
        role, binding = (ROLES, ROLEBINDINGS) if namespace else (CLUSTERROLES, CLUSTERROLEBINDINGS)
        await self.plane.client.create(role, {"metadata": metadata, "rules": [rule]})
        await self.plane.client.create(
            binding,
            {
                "metadata": metadata,
                "roleRef": {"apiGroup": RBAC, "kind": role.kind, "name": name},
                "subjects": [{"apiGroup": RBAC, "kind": "User", "name": self.identity.user}],
            },
        )
        if namespace:
            self.namespaces.add(namespace)
        await self._until(True, verbs[0], group, resource, namespace, (names or [""])[0])
        return ObjectKey(namespace, name)

    async def may_no_more(self, granted: ObjectKey) -> None:
        """Takes a right back, and waits until the API server has heard of it."""
        kind = ROLEBINDINGS if granted.namespace else CLUSTERROLEBINDINGS
        role = ROLES if granted.namespace else CLUSTERROLES
        rule = (await self.plane.client.get(role, granted.name, granted.namespace))["rules"][0]
        await self.plane.client.delete(kind, granted.name, granted.namespace)
        group, resource = rule["apiGroups"][0], rule["resources"][0]
        name = (rule.get("resourceNames") or [""])[0]
        await self._until(False, rule["verbs"][0], group, resource, granted.namespace, name)

    async def _until(
        self, granted: bool, verb: str, group: str, resource: str, namespace: str, name: str
    ) -> None:
        attributes = {
            "verb": verb, "group": group, "resource": resource, "namespace": namespace, "name": name,
        }  # fmt: skip
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": self.identity.user, "groups": list(GROUPS), "resourceAttributes": attributes},
        }
        async with asyncio.timeout(5):
            path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
            while (await self.plane.client.post(path, review))["status"].get("allowed", False) is not granted:
                await asyncio.sleep(0.02)
            while granted and namespace and namespace not in self.plane.places.of(self.identity):
                await asyncio.sleep(0.02)


class Plane:
    """The running server, without a gateway."""

    def __init__(
        self, client: Client, manager: Manager, environ: dict[str, str], *, lists: Lists | None = None
    ) -> None:
        clock = SystemClock()
        copies = cluster_informer(client)
        self.client = client
        self.auth = auth.build(
            client,
            manager,
            copies,
            clock,
            auth.AuthConfig(environ=environ, hash_cost=Cost(memory=64, passes=1)),
            vital=client,
        )

        async def mint(claim: Claim, cluster: str) -> str:
            return f"kubeconfig-{claim.user}:{cluster or 'any'}"

        self.reach = ClusterReach(client, Path("/nonexistent"))
        self.clusters = clusters.build(
            client,
            manager,
            copies,
            clock,
            config=ClustersConfig(
                replica=f"r-{uuid4().hex[:8]}", settle=0.0, local_interval=0.3, environ=environ
            ),
            mint_token=mint,
            reach=self.reach.client,
            send=lambda _: None,
            background=client,
        )
        self.views: list[View] = [
            *self.clusters.views,
            *self.auth.views,
            *setting_views(client, self.auth.settings),
            *role_views(),
            *inside_views(),
            *(workload_view(context) for context in (Context.CLUSTER, Context.PROJECT)),
        ]
        self.places = Places(manager.add_informer(binding_informer(client)))
        registry, calls = Registry(self.views), Calls(client, self.reach, self.places)
        self.watches = watches = Watches(client)
        self.norman = norman = NormanApi(registry, calls, watches, clock)
        self.steve = steve = SteveApi(registry, calls, client, watches, clock, lists=lists, counting=0.5)
        self.app = build_app(
            [*self.auth.routes, *self.clusters.routes, *norman.routes(), *steve.routes()],
            version=lambda: "v2.13.0",
            commit="test",
            body_limit=lambda: 1 << 20,
        )

    async def person(self) -> Person:
        """Somebody new, without any right; the object of the user exists."""
        name = f"user-{uuid4().hex[:8]}"
        from outrider.apis.management.user import USERS

        await self.client.create(USERS, {"metadata": {"name": name}, "username": name})
        return Person(self, Identity(name, GROUPS))

    async def administrator(self) -> Person:
        """Somebody who may do everything."""
        person = await self.person()
        await person.may("*", resource="*", group="*")
        return person


@contextlib.asynccontextmanager
async def running(client: Client, **environ: str) -> AsyncIterator[Plane]:
    """The server for the length of the block."""
    environ = {"CATTLE_BOOTSTRAP_PASSWORD": "bootstrap-secret-1", **environ}
    manager = Manager()
    plane = Plane(client, manager, environ)
    await plane.auth.bootstrap.run()
    await defaults.install(client, environ, {"server-version": "v2.13.0"})
    task = asyncio.create_task(manager.run())
    try:
        await asyncio.wait_for(manager.wait_synced(), 20)
        yield plane
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        plane.auth.close()
        await plane.steve.close()
        await plane.watches.close()
        await plane.reach.close()


@pytest.fixture
async def plane(admin: Client, crds: None) -> AsyncIterator[Plane]:
    async with running(admin) as started:
        yield started


@pytest.fixture
async def served(plane: Plane) -> AsyncIterator[str]:
    options = uvicorn.Config(
        plane.app, host="127.0.0.1", port=0, lifespan="off", log_config=None, ws=WebSocketProtocol,
        timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(options)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server._serve())
    async with asyncio.timeout(10):
        while not server.started:
            await asyncio.sleep(0.01)
    yield f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await task


@pytest.fixture
def unique() -> str:
    """A name that no other test uses."""
    return f"t{uuid4().hex[:10]}"
