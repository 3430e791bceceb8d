"""The whole agent: a real API server on one side, a management server's end of the tunnel on the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec
import pytest

from outrider import __version__
from outrider.agent.errors import SettingsError, TrustError
from outrider.agent.program import Agent, run
from outrider.agent.settings import AgentSettings
from outrider.agent.trust import checksum
from outrider.delivery.ledger import LABEL
from outrider.kit import pki
from outrider.kube.builtin import (
    CLUSTERROLEBINDINGS,
    CONFIGMAPS,
    NAMESPACES,
    NODES,
    PODS,
    SECRETS,
    SERVICEACCOUNTS,
)
from outrider.kube.client import Client
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.identity import Identity
from outrider.tunnel.frames import Request
from outrider.tunnel.reports import Inventory, Resync, encode
from tests.integration.agent.management import ManagementServer, Session, management_server
from tests.support.toxic import ToxicProxy, Weather

TOKEN = "bcdfghjklmnpqrstvwxz2456789bcdfghjklmnpqrstvwxz2456789"


class Answer:
    """A Responder that gathers the answer."""

    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.reason = ""
        self.done = asyncio.get_running_loop().create_future()

    def on_head(self, status: int, length: int, lines: bytes, body: bytes | memoryview, last: bool) -> None:
        if status >= 200:
            self.status = status
            self.body += bytes(body)
            if last:
                self.done.set_result(None)

    def on_data(self, data: bytes | memoryview) -> None:
        self.body += bytes(data)

    def on_end(self, trailers: bytes) -> None:
        self.done.set_result(None)

    def on_reset(self, reason: str, *, refused: bool = False) -> None:
        self.reason = reason
        self.done.set_result(None)

    def pause_sending(self) -> None:
        pass

    def resume_sending(self) -> None:
        pass


async def ask(session: Session, path: str, identity: Identity) -> Answer:
    answer = Answer()
    head = f"GET {path} HTTP/1.1\r\naccept: application/json\r\n".encode()
    session.open(Request(head), msgspec.json.encode(identity), answer)
    async with asyncio.timeout(10):
        await answer.done
    return answer


async def until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[ManagementServer, int]]:
    async with management_server(tmp_path, TOKEN) as running:
        yield running


@pytest.fixture
async def settings(
    tmp_path: Path, admin: Client, api_server: EmbeddedCluster, server: tuple[ManagementServer, int]
) -> AgentSettings:
    """Settings of an agent that runs as the manifest's service account."""
    await admin.apply(NAMESPACES, {"metadata": {"name": "cattle-system"}})
    await admin.apply(SERVICEACCOUNTS, {"metadata": {"name": "cattle", "namespace": "cattle-system"}})
    await admin.apply(
        CLUSTERROLEBINDINGS,
        {
            "metadata": {"name": "cattle-admin-binding"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "cluster-admin",
            },
            "subjects": [{"kind": "ServiceAccount", "name": "cattle", "namespace": "cattle-system"}],
        },
    )
    issued = await admin.create_subresource(
        SERVICEACCOUNTS,
        "cattle",
        "cattle-system",
        "token",
        {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}},
    )
    for secret in (await admin.list(SECRETS, "cattle-system", labels=f"{LABEL}=true")).items:
        await admin.delete(SECRETS, secret["metadata"]["name"], "cattle-system")
    mounts = tmp_path / "mounts"
    mounts.mkdir()
    (mounts / "token").write_text(issued["status"]["token"])
    (mounts / "ca.crt").write_bytes(api_server.access.ca_pem)
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "token").write_text(TOKEN)
    address = urlsplit(api_server.server)
    return AgentSettings(
        server=f"https://127.0.0.1:{server[1]}",
        ca_checksum=checksum(server[0].authority.cert_pem.decode()),
        strict_verify=True,
        credentials=credentials,
        service_account=mounts,
        kubernetes_host=address.hostname or "",
        kubernetes_port=address.port or 0,
        ping_every=0.1,
        silence=0.6,
        report_after=0.05,
        resync_state_every=0.3,
        poll_every=0.5,
        stop_within=0.2,
        alone_after=0.5,
        image="agent:1",
    )


