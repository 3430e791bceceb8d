"""A hostile agent ends its own tunnel at most, and a registration token opens one cluster's door only."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from outrider.tunnel import frames
from outrider.tunnel.frames import FIN, Request
from tests.e2e.conftest import until
from tests.support.door import Door
from tests.support.instance import Instance, alive
from tests.support.kubectl import Kubectl
from tests.support.raw_client import ended
from tests.support.records import GROUP, Impostor, Record, connect, reachable
from tests.support.tunnels import frame


@pytest.fixture(scope="module")
def record(instance: Instance, new_kubectl: Any, home: Any) -> Iterator[Callable[[], Record]]:
    """Makes cluster records; they go with the module."""
    management = Kubectl(new_kubectl, instance.ready["admin_kubeconfig"], home)
    made: list[Record] = []

    def make() -> Record:
        made.append(Record(management, {"displayName": f"n-{uuid4().hex[:8]}", "importedConfig": {}}))
        until(made[-1].token, 10)
        return made[-1]

    yield make
    for one in made:
        one.drop()


@pytest.fixture(scope="module")
def stolen(record: Callable[[], Record]) -> Record:
    """The cluster whose registration the attacker holds."""
    return record()


@pytest.fixture(scope="module")
def token(stolen: Record) -> str:
    return stolen.token()


@pytest.fixture
def impostor(door: Door, token: str) -> Iterator[Impostor]:
    """The attacker's tunnel."""
    status, stream = connect(door, token)
    assert status == 101
    one = Impostor(stream)
    yield one
    one.close()


def dial(door: Door, token: str) -> int:
    """The status of a handshake; the tunnel ends at once."""
    status, stream = connect(door, token)
    stream.close()
    return status


class Asking:
    """A request through the proxy whose answer may take a while."""

    def __init__(self, door: Door, path: str) -> None:
        self.answer: Any = None
        self._thread = threading.Thread(target=self._run, args=(door, path), daemon=True)
        self._thread.start()

    def _run(self, door: Door, path: str) -> None:
        with contextlib.suppress(OSError):
            self.answer = door.get(path)

    def end(self) -> Any:
        self._thread.join(15)
        return self.answer


def opened(agent: Impostor) -> tuple[int, bytes]:
    """Stream and payload of the next request."""
    while True:
        opcode, data = agent.hear()
        assert opcode == Impostor.BINARY, (opcode, data)
        at = 0
        while at < len(data):
            kind, stream, size = frames.FRAME.unpack_from(data, at)
            at += frames.HEADER_SIZE
            if kind & 0x7F == frames.OPEN:
                return stream, data[at : at + size]
            at += size


# registration tokens


def test_a_token_opens_its_own_cluster_only(
    door: Door, administrator: Door, stolen: Record, record: Callable[[], Record], token: str
) -> None:
    """Whatever the agent calls itself: the tunnel is for the cluster of its token."""
    other = record()
    lines = (f"X-API-Tunnel-ID: {other.id}", f"X-Outrider-Cluster: {other.id}", f"X-Cluster: {other.id}")
    claims = {"clusterName": other.id, "id": other.id}
    status, stream = connect(door, token, params=claims, lines=lines, clusterName=other.id, name=other.id)
    assert status == 101
    agent = Impostor(stream)
    with contextlib.closing(agent):
        mine = Asking(administrator, f"/k8s/clusters/{stolen.id}/api")
        number, payload = opened(agent)
        assert b"GET /api " in payload
        refused = administrator.get(f"/k8s/clusters/{other.id}/api")
        assert refused.status == 503
        assert "cluster agent disconnected" in refused.json()["message"]
        agent.say(frame(frames.HEAD | FIN, number, frames.heading(200, 2, b"", b"ok")))
        assert mine.end().body == b"ok"
        said = json.dumps({"clusterName": other.id, "kind": "Hello", "cluster": other.id}).encode()
        agent.say(frame(frames.MESSAGE | FIN, 0, said))
        assert administrator.get(f"/k8s/clusters/{other.id}/api").status == 503


def test_tokens_of_others_of_nobody_and_in_the_wrong_place(
    door: Door, administrator: Door, record: Callable[[], Record], first: dict[str, Any], token: str
) -> None:
    for wrong in ("b" * 54, token[:-1], token.upper(), f"{token}_{first['id']}", token + "x", " ", "*"):
        assert dial(door, wrong) in {400, 401}, wrong
    # a user's credential opens no tunnel, and a registration's token no API
    assert dial(door, administrator.token) in {400, 401}
    assert dial(door.with_token(administrator.token), "") in {400, 401}
    refused = door.with_token(token).get(f"/k8s/clusters/{first['id']}/api")
    assert refused.status == 401
    assert refused.json()["message"].endswith("must authenticate")
    assert dial(door, token) == 101


