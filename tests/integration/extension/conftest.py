"""The aggregated API as the server composes it, behind a real API server, and people who use it through that."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from outrider.apis.ext.token import EXT_TOKENS
from outrider.apis.install import install
from outrider.apis.management.cluster import CLUSTERS
from outrider.apis.management.token import TOKENS
from outrider.apis.management.user import USERS, User
from outrider.facade.extension.api import ExtensionApi
from outrider.features.auth import setup as auth
from outrider.features.auth.passwords import Cost
from outrider.features.clusters import setup as clusters
from outrider.features.clusters.config import ClustersConfig
from outrider.features.clusters.informers import cluster_informer
from outrider.kit import yaml
from outrider.kit.clock import SystemClock
from outrider.kube.builtin import APISERVICES, CLUSTERROLEBINDINGS, CLUSTERROLES, NAMESPACES
from outrider.kube.client import Client
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.errors import KubeError
from outrider.kube.identity import Identity
from outrider.kube.transport import HttpTransport
from outrider.runtime.manager import Manager
from outrider.server.aggregation import Aggregation, name_of
from outrider.server.api_door import ApiDoor
from outrider.server.config import ApiDoorConfig
from tests.support.kubectl import Kubectl

GROUPS = ("system:authenticated", "system:cattle:authenticated")
RBAC = "rbac.authorization.k8s.io"
HOST = "outrider.test"
ROLE = "test-ext-user"
RULES = [
    {
        "apiGroups": ["ext.cattle.io"],
        "resources": ["tokens", "kubeconfigs"],
        "verbs": ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"],
    },
    {
        "apiGroups": ["ext.cattle.io"],
        "resources": ["useractivities"],
        "verbs": ["get", "update", "patch"],
    },
    {
        "apiGroups": ["ext.cattle.io"],
        "resources": ["selfusers", "passwordchangerequests", "groupmembershiprefreshrequests"],
        "verbs": ["create"],
    },
]


@dataclass
class Person:
    """Somebody who signed in: their user, their session's token, and a client that is they."""

    name: str
    token: str
    client: Client
    identity: Identity

    async def create(self, plural: str, spec: dict[str, Any], query: str = "", **metadata: Any) -> Any:
        """Create an object of the group."""
        kind = {"tokens": "Token", "kubeconfigs": "Kubeconfig"}.get(plural, plural)
        body = {"apiVersion": "ext.cattle.io/v1", "kind": kind, "metadata": metadata, "spec": spec}
        return await self.client.post(f"/apis/ext.cattle.io/v1/{plural}{query}", body)