@pytest.fixture
async def tunnel(settings: AgentSettings, server: tuple[ManagementServer, int]) -> AsyncIterator[Session]:
    """The first tunnel of a running agent."""
    stop = asyncio.Event()
    task = asyncio.create_task(Agent(settings).run(stop))
    await until(lambda: server[0].sessions or task.done())
    if task.done():
        await task
    yield server[0].sessions[0]
    stop.set()
    await task


def admin_user() -> Identity:
    return Identity(user=f"u-{uuid4().hex[:6]}", groups=("system:cattle:authenticated",))


async def grant_view(admin: Client, user: Identity) -> None:
    rbac = "rbac.authorization.k8s.io"
    role = {
        "metadata": {"name": f"grant-{user.user}"},
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": rbac, "kind": "User", "name": user.user}],
    }
    await admin.create(CLUSTERROLEBINDINGS, role)


async def test_requests_run_as_the_user(tunnel: Session, admin: Client) -> None:
    user = admin_user()
    path = "/api/v1/namespaces/kube-system"
    denied = await ask(tunnel, path, user)
    assert denied.status == 403
    assert user.user in denied.body.decode()

    await grant_view(admin, user)
    async with asyncio.timeout(5):
        while (answer := await ask(tunnel, path, user)).status != 200:
            await asyncio.sleep(0.05)
    assert msgspec.json.decode(answer.body)["metadata"]["name"] == "kube-system"


async def test_a_hostile_claim_reaches_nothing(tunnel: Session) -> None:
    answer = await ask(tunnel, "/version", Identity(user="u-x", groups=("system:masters",)))
    assert answer.status == 0
    assert "system:masters" in answer.reason


async def test_the_agent_registers_and_tells_its_inventory(
    tunnel: Session, server: tuple[ManagementServer, int], settings: AgentSettings
) -> None:
    assert tunnel.path == "/v3/connect/register"
    assert server[0].params[0]["cluster"].keys() == {"address", "caCert", "uid"}
    assert server[0].params[0]["cluster"]["address"] == settings.kubernetes_address
    await until(lambda: tunnel.snapshot.complete and tunnel.snapshot.version and tunnel.snapshot.health)
    snapshot = tunnel.snapshot
    assert snapshot.version is not None
    assert snapshot.version.git_version.startswith("v1.")
    assert snapshot.health is not None
    assert snapshot.health.ok
    assert snapshot.strict_tls is True
    assert "kube-system" in snapshot.namespaces
    assert snapshot.agent_version