def test_expired_deleted_and_replayed_tokens(door: Door, record: Callable[[], Record]) -> None:
    one = record()
    short, extra = one.register("limited", ttl=3), one.register("extra")
    for good in (short, extra):
        assert dial(door, good) == 101
    one.delete("extra")
    until(lambda: dial(door, extra) == 400, 5, "a deleted one is refused")
    until(lambda: dial(door, short) == 400, 8, "an expired one is refused")
    one.drop()
    old = one.token()
    until(lambda: not old or dial(door, old) == 400, 20, "one of a deleted cluster is refused")


def test_cve_2022_43755_a_registration_made_again_has_another_token(
    door: Door, record: Callable[[], Record], management: Kubectl
) -> None:
    one = record()
    before = one.register("again")
    one.delete("again")
    after = one.register("again")
    assert after != before
    assert len(set(after)) > 10
    until(lambda: dial(door, before) == 400, 5)
    assert dial(door, after) == 101
    management("--namespace", one.id, "delete", "secret", "crt-token-again")
    renewed = until(lambda: (made := one.token("again")) not in {"", before, after} and made, 10)
    until(lambda: dial(door, after) == 400, 5)
    assert dial(door, renewed) == 101


@pytest.mark.parametrize("params", ["", "e30=", "bm90IGpzb24=", "!!!", "W10=", "A" * 70_000])
def test_registration_parameters_that_are_none(door: Door, token: str, params: str) -> None:
    lines = (
        "GET /v3/connect/register HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
        f"X-API-Tunnel-Token: {token}\r\nX-API-Tunnel-Params: {params}\r\n\r\n"
    )
    with door.socket() as stream:
        stream.settimeout(10)
        stream.sendall(lines.encode())
        answer = stream.recv(65536)
    assert answer.split()[1] in {b"400", b"431"}
    assert b"Traceback" not in answer


# what an agent may say


def opening(target: bytes) -> bytes:
    return frames.opening(
        b'{"user":"admin","groups":["system:masters"]}', Request(b"GET " + target + b" HTTP/1.1\r\n")
    )


HOSTILE: dict[str, list[bytes]] = {
    "a frame of a kind that does not exist": [frame(99, 7, b"x")],
    "an oversized frame": [frames.FRAME.pack(frames.DATA, 1, frames.MAX_PAYLOAD + 1) + b"x"],
    "a frame that is cut": [frame(frames.MESSAGE | FIN, 0, b'{"a":1}')[:-3]],
    "half a header": [b"\x83\x00"],
    "an answer to a stream that was never opened": [
        frame(frames.HEAD, 4_000_001, frames.heading(200, 5, b"")),
        frame(frames.DATA, 4_000_001, b"hello"),
    ],
    "a body before its head": [frame(frames.DATA, 1, b"hello")],
    "a request": [frame(frames.OPEN | FIN, 1, opening(b"/api/v1/secrets"))],
    "credit for a stream that was never opened": [frame(frames.WINDOW, 5, b"\xff\xff\xff\xff")],
}
HARMLESS: dict[str, list[bytes]] = {
    "a message that is no JSON": [frame(frames.MESSAGE | FIN, 0, b"\xff\xfe{")],
    "a message of another kind": [frame(frames.MESSAGE | FIN, 0, b'{"kind":"Root","run":"rm"}')],
    "a sign of life": [frame(frames.MESSAGE | FIN, 0, b"{}")],
}
"""What may come from a newer agent: nothing comes of it, and the tunnel stays."""


@pytest.mark.parametrize("what", list(HOSTILE))
def test_hostile_frames_end_their_own_tunnel_at_most(
    impostor: Impostor, through: Door, instance: Instance, stolen: Record, what: str
) -> None:
    gateway, control = instance.pid("gateway"), instance.pid("control")
    for data in HOSTILE[what]:
        impostor.say(data)
    assert "protocol error" in impostor.farewell()
    assert through.get("/api").status == 200
    assert (instance.pid("gateway"), instance.pid("control")) == (gateway, control)
    assert alive(gateway)
    assert alive(control)


