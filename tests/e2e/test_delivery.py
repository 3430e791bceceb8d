"""Desired state through real tunnels, with everything that may be killed or paused on the way.

Two `outrider server` processes behind haproxy, one real cluster, one agent and then two; between the agents and
haproxy there is a proxy that counts bytes and can be slow. The state is large by pull secrets (up to 1.4 MB each),
and of many objects by administrators (a binding each). The tests run in the order of this file.
"""

from __future__ import annotations

import base64
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from outrider.apis.management.cluster import CLUSTERS, Cluster
from outrider.apis.management.global_role import GLOBAL_ROLES
from outrider.apis.management.global_role_binding import GLOBAL_ROLE_BINDINGS
from outrider.apis.management.setting import SETTINGS
from outrider.kube.builtin import SECRETS
from outrider.kube.client import Client
from tests.e2e.conftest import until
from tests.support.door import Door
from tests.support.following import Following
from tests.support.hosted import drop_state
from tests.support.not_run import not_run
from tests.support.replicas import NAMESPACE, Plane, Server, haproxy
from tests.support.sampler import Sampler
from tests.support.spare_agent import SpareAgent, pause, resume
from tests.support.toxic import CALM, ToxicProxy, Weather, toxic

pytestmark = pytest.mark.timeout(240)

PULL_SECRETS = 15
SIZE = 1_040_000
"""Bytes of a pull secret; a Secret holds 1 MiB at most."""
PEOPLE = 400
MANY = "many-people"
MEGABYTE = 1_000_000
AGENT = {
    "OUTRIDER_AGENT_LEASE": "15",
    "OUTRIDER_AGENT_PING_EVERY": "1",
    "OUTRIDER_AGENT_SILENCE": "8",
}
LEASE = "8"
_RBAC = "rbac.authorization.k8s.io"


class Stage:
    """The plane, and the network before it."""

    def __init__(self, plane: Plane, wire: ToxicProxy) -> None:
        self.plane = plane
        self.wire = wire
        self.direct = Door.of_kubeconfig(plane.cluster["direct_kubeconfig"])
        self.managing = Door.of_kubeconfig(plane.folder / "management.yaml")

    @property
    def record(self) -> Cluster:
        found: Cluster = self.plane.managed(lambda client: client.get(CLUSTERS, self.plane.cluster["id"]))
        return found

    def want_pull_secrets(self, count: int) -> None:
        """Wants the first of them in the cluster."""
        value = ",".join(f"pull-{n}" for n in range(count))
        name = "system-default-registry-pull-secrets"
        self.plane.managed(lambda client: client.patch(SETTINGS, name, {"value": value}))

    def agrees(self) -> bool:
        """Whether the agent reported that all of what is wanted now is applied."""
        wanted, applied = self.record.status.desired_state, self.record.status.applied_state
        return bool(wanted and applied and wanted.hash == applied.hash and not applied.failed)

    def is_there(self, name: str) -> bool:
        """Whether a Secret is in the cluster."""
        return self.direct.get(f"/api/v1/namespaces/{NAMESPACE}/secrets/{name}").status == 200

    def leader_of_agents(self) -> str:
        """The replica of the agent that applies."""
        path = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/outrider-agent"
        return str(self.direct.get(path).json()["spec"].get("holderIdentity", ""))

    def answers(self) -> bool:
        """Whether a request gets through a tunnel."""
        try:
            return self.plane.door(self.plane.balancer.url).get("/version").status == 200
        except OSError:
            return False