async def test_changes_travel_as_changes(tunnel: Session, admin: Client) -> None:
    await until(lambda: tunnel.snapshot.complete)
    name = f"n-{uuid4().hex[:6]}"
    node = {"metadata": {"name": name, "labels": {"kubernetes.io/os": "linux"}}}
    await admin.create(NODES, node)
    await admin.create(
        NAMESPACES,
        {"metadata": {"name": name, "annotations": {"field.cattle.io/projectId": "c-test:p-1"}}},
    )
    await admin.apply(SERVICEACCOUNTS, {"metadata": {"name": "default", "namespace": name}})
    pod = {
        "metadata": {"name": "p", "namespace": name},
        "spec": {
            "nodeName": name,
            "automountServiceAccountToken": False,
            "containers": [{"name": "c", "image": "x", "resources": {"requests": {"cpu": "250m"}}}],
        },
    }
    await admin.create(PODS, pod)
    await until(lambda: name in tunnel.snapshot.nodes and name in tunnel.snapshot.namespaces)
    await until(
        lambda: tunnel.snapshot.usage.get(name) and tunnel.snapshot.usage[name].requested["cpu"] == "250m"
    )
    assert tunnel.snapshot.namespaces[name].project == "c-test:p-1"

    # a heartbeat is not worth a message
    await asyncio.sleep(0.3)
    count = len(tunnel.received)
    beat = {
        "status": {
            "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2030-01-01T00:00:00Z"}]
        }
    }
    await admin.patch(NODES, name, beat, subresource="status")
    await until(lambda: len(tunnel.received) > count)
    count = len(tunnel.received)
    beat["status"]["conditions"][0]["lastHeartbeatTime"] = "2030-01-01T00:00:10Z"
    await admin.patch(NODES, name, beat, subresource="status")
    await asyncio.sleep(0.4)
    assert len(tunnel.received) == count

    # a pod that ended requests nothing
    await admin.patch(PODS, "p", {"status": {"phase": "Succeeded"}}, name, subresource="status")
    await until(lambda: tunnel.snapshot.usage[name].requested == {"cpu": "0", "memory": "0", "pods": "0"})
    await admin.delete(NODES, name)
    await until(lambda: name not in tunnel.snapshot.nodes)
    assert sum(isinstance(message, Inventory) for message in tunnel.received) == 1

    tunnel.send_message(encode(Resync(reason="test")))
    await until(lambda: sum(isinstance(message, Inventory) for message in tunnel.received) == 2)


def config(name: str, namespace: str, **data: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


async def test_desired_state_is_applied_healed_and_pruned(
    tunnel: Session, admin: Client, namespace: str
) -> None:
    send = tunnel.deliver

    async def value(name: str) -> str | None:
        found = await admin.get_or_none(CONFIGMAPS, name, namespace)
        return found["data"]["k"] if found else None

    async def becomes(name: str, wanted: str | None) -> None:
        async with asyncio.timeout(5):
            while await value(name) != wanted:
                await asyncio.sleep(0.05)

    a, b, c = (config(name, namespace, k="1") for name in "abc")
    send(1, a, b, c)
    await becomes("a", "1")
    await becomes("c", "1")
    await until(lambda: tunnel.reports)
    assert (tunnel.reports[-1].applied, tunnel.reports[-1].failures) == (3, [])
    assert (tunnel.reports[-1].image, tunnel.reports[-1].version) == ("agent:1", __version__)

    # somebody edits, somebody deletes
    await admin.patch(CONFIGMAPS, "a", {"data": {"k": "edited"}}, namespace)
    await admin.delete(CONFIGMAPS, "b", namespace)
    await becomes("a", "1")
    await becomes("b", "1")

    # an older state does nothing; a broken object harms no other and is reported
    send(1, config("a", namespace, k="older"), epoch=0)
    send(
        2,
        config("a", namespace, k="2"),
        b,
        {"apiVersion": "v1", "kind": "Nothing", "metadata": {"name": "x"}},
    )
    await becomes("a", "2")
    await becomes("c", None)
    await until(lambda: tunnel.reports[-1].failures)
    assert [failure.kind for failure in tunnel.reports[-1].failures] == ["Nothing"]

    # a state that became empty is doubted, unless it says that it is complete
    send(3, complete=False)
    await until(lambda: tunnel.reports[-1].counter == 3)
    assert await value("a") == "2"
    send(4)
    await becomes("a", None)
    await becomes("b", None)


async def test_a_lost_tunnel_is_dialed_again(tunnel: Session, server: tuple[ManagementServer, int]) -> None:
    await until(lambda: tunnel.snapshot.complete)
    tunnel.drop("the server restarts")
    await until(lambda: len(server[0].sessions) == 2)
    again = server[0].sessions[1]
    assert again.path == "/v3/connect"
    await until(lambda: again.snapshot.complete)
    assert (await ask(again, "/version", admin_user())).status == 200


async def test_the_state_is_kept_over_a_restart_and_enforced_without_the_server(
    settings: AgentSettings, server: tuple[ManagementServer, int], admin: Client, namespace: str
) -> None:
    stop = asyncio.Event()
    first = asyncio.create_task(Agent(settings).run(stop))
    await until(lambda: server[0].sessions)
    server[0].sessions[0].deliver(3, config("kept", namespace, k="1"), epoch=7)
    await until(lambda: server[0].sessions[0].reports)
    stop.set()
    await first

    await admin.delete(CONFIGMAPS, "kept", namespace)
    server[0].token = "another"
    stop = asyncio.Event()
    second = asyncio.create_task(Agent(settings).run(stop))
    async with asyncio.timeout(5):
        while await admin.get_or_none(CONFIGMAPS, "kept", namespace) is None:
            await asyncio.sleep(0.05)
    assert len(server[0].sessions) == 1

    # the server returns with an older state: refused
    server[0].token = TOKEN
    await until(lambda: len(server[0].sessions) == 2)
    server[0].sessions[1].deliver(99, epoch=6)
    await asyncio.sleep(0.7)
    assert await admin.get(CONFIGMAPS, "kept", namespace)
    stop.set()
    await second


async def test_a_new_namespace_of_a_project_gets_what_it_should_while_the_server_is_away(
    tunnel: Session, server: tuple[ManagementServer, int], admin: Client, namespace: str
) -> None:
    project, place = f"c-test:{namespace}", f"{namespace}-new"
    quota = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "quota"}, "data": {"k": "1"}}
    tunnel.deliver(1, config("a", namespace, k="1"), templates={project: [quota]})
    await until(lambda: tunnel.reports and tunnel.reports[-1].applied == 1)

    server[0].token = "another"
    tunnel.drop("the server goes away")
    await until(lambda: server[0].refused)
    annotations = {"field.cattle.io/projectId": project}
    await admin.create(NAMESPACES, {"metadata": {"name": place, "annotations": annotations}})
    async with asyncio.timeout(5):
        while await admin.get_or_none(CONFIGMAPS, "quota", place) is None:
            await asyncio.sleep(0.02)
    assert len(server[0].sessions) == 1, "all of it without the server"
    # It comes back and hears of it.
    server[0].token = TOKEN
    await until(lambda: len(server[0].sessions) == 2)
    again = server[0].sessions[1]
    await until(lambda: again.reports and again.reports[-1].applied == 2)