@pytest.mark.parametrize("what", list(HARMLESS))
def test_messages_without_sense_are_passed_over(
    impostor: Impostor, stolen: Record, administrator: Door, instance: Instance, what: str
) -> None:
    control = instance.pid("control")
    for data in HARMLESS[what]:
        impostor.say(data)
    asked = Asking(administrator, f"/k8s/clusters/{stolen.id}/api")
    number, _ = opened(impostor)
    impostor.say(frame(frames.HEAD | FIN, number, frames.heading(200, 2, b"", b"ok")))
    assert asked.end().body == b"ok"
    assert instance.pid("control") == control


def test_an_agent_cannot_make_the_server_dial(
    impostor: Impostor, door: Door, token: str, stolen: Record, administrator: Door
) -> None:
    """Neither by a request of our own framing, nor by what agents of other products say."""
    with socket.create_server(("127.0.0.1", 0)) as target:
        port = target.getsockname()[1]
        impostor.say(frame(frames.OPEN | FIN, 1, opening(b"http://127.0.0.1:%d/" % port)))
        assert "protocol error" in impostor.farewell()
        for text in (b"\x01\x00\x01tcp/127.0.0.1:%d" % port, b'{"connect":"127.0.0.1:%d"}' % port):
            for opcode in (Impostor.TEXT, Impostor.BINARY):
                status, stream = connect(door, token)
                assert status == 101
                agent = Impostor(stream)
                agent.say(text, opcode)
                agent.farewell()
                agent.close()
        redirect = frames.heading(307, 0, b"Location: http://127.0.0.1:%d/\r\n" % port)
        status, stream = connect(door, token)
        agent = Impostor(stream)
        with contextlib.closing(agent):
            asked = Asking(administrator, f"/k8s/clusters/{stolen.id}/api")
            number, _ = opened(agent)
            agent.say(frame(frames.HEAD | FIN, number, redirect))
            assert asked.end().status == 307, "a redirect is the client's to follow"
        assert not reachable(target)


@pytest.mark.parametrize(
    "lines",
    [
        b"X: a\r\n\r\nHTTP/1.1 200 OK\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"X: a\nSet-Cookie: R_SESS=x\r\n",
        b"no colon\r\n",
    ],
)
def test_hostile_answers_do_not_reach_a_client(
    impostor: Impostor, stolen: Record, administrator: Door, lines: bytes
) -> None:
    asked = Asking(administrator, f"/k8s/clusters/{stolen.id}/api")
    number, _ = opened(impostor)
    impostor.say(frame(frames.HEAD | FIN, number, frames.heading(200, 2, lines, b"ok")))
    answer = asked.end()
    assert answer.status in {502, 503}
    assert answer.json()["kind"] == "Status"
    assert not answer.cookies()


def test_a_cluster_cannot_sign_a_browser_in(impostor: Impostor, stolen: Record, administrator: Door) -> None:
    asked = Asking(administrator, f"/k8s/clusters/{stolen.id}/api")
    number, payload = opened(impostor)
    assert administrator.token.encode() not in payload, "no credential travels to a cluster"
    lines = b"Set-Cookie: R_SESS=evil\r\nSet-Cookie: fine=1\r\n"
    impostor.say(frame(frames.HEAD | FIN, number, frames.heading(200, 2, lines, b"ok")))
    assert list(asked.end().cookies()) == ["fine"]


def test_invented_inventory_is_about_the_liar_only(
    impostor: Impostor, stolen: Record, management: Kubectl, first: dict[str, Any]
) -> None:
    """Whatever it reports, no other cluster's object changes, and its own stays one that can be read."""
    before = management.json("get", f"clusters.{GROUP}", first["id"])["status"]
    for text in (
        b'{"type":"status","cluster":"%b","version":"v9"}' % first["id"].encode(),
        b'{"kind":"Report","clusterName":"%b","nodes":99999999}' % first["id"].encode(),
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b"[" * 200_000,
    ):
        impostor.say(frame(frames.MESSAGE | FIN, 0, text))
    after = management.json("get", f"clusters.{GROUP}", first["id"])["status"]
    kept = ("version", "nodeCount", "driver", "apiEndpoint")
    assert {key: before.get(key) for key in kept} == {key: after.get(key) for key in kept}
    assert management.json("get", f"clusters.{GROUP}", stolen.id)["metadata"]["name"] == stolen.id


def test_the_tunnels_of_a_revoked_registration_end(
    door: Door, record: Callable[[], Record], administrator: Door
) -> None:
    one = record()
    status, stream = connect(door, one.token())
    assert status == 101
    one.drop()
    assert ended(stream, 30)  # an agent that does not clean up is given up after 10 s
    stream.close()
    assert administrator.get(f"/k8s/clusters/{one.id}/api").status in {404, 503}