class Plane:
    """The server's part, without its front door."""

    def __init__(self, client: Client, api_server: EmbeddedCluster, environ: dict[str, str]) -> None:
        clock = SystemClock()
        self.client = client
        self.api_server = api_server
        self.manager = manager = Manager()
        copies = cluster_informer(client)
        cheap = auth.AuthConfig(environ=environ, hash_cost=Cost(memory=64, passes=1))
        self.auth = auth.build(client, manager, copies, clock, cheap, vital=client)

        async def reach(cluster: str, claim: Any) -> Client:
            raise AssertionError("no cluster is reached here")

        self.clusters = clusters.build(
            client,
            manager,
            copies,
            clock,
            config=ClustersConfig(replica="r-ext", settle=0.0, local_interval=60.0, environ=environ),
            mint_token=self.auth.kubeconfig_tokens.of_claim,
            reach=reach,
            send=lambda _: None,
            background=client,
        )
        kubeconfigs = self.clusters.kubeconfigs(self.auth.kubeconfig_tokens, self.auth.gatekeeper.oversees)
        self.api = ExtensionApi([*self.auth.served, kubeconfigs], clock)
        config = ApiDoorConfig(port=api_server.callback_port, proven=True)
        self.door = ApiDoor(client, config, self.api.routes(), clock)
        self.aggregation = Aggregation(client, self.door, EXT_TOKENS, interval=0.5)

    async def available(self) -> None:
        """Waits until the API server asks here, for discovery too."""
        async with asyncio.timeout(60):
            while True:
                held = await self.client.get_or_none(APISERVICES, name_of(EXT_TOKENS))
                conditions = ((held or {}).get("status") or {}).get("conditions") or []
                if any(one["type"] == "Available" and one["status"] == "True" for one in conditions):
                    return
                await asyncio.sleep(0.05)

    async def described(self) -> None:
        """Waits until the API server has our OpenAPI documents, which it fetches a moment later."""
        async with asyncio.timeout(60):
            while "apis/ext.cattle.io/v1" not in (await self.client.get_json("/openapi/v3"))["paths"]:
                await asyncio.sleep(0.2)

    async def person(self, *, session: bool = True) -> Person:
        """Somebody new with the rights of every user, signed in."""
        name = f"user-{uuid4().hex[:8]}"
        made: User = await self.client.create(
            USERS, {"metadata": {"name": name}, "username": name, "displayName": "Jane"}
        )
        issued = await self.auth.issuer.session(made) if session else None
        token = issued.token.metadata.name if issued else ""
        extra = {"requesthost": (HOST,)} | ({"requesttokenid": (token,)} if token else {})
        await self.grant(name, ROLE)
        identity = Identity(name, GROUPS, extra)
        person = Person(name, token, self.client.as_user(identity), identity)
        async with asyncio.timeout(10):
            while True:
                try:
                    await person.client.get_json("/apis/ext.cattle.io/v1/tokens?limit=1")
                    return person
                except KubeError:
                    await asyncio.sleep(0.02)

    async def grant(self, user: str, role: str) -> None:
        """Binds a cluster role."""
        await self.client.create(
            CLUSTERROLEBINDINGS,
            {
                "metadata": {"name": f"test-{uuid4().hex[:10]}"},
                "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
                "subjects": [{"apiGroup": RBAC, "kind": "User", "name": user}],
            },
        )

    async def may(self, user: str, verbs: list[str], group: str, resource: str, *names: str) -> None:
        """Gives a right."""
        rule = {"apiGroups": [group], "resources": [resource], "verbs": verbs}
        role = f"test-{uuid4().hex[:10]}"
        rule |= {"resourceNames": list(names)} if names else {}
        await self.client.create(CLUSTERROLES, {"metadata": {"name": role}, "rules": [rule]})
        await self.grant(user, role)
        attributes = {"verb": verbs[0], "group": group, "resource": resource, "name": (*names, "")[0]}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": user, "groups": list(GROUPS), "resourceAttributes": attributes},
        }
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        async with asyncio.timeout(10):
            while not (await self.client.post(path, review))["status"].get("allowed"):
                await asyncio.sleep(0.02)

    async def cluster(self, display_name: str) -> str:
        """A cluster's record; its id."""
        name = f"c-{uuid4().hex[:8]}"
        body = {"metadata": {"name": name}, "spec": {"displayName": display_name, "importedConfig": {}}}
        await self.client.create(CLUSTERS, body)
        return name

    def kubectl(self, person: Person, folder: Path, program: Path) -> Kubectl:
        """A kubectl that is somebody, by impersonation."""
        config = yaml.load(self.api_server.kubeconfig(folder / "admin.yaml").read_bytes())
        config["users"][0]["user"] |= {
            "as": person.name,
            "as-groups": list(GROUPS),
            "as-user-extra": {key: list(values) for key, values in person.identity.extra.items()},
        }
        path = folder / f"{person.name}.yaml"
        path.write_text(json.dumps(config))
        return Kubectl(program, path, folder)


@pytest.fixture(scope="session")
def crds(api_server: EmbeddedCluster) -> None:
    async def once() -> None:
        transport = HttpTransport(api_server.access)
        client = Client(transport)
        await install(client)
        for name in ("cattle-system", "cattle-global-data"):
            await client.apply(NAMESPACES, {"metadata": {"name": name}})
        await client.apply(CLUSTERROLES, {"metadata": {"name": ROLE}, "rules": RULES})
        await transport.close()

    asyncio.run(once())


@pytest.fixture
async def plane(admin: Client, api_server: EmbeddedCluster, crds: None) -> AsyncIterator[Plane]:
    """The running server, registered with the API server, and removed from it as at a clean stop."""
    plane = Plane(admin, api_server, {"CATTLE_BOOTSTRAP_PASSWORD": "bootstrap-secret-1"})
    await plane.auth.bootstrap.run()
    await plane.door.open()
    plane.manager.add_task("aggregated API", plane.aggregation.run, leader_only=True)
    tasks = [asyncio.create_task(plane.door.run()), asyncio.create_task(plane.manager.run())]
    try:
        await asyncio.wait_for(plane.manager.wait_synced(), 30)
        await plane.available()
        yield plane
    finally:
        await plane.aggregation.leave()
        plane.door.close()
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        plane.auth.close()


@pytest.fixture
async def jane(plane: Plane) -> Person:
    """Somebody."""
    return await plane.person()


@pytest.fixture
async def token_of(plane: Plane) -> Any:
    """Reads the stored token of a session."""

    async def read(name: str) -> Any:
        return await plane.client.get(TOKENS, name)

    return read
