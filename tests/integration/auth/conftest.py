"""The feature over a real API server, with a gateway's eyes: verdicts, and requests with their claims."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from typing import Any

import pytest

from outrider.apis.install import install
from outrider.apis.management.cluster import CLUSTERS
from outrider.apis.management.user import USERS, User
from outrider.facade.app import build_app
from outrider.facade.settings import setting_views
from outrider.features.auth.passwords import Cost
from outrider.features.auth.setup import AuthConfig, AuthFeature, build
from outrider.kit.clock import SystemClock
from outrider.kube.client import Client
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.meta import ObjectMeta
from outrider.kube.transport import HttpTransport
from outrider.link.messages import Claim, Invalidate, Resolve, Verdict
from outrider.runtime.informer import Informer
from outrider.runtime.manager import Manager
from tests.support.asgi import Answer, call, claim_from
from tests.support.norman import norman

ENVIRONMENT = {"CATTLE_BOOTSTRAP_PASSWORD": "bootstrap-secret-1"}
BOOTSTRAP = ENVIRONMENT["CATTLE_BOOTSTRAP_PASSWORD"]
CHEAP = Cost(memory=64, passes=1)

_numbers = count(1)


class Plane:
    """A running feature, its application, and what a gateway would do with them."""

    def __init__(self, client: Client, feature: AuthFeature) -> None:
        self.client = client
        self.feature = feature
        views = [*feature.views, *setting_views(client, feature.settings)]
        self.app = build_app(
            [*feature.routes, *norman(client, views).routes()],
            version=lambda: "v2.13.0",
            commit="test",
            body_limit=lambda: 1024 * 1024,
        )
        self.invalidations: list[Invalidate] = []

    async def verdict(
        self, credential: str, cluster: str = "", *, remote: str = "192.0.2.1", host: str = "outrider.test"
    ) -> Verdict:
        question = Resolve(
            id=next(_numbers), credential=credential, cluster=cluster, host=host, remote=remote
        )
        verdict = await self.feature.verdicts.resolve(question)
        assert verdict.id == question.id
        return verdict

    async def request(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        credential: str = "",
        remote: str = "192.0.2.1",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        claim = Claim(remote=remote, host="outrider.test")
        if credential:
            claim = claim_from(await self.verdict(credential, remote=remote), remote=remote)
        return await call(self.app, method, target, body, claim=claim, headers=headers)

    async def login(self, username: str, password: str, **more: Any) -> str:
        """A session of the user, as the value of Authorization."""
        answer = await self.request(
            "POST",
            "/v3-public/localProviders/local?action=login",
            {"username": username, "password": password, **more},
        )
        assert answer.status == 201, answer.body
        return "Bearer " + answer.json()["token"]

    async def user(self, username: str, password: str = "a good password", **fields: Any) -> User:
        """A new local user without any right, known to the feature."""
        draft = User(metadata=ObjectMeta(generate_name="user-"), username=username, **fields)
        created = await self.client.create(USERS, draft)
        await self.feature.passwords.store(created, password)
        await eventually(lambda: self.feature.passwords.by_username(username) is not None)
        return created


async def eventually(holds: Any, *, seconds: float = 5.0) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        result = holds()
        if asyncio.iscoroutine(result):
            result = await result
        if result:
            return
        assert asyncio.get_running_loop().time() < deadline, "it did not come true in time"
        await asyncio.sleep(0.02)


def basic(name: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()


@asynccontextmanager
async def running(client: Client, **config: Any) -> AsyncIterator[Plane]:
    manager = Manager()
    clusters = Informer(client, CLUSTERS)
    settings: dict[str, Any] = {"environ": ENVIRONMENT, "hash_cost": CHEAP} | config
    feature = build(client, manager, clusters, SystemClock(), AuthConfig(**settings), vital=client)
    await feature.bootstrap.run()
    task = asyncio.create_task(manager.run())
    plane = Plane(client, feature)
    try:
        await asyncio.wait_for(manager.wait_synced(), 20)
        with feature.freshness.subscribed(plane.invalidations.append):
            yield plane
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        feature.close()


@contextmanager
def _installed(api_server: EmbeddedCluster) -> Iterator[None]:
    async def once() -> None:
        transport = HttpTransport(api_server.access)
        await install(Client(transport))
        await transport.close()

    asyncio.run(once())
    yield


@pytest.fixture(scope="session")
def crds(api_server: EmbeddedCluster) -> Iterator[None]:
    with _installed(api_server):
        yield


@pytest.fixture
async def plane(admin: Client, crds: None) -> AsyncIterator[Plane]:
    async with running(admin) as plane:
        yield plane
