"""Two servers on one management cluster: either serves every cluster, and the death of one is hardly noticed.

The tests share two `outrider server` processes, haproxy, and one real cluster whose agent dials through haproxy.
They run in the order of this file: the balancer changes its mind first, and servers are killed at the end.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from outrider.apis.management.cluster import CLUSTERS
from outrider.kit import pki
from outrider.kube.builtin import SECRETS
from outrider.link.messages import PEER_GROUP
from tests.e2e.conftest import until
from tests.support.door import Answer, Door
from tests.support.hosted import drop_state
from tests.support.kubectl import Kubectl
from tests.support.not_run import not_run
from tests.support.replicas import NAMESPACE, Plane, Server, haproxy
from tests.support.sampler import Sampler

FORWARDED = "outrider_gateway_forwarded_requests_total"
TAKEN = "outrider_gateway_peer_answers_total"
TUNNELS = "outrider_gateway_tunnels"
COUNTED = 6.5
"""Seconds until a gateway's figures have reached /metrics for certain."""

pytestmark = pytest.mark.timeout(150)


@pytest.fixture(scope="module")
def plane(kube_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    program = haproxy()
    if program is None:
        not_run("haproxy is not installed: as root, apt-get install haproxy")
    running = Plane(tmp_path_factory.mktemp("r"), program)
    try:
        running.start()
        yield running
    finally:
        running.stop()
        for folder in (running.folder / "management", *running.folder.glob("clusters/*/kube")):
            drop_state(folder)


@pytest.fixture
def alpha(plane: Plane) -> Server:
    return plane.servers[0]


@pytest.fixture
def beta(plane: Plane) -> Server:
    return plane.servers[1]


@pytest.fixture
def round_robin(plane: Plane) -> Plane:
    """An agent with a tunnel to each replica."""
    if plane.balancer.balance != "roundrobin":
        plane.balancer.start(plane.servers, "roundrobin")
    # What a replica published may be from before a restart: until its agents are back they count as connected.
    until(lambda: all(plane.cluster["id"] in plane.sessions(one) for one in plane.servers), 60)
    until(lambda: all(plane.counter(one, TUNNELS) == 1 for one in plane.servers), 60)
    return plane


@pytest.fixture
def one_sided(plane: Plane) -> tuple[Server, Server]:
    """Source hashing, which leads every dial of the agent's to one replica: (the one with the tunnel, the other)."""
    if plane.balancer.balance != "source":
        plane.balancer.start(plane.servers, "source")

    def holders() -> list[Server]:
        return [one for one in plane.servers if plane.cluster["id"] in plane.sessions(one)]

    until(lambda: len(holders()) == 1, 60)
    holder = holders()[0]
    other = next(one for one in plane.servers if one is not holder)
    until(lambda: plane.door(other.url).get("/version").status == 200, 15)
    return holder, other


def settled(plane: Plane, server: Server, name: str) -> float:
    """A counter, once everything until now has been counted."""
    time.sleep(COUNTED)
    return plane.counter(server, name)


def at(plane: Plane, base: str, new_kubectl: Path, home: Path) -> Kubectl:
    return Kubectl(new_kubectl, plane.kubeconfig(base), home)


def test_the_agent_keeps_one_tunnel_to_each_replica(round_robin: Plane, alpha: Server, beta: Server) -> None:
    for server in (alpha, beta):
        until(lambda s=server: round_robin.counter(s, TUNNELS) == 1, COUNTED)
    time.sleep(2)
    opened = [server.log("gateway").count("tunnel opened") for server in (alpha, beta)]
    assert opened == [1, 1], "no needless tunnel was opened"


def test_either_replica_serves_on_its_own(
    round_robin: Plane, alpha: Server, beta: Server, new_kubectl: Path, home: Path
) -> None:
    for server in (alpha, beta):
        kubectl = at(round_robin, server.url, new_kubectl, home)
        assert "kube-system" in kubectl("get", "namespaces")
        name = f"by-{server.name}"
        with kubectl.background("get", "configmaps", "--watch", "--namespace=default") as watch:
            watch.line("kube-root-ca.crt")
            at(round_robin, round_robin.balancer.url, new_kubectl, home)(
                "create", "configmap", name, "--namespace=default"
            )
            watch.line(name)
    assert [settled(round_robin, server, FORWARDED) for server in (alpha, beta)] == [0, 0]


def test_any_replica_serves_a_cluster_whose_tunnel_another_one_holds(
    plane: Plane, one_sided: tuple[Server, Server], new_kubectl: Path, home: Path
) -> None:
    holder, other = one_sided
    before = plane.counter(other, FORWARDED), plane.counter(holder, TAKEN)
    kubectl = at(plane, other.url, new_kubectl, home)
    assert "kube-system" in kubectl("get", "namespaces")
    with kubectl.background("get", "configmaps", "--watch", "--namespace=default") as watch:
        watch.line("kube-root-ca.crt")
        kubectl("create", "configmap", "forwarded", "--namespace=default")
        watch.line("forwarded")
    door = plane.door(other.url)
    for _ in range(50):
        assert door.get("/version").status == 200

    def counted() -> bool:
        return (
            plane.counter(other, FORWARDED) - before[0] >= 52
            and plane.counter(holder, TAKEN) - before[1] >= 52
        )

    until(counted, COUNTED)
    assert plane.counter(holder, FORWARDED) == 0


def test_bodies_pass_a_peer_unchanged(plane: Plane, one_sided: tuple[Server, Server]) -> None:
    _, other = one_sided
    door, straight = plane.door(other.url), Door.of_kubeconfig(plane.cluster["direct_kubeconfig"])
    path = "/api/v1/namespaces/default/configmaps"
    for number in range(8):
        value = base64.b64encode(os.urandom(600_000)).decode()
        made = door.post(
            path, {"metadata": {"name": f"bulk-{number}", "labels": {"bulk": "1"}}, "data": {"v": value}}
        )
        assert made.status == 201, made.body[:300]
        assert made.json()["data"]["v"] == value
    version = straight.get(f"{path}?limit=1").json()["metadata"]["resourceVersion"]
    one_state = f"{path}?labelSelector=bulk=1&resourceVersion={version}&resourceVersionMatch=Exact"
    through, direct = (one.get(one_state) for one in (door, straight))
    assert len(through.body) > 6_000_000
    assert through.body == direct.body
    unsized = door.request(
        "POST", path, iter([b'{"metadata":{"name":"chun', b'ked"}}']), {"Content-Type": "application/json"}
    )
    assert unsized.status == 201
    assert door.request("DELETE", f"{path}?labelSelector=bulk=1").status == 200
    missing = door.get(f"{path}/nobody"), straight.get(f"{path}/nobody")
    assert missing[0].status == missing[1].status == 404
    assert missing[0].body == missing[1].body


def test_an_upgraded_connection_passes_a_peer(plane: Plane, one_sided: tuple[Server, Server]) -> None:
    _, other = one_sided
    door = plane.door(other.url)
    with contextlib.closing(door.socket()) as end:
        end.sendall(
            f"GET {door.prefix}/api/v1/namespaces/default/configmaps?watch=true HTTP/1.1\r\n"
            f"Host: {door.host}\r\nAuthorization: Bearer {door.token}\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nOrigin: https://outrider.test\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            "\r\n".encode()
        )
        end.settimeout(15)
        seen = read_until(end, b"kube-root-ca.crt")
        assert seen.startswith(b"HTTP/1.1 101 ")
        door.post("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "while-upgraded"}})
        read_until(end, b"while-upgraded")
        end.sendall(b"\x88\x80\x00\x00\x00\x00")  # a masked, empty close frame


def read_until(end: ssl.SSLSocket, wanted: bytes) -> bytes:
    seen = b""
    while wanted not in seen:
        data = end.recv(65536)
        assert data, seen
        seen += data
    return seen


# attacks on the door for peers


class PeerDoor:
    """Talks to a replica's door for peers with some certificate."""

    def __init__(self, address: tuple[str, int], credential: pki.Credential | None, folder: Path) -> None:
        self._address = address
        self._context = ssl.create_default_context()
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        if credential is not None:
            bundle = folder / "client.pem"
            pki.write_private(bundle, pki.to_bundle(credential))
            self._context.load_cert_chain(bundle)

    def get(self, path: str, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPSConnection(*self._address, context=self._context, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            return Answer(response.status, response.getheaders(), response.read())


def forwarded(plane: Plane, user: str = "system:admin", groups: tuple[str, ...] = ()) -> dict[str, str]:
    identity = json.dumps({"user": user, "groups": list(groups), "extra": {}}).encode()
    return {
        "x-outrider-cluster": plane.cluster["id"],
        "x-outrider-claim": base64.urlsafe_b64encode(identity).decode(),
    }


def secret(plane: Plane, name: str) -> pki.Credential:
    data = plane.managed(lambda client: client.get(SECRETS, name, NAMESPACE))["data"]
    return pki.Credential(base64.b64decode(data["tls.crt"]), base64.b64decode(data["tls.key"]))


def of_a_peer(authority: pki.Credential, group: str = PEER_GROUP) -> pki.Credential:
    return pki.issue_server(
        authority, "gamma", groups=[group] if group else [], now=datetime.now(UTC), dns=["gamma"], client=True
    )


def admin_claim(plane: Plane) -> dict[str, str]:
    """The claim that a gateway would forward for the administrator."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    info = plane.door(plane.balancer.url).post("/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
    who = info.json()["status"]["userInfo"]
    identity = {"user": who["username"], "groups": who["groups"], "extra": who.get("extra", {})}
    return forwarded(plane) | {
        "x-outrider-claim": base64.urlsafe_b64encode(json.dumps(identity).encode()).decode()
    }


def test_only_replicas_may_enter_by_the_door_for_peers(
    plane: Plane, one_sided: tuple[Server, Server], tmp_path: Path
) -> None:
    holder, _ = one_sided
    address = plane.peer_address(holder)
    claim = admin_claim(plane)
    authority = secret(plane, "outrider-peer-ca")
    now = datetime.now(UTC)
    positive = PeerDoor(address, of_a_peer(authority), tmp_path).get("/version", claim)
    assert positive.status == 200, positive.body
    strangers = {
        "no certificate": None,
        "the front door's own": secret(plane, "tls-rancher-internal"),
        "one of the front door's authority": of_a_peer(secret(plane, "tls-rancher-internal-ca")),
        "one of an authority with the same name": of_a_peer(pki.create_authority("outrider-peers", now=now)),
        "one of the right authority for something else": of_a_peer(authority, "outrider:users"),
        "one of the right authority for nobody": of_a_peer(authority, ""),
        "one that is only a client's": pki.issue_client(authority, "gamma", ["system:masters"], now=now),
    }
    before = settled(plane, holder, TAKEN)
    for what, credential in strangers.items():
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
            raise AssertionError(f"{what}: {PeerDoor(address, credential, tmp_path).get('/version', claim)}")
    assert settled(plane, holder, TAKEN) == before, "nobody was answered"


def test_a_peer_forwards_whole_requests_or_none(
    plane: Plane, one_sided: tuple[Server, Server], tmp_path: Path
) -> None:
    holder, _ = one_sided
    peer = PeerDoor(plane.peer_address(holder), of_a_peer(secret(plane, "outrider-peer-ca")), tmp_path)
    good = admin_claim(plane)
    assert peer.get("/version", good).status == 200
    for name in good:
        assert peer.get("/version", {k: v for k, v in good.items() if k != name}).status == 400
    assert peer.get("/version", good | {"x-outrider-claim": "!"}).status == 400
    assert peer.get("/version", good | {"x-outrider-cluster": "../local"}).status == 400
    assert peer.get("/version", good | {"Authorization": "Bearer x"}).status == 400
    unknown = peer.get("/version", good | {"x-outrider-cluster": "c-nobody"})
    assert unknown.status == 503
    # The agent's own rule holds for what comes through peers, too (architecture, decision 4).
    masters = peer.get("/version", forwarded(plane, "root", ("system:masters",)))
    assert masters.status in {403, 503}, masters.body


def test_a_forwarded_request_is_never_forwarded_again(
    plane: Plane, one_sided: tuple[Server, Server], tmp_path: Path
) -> None:
    _, other = one_sided
    peer = PeerDoor(plane.peer_address(other), of_a_peer(secret(plane, "outrider-peer-ca")), tmp_path)
    claim = admin_claim(plane)
    before = settled(plane, other, FORWARDED)
    for _ in range(3):
        answer = peer.get("/version", claim)
        assert answer.status == 503
        assert "no tunnel" in answer.json()["message"]
    assert settled(plane, other, FORWARDED) == before


def test_a_client_cannot_play_a_peer(plane: Plane, one_sided: tuple[Server, Server]) -> None:
    holder, other = one_sided
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    forged = forwarded(plane, "root", ("system:masters",)) | {"Content-Type": "application/json"}
    for server in (holder, other):
        door = plane.door(server.url)
        honest = door.post(path, review).json()["status"]["userInfo"]
        answer = door.request("POST", path, json.dumps(review).encode(), forged)
        assert answer.status == 201, answer.body
        assert answer.json()["status"]["userInfo"]["username"] == honest["username"] != "root"
        assert "system:masters" not in answer.json()["status"]["userInfo"]["groups"]
        nobody = door.with_token("").request("GET", "/version", headers=forged)
        assert nobody.status == 401


# death


def connected(plane: Plane) -> Sampler[bool]:
    """Reads `status.connected` over and over."""

    def read() -> bool:
        cluster = plane.managed(lambda client: client.get(CLUSTERS, plane.cluster["id"]))
        return cluster.status.connected

    return Sampler(read, 0.2)


def reconciled(plane: Plane, name: str) -> bool:
    """Whether the leader has taken note of a new cluster."""
    cluster = plane.managed(lambda client: client.get(CLUSTERS, name))
    return bool(cluster.status.conditions)


def new_cluster(plane: Plane) -> str:
    draft: dict[str, Any] = {
        "apiVersion": CLUSTERS.api_version,
        "kind": CLUSTERS.kind,
        "metadata": {"generateName": "c-"},
        "spec": {"displayName": f"made-{time.time_ns()}", "importedConfig": {}},
    }
    made = plane.managed(lambda client: client.create(CLUSTERS, draft))
    return str(made.metadata.name)


def test_the_only_holder_of_a_tunnel_dies(plane: Plane, one_sided: tuple[Server, Server]) -> None:
    """However short its tunnel lasted: the agent has just been moved here when the balancer changed its mind."""
    holder, other = one_sided
    door, balanced = plane.door(other.url), plane.door(plane.balancer.url)
    assert answers(door)
    with connected(plane) as sampler:
        holder.kill()
        killed = time.monotonic()
        until(lambda: answers(balanced), 2.0, "no new request succeeded within 2 s")
        print(f"the only holder: a request after {time.monotonic() - killed:.2f} s")
        assert answers(door)
        holder.start()
        until(lambda: answers(plane.door(holder.url)), 10, "the one that came back forwards")
    assert all(sampler.seen), "`connected` stayed true throughout"


@pytest.mark.parametrize("victim", ["leader", "follower"])
def test_a_replica_dies(round_robin: Plane, victim: str, new_kubectl: Path, home: Path) -> None:
    plane = round_robin
    leader = plane.leader()
    dying = next(one for one in plane.servers if (one.name == leader) == (victim == "leader"))
    living = next(one for one in plane.servers if one is not dying)
    forgotten = f"replica {dying.name} has not renewed"
    survivor = at(plane, living.url, new_kubectl, home)
    balanced = plane.door(plane.balancer.url)
    watching = ("get", "configmaps", "--watch", "--namespace=default")
    with survivor.background(*watching) as unharmed, connected(plane) as sampler:
        unharmed.line("kube-root-ca.crt")
        with at(plane, dying.url, new_kubectl, home).background(*watching) as doomed:
            doomed.line("kube-root-ca.crt")
            dying.kill()
            killed = time.monotonic()
            until(lambda: answers(balanced), 2.0, "no new request succeeded within 2 s")
            through_other = time.monotonic() - killed
            doomed.ended(15)
        assert answers(plane.door(living.url))
        made = new_cluster(plane)
        until(lambda: reconciled(plane, made), 20 - (time.monotonic() - killed))
        led_after = time.monotonic() - killed
        assert plane.leader() == living.name
        name = f"after-{victim}-{time.time_ns()}"
        survivor("create", "configmap", name, "--namespace=default")
        unharmed.line(name)
        assert unharmed.process.poll() is None
        if victim == "leader":
            # Whoever died is forgotten; the agent goes on with whom it has. The other time it is back before.
            until(lambda: forgotten in living.log("control"), 40)
        dying.start()
        until(lambda: plane.counter(dying, TUNNELS) == 1, 30)
        assert answers(plane.door(dying.url))
        unharmed_still = f"{name}-later"
        survivor("create", "configmap", unharmed_still, "--namespace=default")
        unharmed.line(unharmed_still)
    assert sampler.seen
    assert all(sampler.seen), "`connected` stayed true throughout"
    print(f"{victim}: a request after {through_other:.2f} s, the leader's work after {led_after:.1f} s")


def answers(door: Door) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException, socket.timeout):
        return door.get("/version").status == 200
    return False