async def test_users_do_not_wait_behind_a_large_state(
    settings: AgentSettings, server: tuple[ManagementServer, int], admin: Client, namespace: str
) -> None:
    """What is applied has connections of its own: users' accounts, and the lease, need not wait for them."""
    line = ToxicProxy(settings.kubernetes_host, settings.kubernetes_port)
    slow = msgspec.structs.replace(settings, kubernetes_port=await line.start(), silence=20.0)
    stop = asyncio.Event()
    task = asyncio.create_task(Agent(slow).run(stop))
    try:
        await until(lambda: server[0].sessions)
        session, before = server[0].sessions[0], line.up
        line.upward = Weather(rate=20_000)
        session.deliver(1, *(config(f"o{n}", namespace, k="x" * 900_000) for n in range(8)))
        await until(lambda: line.up - before > 400_000, 30)
        assert (await ask(session, "/version", admin_user())).status == 200
        assert all(one.applied < 8 for one in session.reports), "the state is still under way"
    finally:
        line.calm()
        stop.set()
        await task
        await line.close()


async def test_what_a_newer_server_says_beside_does_no_harm(
    tunnel: Session, server: tuple[ManagementServer, int], admin: Client, namespace: str
) -> None:
    for odd in (
        {"type": "stateTelepathy", "epoch": 9},
        {"type": "stateHead"},
        {"type": 7},
        {"type": "hello", "replica": "x", "replicas": ["x"], "later": {"a": 1}},
    ):
        tunnel.send_message(msgspec.json.encode(odd))
    tunnel.deliver(1, config("a", namespace, k="1"))
    await until(lambda: tunnel.reports and tunnel.reports[-1].applied == 1)
    assert (await admin.get(CONFIGMAPS, "a", namespace))["data"] == {"k": "1"}
    assert len(server[0].sessions) == 1, "the tunnel is the one from before"


