"""Gateway's sockets, a tunnel over TLS, an agent's pool and a scripted API server, on the loop that production uses."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from inspect import signature
from pathlib import Path
from typing import Any

import aiofastnet
import pytest
import uvloop

from outrider.gateway.admission import Reception
from outrider.gateway.dispatch import Dispatcher
from outrider.gateway.forwarding import Forwarding
from outrider.gateway.listener import Listeners
from outrider.gateway.metrics import Metrics
from outrider.gateway.tunnels import TunnelRegistry
from outrider.kit import pki
from outrider.kube.identity import Identity
from outrider.link.messages import Admission, Admit, Beat, Resolve, Serve, Verdict
from outrider.tunnel.agent import AgentSession
from outrider.tunnel.exchange import CredentialSource
from outrider.tunnel.pool import UpstreamPool
from outrider.tunnel.session import dial
from outrider.tunnel.upstream import UpstreamConnection
from tests.support.raw_api import RawApi
from tests.support.wire import Script

ALICE = Identity("u-alice", ("system:authenticated",))


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    return {"uvloop": uvloop.new_event_loop}


class Certificates:
    """One authority and a server certificate for loopback."""

    def __init__(self, folder: Path) -> None:
        now = datetime.now(UTC)
        authority = pki.create_authority("datapath", now=now)
        self.leaf = pki.issue_server(authority, "loopback", now=now, ips=["127.0.0.1"])
        bundle = folder / "bundle.pem"
        bundle.write_bytes(self.leaf.cert_pem + self.leaf.key_pem)
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.load_cert_chain(bundle)
        self.client = ssl.create_default_context(cadata=authority.cert_pem.decode())


class Fixed(CredentialSource):
    """A credential that can be made stale."""

    def __init__(self) -> None:
        self.token = "one"
        self.stale = ""

    def header_block(self, claim: bytes) -> bytes | None:
        if self.token == self.stale:
            return None
        return f"authorization: Bearer {self.token}\r\nimpersonate-user: {json.loads(claim)['user']}\r\n".encode()

    async def prepare(self, claim: bytes) -> bytes:
        await asyncio.sleep(0)
        self.token += "+"
        return self.header_block(claim) or b""

    def rejected(self, claim: bytes) -> bool:
        self.stale = self.token
        return True


class Agent:
    """The agent's half: its tunnels run requests on one pool."""

    def __init__(self, path: "DataPath") -> None:
        self._path = path
        self.credentials = Fixed()
        self.pool = UpstreamPool(self._connect, self.credentials, host=f"127.0.0.1:{path.api.port}")
        self.sessions: list[AgentSession] = []

    async def _connect(self, factory: Any) -> UpstreamConnection:
        _, protocol = await aiofastnet.create_connection(
            asyncio.get_running_loop(),
            factory,
            "127.0.0.1",
            self._path.api.port,
            ssl=self._path.certificates.client,
            server_hostname="127.0.0.1",
        )
        return protocol

    async def dial(self, cluster: str = "c-1") -> AgentSession:
        params = base64.b64encode(json.dumps({"cluster": cluster}).encode()).decode()
        session = await dial(
            f"wss://127.0.0.1:{self._path.port}/v3/connect",
            self._path.certificates.client,
            {"X-API-Tunnel-Token": "secret", "X-API-Tunnel-Params": params},
            AgentSession(self.pool, lambda session, body: None),
        )
        self.sessions.append(session)
        return session

    async def close(self) -> None:
        for session in self.sessions:
            session.drop("the test ends")
        await asyncio.gather(*(session.closed for session in self.sessions))
        await self.pool.close()


class Unrecorded:
    """No audit."""

    def __getattr__(self, name: str) -> Any:
        if name == "taps":
            return False
        return lambda *arguments: None


class DataPath:
    """All of it, with a control process that knows alice."""

    def __init__(self, certificates: Certificates, api: RawApi) -> None:
        self.certificates = certificates
        self.api = api
        self.told: list[Any] = []
        self.registry = TunnelRegistry(self.told.append, silence=30.0)
        self.reception = Reception(self._ask, self.registry)
        more: dict[str, Any] = {"peers": _Nobody()} if "peers" in signature(Dispatcher).parameters else {}
        self.dispatcher = Dispatcher(
            self._ask,
            self.registry,
            local=Script(),
            control=Script(),
            tunnel=self.reception.receive,
            forwarding=Forwarding(),
            audit=Unrecorded(),  # type: ignore[arg-type]
            metrics=Metrics(),
            **more,
        )
        self.dispatcher.verdicts.on_beat(Beat(generation=1))
        self.dispatcher.verdicts._fresh_until += 1000
        self.listeners = Listeners(self.dispatcher)
        self.port = 0
        self.agents: list[Agent] = []

    async def start(self) -> None:
        leaf = self.certificates.leaf
        self.listeners.use(Serve(certificate=leaf.cert_pem.decode(), key=leaf.key_pem.decode()))
        self.port = await self.listeners.listen("127.0.0.1", 0, tls=True)

    async def stop(self) -> None:
        for agent in self.agents:
            await agent.close()
        await self.listeners.close()
        for connection in list(self.dispatcher.connections):
            connection.abort("the test ends")
        async with asyncio.timeout(5):
            # the gateway's ends of the tunnels too, or their sockets outlive this test's loop
            while self.dispatcher.connections or list(self.registry):
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)

    async def agent(self, *clusters: str) -> Agent:
        agent = Agent(self)
        self.agents.append(agent)
        for cluster in clusters or ("c-1",):
            await agent.dial(cluster)
        return agent

    def _ask(self, question: Resolve | Admit) -> None:
        loop = asyncio.get_running_loop()
        if isinstance(question, Resolve):
            verdict = Verdict(
                id=question.id, status=200, identity=ALICE, token="t", user="u-alice", generation=1, ttl=600.0
            )
            loop.call_soon(self.dispatcher.verdicts.on_verdict, verdict)
        else:
            admitted = Admission(
                id=question.id, status=200, cluster=question.params.get("cluster", ""), registration="r"
            )
            refused = Admission(id=question.id, status=401, message="no such token")
            loop.call_soon(self.reception.on_admission, admitted if question.token == "secret" else refused)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=self.certificates.client, server_hostname="127.0.0.1"
        )


class _Nobody:
    def find(self, cluster: str) -> None:
        return None


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
async def path(certificates: Certificates) -> AsyncIterator[DataPath]:
    api = RawApi(certificates.server)
    await api.start()
    path = DataPath(certificates, api)
    await path.start()
    yield path
    await path.stop()
    await api.stop()
