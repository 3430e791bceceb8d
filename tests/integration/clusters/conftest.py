"""The clusters feature on a real API server, with a stand-in for the gateway and for sign-in."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import msgspec
import pytest
from starlette.applications import Starlette
from starlette.types import Message as AsgiMessage

from outrider.apis.install import install
from outrider.apis.management.cluster import CLUSTERS, Cluster
from outrider.apis.management.registration_token import REGISTRATION_TOKENS, ClusterRegistrationToken
from outrider.facade.norman import HANDLERS
from outrider.facade.reach import ClusterReach
from outrider.features.clusters.config import ClustersConfig
from outrider.features.clusters.informers import cluster_informer
from outrider.features.clusters.setup import ClustersFeature, build
from outrider.kit.clock import SystemClock
from outrider.kube.builtin import SECRETS
from outrider.kube.client import Client
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.errors import NotFound
from outrider.kube.identity import Identity
from outrider.kube.transport import HttpTransport
from outrider.link.claims import put_claim
from outrider.link.messages import Admission, Admit, Claim, FromAgent, Message, SessionOpened, ToAgent
from outrider.runtime.manager import Manager
from outrider.tunnel.reports import ServerMessage, decode_server_message, encode
from tests.support.norman import norman

T = TypeVar("T")
ADMIN = Identity(user="user-admin", groups=("system:authenticated", "test:admins"))
NOBODY = Identity(user="user-nobody", groups=("system:authenticated",))


@pytest.fixture(scope="session")
def crds(api_server: EmbeddedCluster) -> None:
    """Our CRDs, and a group of administrators."""

    async def once() -> None:
        transport = HttpTransport(api_server.access)
        client = Client(transport)
        await install(client)
        await client.post(
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": f"test-admins-{uuid4().hex[:6]}"},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "ClusterRole",
                    "name": "cluster-admin",
                },
                "subjects": [
                    {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "test:admins"}
                ],
            },
        )
        await transport.close()

    asyncio.run(once())


async def eventually(check: Callable[[], Awaitable[T | None]], *, within: float = 10.0) -> T:
    """What `check` returns as soon as it is neither None nor False."""
    try:
        async with asyncio.timeout(within):
            while True:
                found = await check()
                if found:
                    return found
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {within} s: {check}") from None


class Answer(msgspec.Struct):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Plane:
    """The feature, running; `sent` is what it handed to the gateway."""

    def __init__(self, client: Client, feature: ClustersFeature, sent: list[Message]) -> None:
        self.client = client
        self.feature = feature
        self.sent = sent
        self._app = Starlette(
            routes=[*feature.routes, *norman(client, feature.views).routes()],
            exception_handlers=dict(HANDLERS),
        )
        self._numbers = itertools.count(1)

    async def call(
        self,
        method: str,
        path: str,
        *,
        who: Identity | None = ADMIN,
        body: Any = None,
        remote: str = "192.0.2.1",
    ) -> Answer:
        """One request as the facade would see it."""
        claim = Claim(
            identity=who, user=who.user if who else "", remote=remote, scheme="https", host="outrider.test"
        )
        path, _, query = path.partition("?")
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [],
            "scheme": "http",
            "server": ("x", 80),
            "client": ("x", 1),
        }
        put_claim(scope, claim)
        data = b"" if body is None else msgspec.json.encode(body)
        messages: list[Any] = []

        async def receive() -> AsgiMessage:
            return {"type": "http.request", "body": data, "more_body": False}

        async def send(message: AsgiMessage) -> None:
            messages.append(message)

        await self._app(scope, receive, send)
        head = messages[0]
        headers = {k.decode(): v.decode() for k, v in head["headers"]}
        return Answer(head["status"], headers, b"".join(m.get("body", b"") for m in messages[1:]))

    async def cluster(self, name: str) -> Cluster:
        return await self.client.get(CLUSTERS, name)

    async def until(self, name: str, check: Callable[[Cluster], object], *, within: float = 10.0) -> Cluster:
        """The cluster as soon as `check` holds."""

        async def look() -> Cluster | None:
            cluster = await self.cluster(name)
            return cluster if check(cluster) else None

        try:
            return await eventually(look, within=within)
        except AssertionError:
            raise AssertionError(f"{await self.cluster(name)}") from None

    async def create(self, name: str) -> str:
        """A new cluster whose registration is ready; returns its id."""
        made = (await self.call("POST", "/v3/clusters", body={"type": "cluster", "name": name})).json()
        await self.registration(made["id"])
        return str(made["id"])

    async def registration(self, cluster: str, name: str = "default-token") -> ClusterRegistrationToken:
        async def look() -> ClusterRegistrationToken | None:
            try:
                found = await self.client.get(REGISTRATION_TOKENS, name, cluster)
            except NotFound:
                return None
            return found if found.status.token_secret_name else None

        return await eventually(look)

    async def token(self, cluster: str, name: str = "default-token") -> str:
        """The clear token, once the feature's own copy has it."""
        registration = await self.registration(cluster, name)

        async def look() -> str:
            secret = await self.client.get(SECRETS, registration.status.token_secret_name, cluster)
            token = msgspec.json.decode(f'"{secret["data"]["token"]}"', type=bytes).decode()
            return token if self.feature.registry.find(token) else ""

        return await eventually(look)

    async def admit(self, token: str, **cluster: str) -> Admission:
        params = {"cluster": {"address": "10.43.0.1:443", "caCert": CA, **cluster}}
        request = Admit(id=1, token=token, params=params, remote="192.0.2.7")
        return await self.feature.service.admit(request)

    async def connect(self, cluster: str, registration: str = "default-token") -> int:
        """Open a tunnel; returns its number."""
        number = next(self._numbers)
        opened = SessionOpened(cluster=cluster, session=number, registration=registration)
        await self.feature.service.session_opened(opened)
        return number

    async def report(self, cluster: str, session: int, message: Any) -> None:
        raw = msgspec.Raw(encode(message))
        await self.feature.service.from_agent(FromAgent(cluster=cluster, session=session, body=raw))

    def told(self, cluster: str) -> list[ServerMessage]:
        """What was sent down the cluster's tunnels."""
        bodies = [m.body for m in self.sent if isinstance(m, ToAgent) and m.cluster == cluster]
        return [decode_server_message(body) for body in bodies]