@pytest.fixture(scope="module")
def stage(kube_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    program = haproxy()
    if program is None:
        not_run("haproxy is not installed: as root, apt-get install haproxy")
    plane = Plane(tmp_path_factory.mktemp("y"), program, ("--lease-seconds", LEASE))
    with toxic("127.0.0.1", plane.balancer.port) as wire, pytest.MonkeyPatch.context() as patch:
        plane.url = f"https://127.0.0.1:{wire.port}"
        for name, value in AGENT.items():
            patch.setenv(name, value)
        try:
            plane.start()
            yield Stage(plane, wire)
        finally:
            wire.calm()
            plane.stop()
            for folder in (plane.folder / "management", *plane.folder.glob("clusters/*/kube")):
                drop_state(folder)


@pytest.fixture(scope="module")
def pull_secrets(stage: Stage) -> dict[str, str]:
    """Large secrets on the server's side, which a setting may name: what each holds."""
    held = {f"pull-{n}": docker_config() for n in range(PULL_SECRETS)}

    async def make(client: Client) -> None:
        for name, data in held.items():
            draft = {
                "metadata": {"name": name, "namespace": NAMESPACE},
                "type": "kubernetes.io/dockerconfigjson",
                "data": {".dockerconfigjson": data},
            }
            await client.create(SECRETS, draft)

    stage.plane.managed(make)
    return held


def docker_config() -> str:
    """A valid one of `SIZE` bytes that compresses badly, in base64."""
    head, tail = b'{"auths":{"registry.example.org":{"auth":"', b'"}}}'
    noise = base64.b64encode(os.urandom(SIZE))[: SIZE - len(head) - len(tail)]
    return base64.b64encode(head + noise + tail).decode()


def passes(wire: ToxicProxy, size: int) -> None:
    """Waits until so many bytes have gone to the agents."""
    start = wire.down
    until(lambda: wire.down - start >= size, 60, "nothing travels to the agent")


def test_a_state_of_20_mb_gets_through_whoever_is_killed_between_parts(
    stage: Stage, pull_secrets: dict[str, str]
) -> None:
    plane, wire = stage.plane, stage.wire
    secrets = f"/api/v1/namespaces/{NAMESPACE}/secrets"
    with Following(stage.direct, secrets) as following:
        wire.downward = Weather(rate=4 * MEGABYTE)
        began = time.monotonic()
        stage.want_pull_secrets(PULL_SECRETS)

        passes(wire, 3 * MEGABYTE)
        former = plane.agent
        plane.kill_agent()
        assert not stage.is_there("pull-0"), "the agent was killed between parts"
        until(lambda: plane.agent not in {0, former}, 20)

        passes(wire, 3 * MEGABYTE)
        for server in plane.servers:
            server.kill()
        assert not stage.is_there("pull-0"), "the servers were killed between parts"
        for server in plane.servers:
            server.start()

        wire.downward = CALM
        until(stage.agrees, 90, "the state is not applied")
        print(f"20 MB, with three kills, after {time.monotonic() - began:.0f} s")
        until(lambda: pull_secrets.keys() <= following.names("ADDED"), 10)
        seen = following.seen
    for name, data in pull_secrets.items():
        found = stage.direct.get(f"{secrets}/{name}").json()
        assert found["data"] == {".dockerconfigjson": data}, name
        assert (seen["ADDED", name], seen["MODIFIED", name], seen["DELETED", name]) == (1, 0, 0)
    sizes = (sum(map(len, one["data"].values())) for one in kept(stage))
    assert max(sizes) < 512 << 10


def kept(stage: Stage) -> list[Any]:
    """The Secrets of the agent's ledger."""
    path = f"/api/v1/namespaces/{NAMESPACE}/secrets?labelSelector=outrider.cattle.io/state=true"
    found = [one for one in stage.direct.get(path).json()["items"] if one["data"]]
    assert len(found) > 80
    return found


def test_without_a_server_the_agent_heals_what_strangers_do(
    stage: Stage, pull_secrets: dict[str, str]
) -> None:
    for server in stage.plane.servers:
        server.kill()
    path = f"/api/v1/namespaces/{NAMESPACE}/secrets"
    try:
        edit = {"metadata": {"labels": {"theirs": "1", "outrider.cattle.io/delivered": None}}}
        began = time.monotonic()
        assert stage.direct.request("DELETE", f"{path}/pull-0").status == 200
        merge = {"Content-Type": "application/merge-patch+json"}
        assert stage.direct.request("PATCH", f"{path}/pull-1", edit, merge).status == 200

        def healed() -> bool:
            gone, edited = (stage.direct.get(f"{path}/pull-{n}") for n in (0, 1))
            return gone.status == 200 and "outrider.cattle.io/delivered" in labels_of(edited.json())

        until(healed, 5)
        took = time.monotonic() - began
        assert stage.direct.get(f"{path}/pull-0").json()["data"] == {
            ".dockerconfigjson": pull_secrets["pull-0"]
        }
        assert labels_of(stage.direct.get(f"{path}/pull-1").json())["theirs"] == "1", "what is theirs stays"
        print(f"healed after {took:.2f} s")
    finally:
        for server in stage.plane.servers:
            server.start()
    until(stage.answers, 30)
    until(stage.agrees, 30)


def labels_of(obj: dict[str, Any]) -> dict[str, str]:
    return dict(obj["metadata"].get("labels") or {})


# when nothing changes


def written(door: Door) -> Counter[str]:
    """Writing requests that an API server has served, by resource; leases are signs of life, as pings are."""
    found: Counter[str] = Counter()
    for line in door.get("/metrics").body.decode().splitlines():
        if line.startswith("apiserver_request_total{"):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
            if (
                labels["verb"] in {"POST", "PUT", "PATCH", "APPLY", "DELETE"}
                and labels["resource"] != "leases"
            ):
                found[labels["resource"]] += int(float(line.rpartition(" ")[2]))
    return found


def test_nothing_changes_nothing_is_written_and_nothing_travels(stage: Stage) -> None:
    wire, seconds = stage.wire, 8.0
    until(lambda: stage.wire.links == 2, 60, "a tunnel to each server")
    quiet(stage)
    doors = (stage.direct, stage.managing)
    before = [written(door) for door in doors]
    record, passed = stage.record.metadata.resource_version, (wire.up, wire.down)
    wire.largest = 0
    time.sleep(seconds)
    up, down = wire.up - passed[0], wire.down - passed[1]
    here, there = (written(door) - was for door, was in zip(doors, before, strict=True))
    assert not here, "writes in the cluster"
    # Each server says once in a while in its ConfigMap that it lives.
    assert set(there) <= {"configmaps"}, "writes in the management cluster"
    assert stage.record.metadata.resource_version == record
    # A ping of a second, its pong, and the server's own: a TLS record of 30 bytes or less each.
    assert wire.largest < 64, "something else than heart-beats"
    heartbeats = 2 * (seconds + 1) * 3
    assert 0 < up < heartbeats * 30
    assert 0 < down < heartbeats * 30
    print(f"in {seconds:.0f} s on two tunnels: {up} bytes up, {down} bytes down, the largest {wire.largest}")


def quiet(stage: Stage) -> None:
    """Waits until reports and conditions have been written."""

    def settled() -> bool:
        before = stage.wire.up + stage.wire.down, stage.record.metadata.resource_version
        time.sleep(2)
        after = stage.wire.up + stage.wire.down, stage.record.metadata.resource_version
        return after[1] == before[1] and after[0] - before[0] < 2000

    until(settled, 60)


# two replicas of the agent


@pytest.fixture(scope="module")
def spare(stage: Stage) -> Iterator[SpareAgent]:
    """Another agent, beside the first."""
    agent = SpareAgent(stage.plane.agent, "spare", stage.plane.folder / "spare.log")
    yield agent
    agent.kill()


@pytest.fixture
def many_people(stage: Stage) -> list[str]:
    """Users with a global role that gives nothing yet."""
    names = [f"u-{uuid4().hex[:10]}" for _ in range(PEOPLE)]

    async def make(client: Client) -> None:
        await client.apply(GLOBAL_ROLES, {"metadata": {"name": MANY}})
        for name in names:
            binding = {"metadata": {"name": name}, "globalRoleName": MANY, "userName": name}
            await client.create(GLOBAL_ROLE_BINDINGS, binding)

    stage.plane.managed(make)
    return names


@pytest.mark.long
def test_a_killed_applier_is_replaced_in_the_middle_of_its_work(
    stage: Stage, spare: SpareAgent, many_people: list[str]
) -> None:
    plane = stage.plane
    until(lambda: stage.wire.links == 4, 60, "two agents with a tunnel to each of two servers")
    # The first one stands still for longer than its lease lasts, and comes back.
    first = plane.agent
    pause(first)
    try:
        until(lambda: stage.leader_of_agents() == "spare", 60)
    finally:
        resume(first)
    until(lambda: stage.wire.links == 4, 60, "both serve")
    until(stage.answers, 10)

    selector = "labelSelector=outrider.cattle.io/delivered=true"
    bindings = f"/apis/{_RBAC}/v1/clusterrolebindings?{selector}"
    with Following(stage.direct, bindings) as following:
        bind(plane)
        until(lambda: len(following.names("ADDED")) >= PEOPLE // 10, 30)
        spare.kill()
        killed = time.monotonic()
        applied = len(following.names("ADDED"))
        assert applied < PEOPLE, "it was killed in the middle"
        until(stage.answers, 2, "the other one serves")
        served = time.monotonic() - killed
        until(lambda: len(following.names("ADDED")) == PEOPLE, 60)
        took = time.monotonic() - killed
        assert stage.leader_of_agents() != "spare"
        until(stage.agrees, 30)
        owners = {one.name: one for one in (stage.record.status.applied_state or _none()).owners}
        assert owners["rbac"].applied >= PEOPLE
        assert owners["rbac"].failed == 0
        assert following.names("ADDED") == {f"globaladmin-{name}" for name in many_people}
        assert following.repeated() == {}, "nothing was made twice"
        assert {kind for kind, _ in following.seen} == {"ADDED"}
        print(f"killed after {applied}; served after {served:.2f} s, all applied after {took:.1f} s")

        # What the dead one had made is known to its successor: it takes all of it away.
        plane.managed(lambda client: client.patch(GLOBAL_ROLES, MANY, {"rules": None}))
        until(lambda: len(following.names("DELETED")) == PEOPLE, 60)


def bind(plane: Plane) -> None:
    """Makes all of them administrators at once: their role allows everything from now on."""
    rules = [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
        {"nonResourceURLs": ["*"], "verbs": ["*"]},
    ]
    plane.managed(lambda client: client.patch(GLOBAL_ROLES, MANY, {"rules": rules}))


def _none() -> Any:
    raise AssertionError("no report of the agent's")


# a leader that stood still


@pytest.mark.long
def test_a_leader_that_stood_still_changes_nothing(stage: Stage, pull_secrets: dict[str, str]) -> None:
    plane = stage.plane
    until(stage.agrees, 30)
    name = plane.leader()
    old = next(one for one in plane.servers if one.name == name)
    new = next(one for one in plane.servers if one is not old)
    with Sampler(lambda: stage.record.status.desired_state, 0.1) as sampler:
        old.pause()
        try:
            until(lambda: plane.leader() == new.name, 30)
            stage.want_pull_secrets(PULL_SECRETS - 1)
            until(lambda: applied_by(stage, new), 40)
        finally:
            stamped = stamps(old)
            old.resume()
        time.sleep(3)
        assert stage.agrees(), "the old one took nothing back"
        stage.want_pull_secrets(1)
        until(lambda: applied_by(stage, new) and not stage.is_there("pull-1"), 40)
        assert stage.is_there("pull-0")
    assert stamps(old) == stamped, "the old one gave a version"
    versions = [(wanted.epoch, wanted.counter) for wanted in sampler.seen if wanted is not None]
    assert versions == sorted(versions), "versions only grow"
    assert versions[-1][0] > versions[0][0], "the new leader's epoch is another"
    until(lambda: plane.door(old.url).get("/version").status == 200, 30)


def applied_by(stage: Stage, leader: Server) -> bool:
    """Whether the agent applied what this leader stamped last."""
    return stage.agrees() and stamps(leader)[-1:] == [version(stage.record)]


def version(record: Cluster) -> str:
    applied = record.status.applied_state
    return f"{applied.epoch}.{applied.counter}" if applied else ""


def stamps(server: Server) -> list[str]:
    """The versions that a server has given, by its log."""
    return re.findall(r"desired state (\d+\.\d+) has ", server.log("control"))