async def test_an_agent_that_cannot_connect_leaves_the_turn_to_one_that_can(
    settings: AgentSettings, server: tuple[ManagementServer, int], admin: Client, namespace: str
) -> None:
    """A new agent that is lost must not keep the old one from being told to go back."""
    astray = msgspec.structs.replace(
        settings, name="astray", server="https://127.0.0.1:1", image="agent:2", alone_after=60.0
    )
    stop = asyncio.Event()
    lost = asyncio.create_task(Agent(astray).run(stop))
    await asyncio.sleep(1)
    agent = asyncio.create_task(Agent(settings).run(stop))
    await until(lambda: server[0].sessions)
    server[0].sessions[0].deliver(1, config("told", namespace, k="1"))
    await until(lambda: server[0].sessions[0].reports)
    assert server[0].sessions[0].reports[-1].image == "agent:1"
    stop.set()
    await asyncio.gather(lost, agent)


async def test_one_of_two_replicas_applies_and_the_other_takes_over(
    settings: AgentSettings, server: tuple[ManagementServer, int], admin: Client, namespace: str
) -> None:
    stops = [asyncio.Event(), asyncio.Event()]
    agents = []
    for number, stop in enumerate(stops, start=1):
        replica = msgspec.structs.replace(settings, name=f"replica-{number}")
        agents.append(asyncio.create_task(Agent(replica).run(stop)))
        await until(lambda: len(server[0].sessions) == len(agents))
    for session in server[0].sessions:
        session.deliver(1, config("one", namespace, k="1"))
    first, second = server[0].sessions
    await until(lambda: first.reports)
    assert second.reports == []

    stops[0].set()
    await agents[0]
    await until(lambda: second.reports, 20)
    await admin.delete(CONFIGMAPS, "one", namespace)
    async with asyncio.timeout(5):
        while await admin.get_or_none(CONFIGMAPS, "one", namespace) is None:
            await asyncio.sleep(0.05)
    stops[1].set()
    await agents[1]


async def test_another_ca_ends_the_agent(
    settings: AgentSettings, server: tuple[ManagementServer, int]
) -> None:
    server[0].shown = pki.create_authority("other", now=datetime.now(UTC)).cert_pem
    with pytest.raises(TrustError, match="CATTLE_CA_CHECKSUM"):
        await Agent(settings).run(asyncio.Event())
    assert server[0].refused == 0


async def test_the_exit_status_tells_that_it_cannot_work(
    settings: AgentSettings, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = msgspec.structs.replace(settings, ca_checksum="0" * 64)
    assert await run(wrong) == 1
    assert "CATTLE_CA_CHECKSUM" in caplog.text
    assert TOKEN not in caplog.text


async def test_a_missing_mount_is_explained(settings: AgentSettings) -> None:
    (settings.service_account / "ca.crt").unlink()
    with pytest.raises(SettingsError, match=r"ca\.crt"):
        Agent(settings)


async def test_stopping_is_quick_even_with_a_watch_open(
    settings: AgentSettings, server: tuple[ManagementServer, int], admin: Client
) -> None:
    user = admin_user()
    await grant_view(admin, user)
    stop = asyncio.Event()
    task = asyncio.create_task(Agent(settings).run(stop))
    await until(lambda: server[0].sessions)
    watch = Answer()
    head = b"GET /api/v1/configmaps?watch=true HTTP/1.1\r\n"
    server[0].sessions[0].open(Request(head), msgspec.json.encode(user), watch)
    await until(lambda: watch.status == 200)
    begun = time.monotonic()
    stop.set()
    async with asyncio.timeout(5):
        await task
    assert time.monotonic() - begun < 2
    assert watch.done.done()