CA = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCkFBQUEKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo="


@contextlib.asynccontextmanager
async def running(client: Client, **changes: Any) -> AsyncIterator[Plane]:
    """The feature on `client`'s cluster for the length of the block."""
    config = msgspec.structs.replace(
        ClustersConfig(
            replica=f"r-{uuid4().hex[:8]}",
            settle=0.0,
            publish_interval=0.5,
            session_expiry=3.0,
            inventory_pause=0.2,
            local_interval=0.3,
            environ={"CATTLE_SERVER_URL": "https://outrider.test"},
        ),
        **changes,
    )
    sent: list[Message] = []

    async def mint(claim: Claim, cluster: str) -> str:
        return f"kubeconfig-{claim.user}:{cluster or 'any'}"

    manager = Manager()
    feature = build(
        client,
        manager,
        cluster_informer(client),
        SystemClock(),
        config=config,
        mint_token=mint,
        reach=ClusterReach(client, Path("/nonexistent")).client,
        background=client,
        send=sent.append,
    )
    task = asyncio.create_task(manager.run())
    try:
        await manager.wait_synced()
        yield Plane(client, feature, sent)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def plane(admin: Client, crds: None) -> AsyncIterator[Plane]:
    async with running(admin) as started:
        yield started


@pytest.fixture
def unique() -> str:
    """A display name that no other test uses."""
    return f"Cluster {uuid4().hex[:10]}"
