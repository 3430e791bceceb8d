"""Many connections that come to nothing: bounded memory, and nobody else notices."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import until
from tests.security.conftest import CROWD, SHARE
from tests.support.door import Door
from tests.support.instance import Instance
from tests.support.memory import Peak
from tests.support.raw_client import ended, status, upgrade
from tests.support.records import connect

MB = {"gateway": 96, "control": 64}
"""What a flood may cost a process at its peak."""
PATIENCE = 2.0
"""Seconds in which anybody else's request is answered meanwhile."""


class Flood:
    """Open sockets of attackers at many addresses; `broken` counts those that the server ended."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._ends: list[socket.socket] = []

    def __enter__(self) -> Flood:
        return self

    def __exit__(self, *_: object) -> None:
        for end in self._ends:
            end.close()

    def connect(self, source: str) -> socket.socket | None:
        """One connection; None when it is refused."""
        end = socket.socket()
        self._ends.append(end)
        end.settimeout(2)
        end.bind((source, 0))
        try:
            end.connect(self._target)
        except OSError:
            return None
        return end

    @property
    def broken(self) -> int:
        """How many the server has ended so far."""
        return sum(_is_broken(end) for end in self._ends)


def _is_broken(end: socket.socket) -> bool:
    end.settimeout(0)
    try:
        return not end.recv(65536, socket.MSG_PEEK)
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True


class Bystander:
    """Somebody who goes on working; `slowest` is the longest that an answer took, in seconds."""

    def __init__(self, door: Door) -> None:
        self.slowest = 0.0
        self.served = 0
        self.failures: list[str] = []
        self._door = door
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Bystander:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(30)

    def _work(self) -> None:
        with contextlib.closing(self._door.connect()) as connection:
            while not self._stopping.wait(0.02):
                began = time.monotonic()
                try:
                    connection.request("GET", self._door.prefix + "/api", headers=self._door.headers())
                    answer = connection.getresponse()
                    body = answer.read()
                    if answer.status != 200:
                        self.failures.append(f"{answer.status} {body[:300]!r}")
                except OSError as error:
                    self.failures.append(repr(error))
                    return
                self.slowest = max(self.slowest, time.monotonic() - began)
                self.served += 1


@pytest.fixture
def watched(instance: Instance, through: Door) -> Iterator[Bystander]:
    """The flood leaves processes, memory and somebody who was there before as they were."""
    before = {role: instance.pid(role) for role in MB}
    peaks = {role: Peak(pid) for role, pid in before.items()}
    code, _, stream = upgrade(through, "/api/v1/namespaces?watch=true", "Origin: https://outrider.test")
    with stream, Bystander(through) as one:
        assert code == 101
        until(lambda: one.served > 0 or one.failures, 10)  # it was there before the flood
        yield one
        until(lambda: one.served > 20 or one.failures, 10)
        stream.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            assert stream.recv(65536), "the watch of a bystander has ended"
    assert not one.failures
    assert one.slowest < PATIENCE
    assert {role: instance.pid(role) for role in MB} == before
    for role, peak in peaks.items():
        assert peak.growth < MB[role], role


def refused(administrator: Door) -> dict[str, float]:
    """The counters of refused connections."""
    text = administrator.get("/metrics").body.decode()
    found = re.findall(
        r'^outrider_gateway_refused_connections_total\{reason="(\w+)"\} (\S+)$', text, re.MULTILINE
    )
    return {reason: float(value) for reason, value in found}


def several(number: int) -> list[str]:
    """Sources so many that none comes near its own share."""
    return [f"127.0.{n % 40 + 10}.1" for n in range(number)]


def test_half_open_connections_from_one_address(watched: Bystander, door: Door, administrator: Door) -> None:
    """TCP without TLS: the address gets its share and no more; others do not notice."""
    before = refused(administrator)
    with Flood(door.host, door.port) as flood:
        for _ in range(3 * SHARE):
            flood.connect("127.0.0.66")
        until(lambda: flood.broken >= 2 * SHARE, 5)
        assert flood.broken <= 2 * SHARE + 5
        with pytest.raises(OSError, match=r".*"):
            door.come_from("127.0.0.66").get("/ping")
        assert door.come_from("127.0.0.67").get("/ping").status == 200
        wanted = before.get("address", 0) + 2 * SHARE
        until(lambda: refused(administrator).get("address", 0) >= wanted, 8)
    until(lambda: door.come_from("127.0.0.66").get("/ping").status == 200, 5, "it gets in again")


@pytest.mark.parametrize("what", ["nothing", "half a hello", "noise", "plain HTTP"])
def test_half_open_connections_from_everywhere(
    watched: Bystander,
    door: Door,
    administrator: Door,
    through: Door,
    record_agent: Callable[[], int],
    what: str,
) -> None:
    """More than the house holds: whoever is inside goes on, agents and probes get in, others hear why not."""
    said = {
        "nothing": b"",
        "half a hello": bytes.fromhex("160301020001"),
        "noise": bytes(range(256)) * 4,
        "plain HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    }[what]
    with Flood(door.host, door.port) as flood:
        for source in several(CROWD + 20):
            end = flood.connect(source)
            if end is not None and said:
                with contextlib.suppress(OSError):
                    end.sendall(said)
        if what in {"nothing", "half a hello"}:
            crowded = door.get("/v3/users")
            assert crowded.status == 503
            assert int(crowded.header("Retry-After")) > 0
            assert "too many connections" in crowded.json()["message"]
            assert door.get("/healthz").status == 200
            assert record_agent() == 101
        else:
            until(lambda: flood.broken >= CROWD, 10, "what is no handshake is dropped")
    until(lambda: through.get("/api").status == 200, 10)


@pytest.fixture(scope="module")
def record_agent(instance: Instance, new_kubectl: Path, home: Path, administrator: Door) -> Callable[[], int]:
    """Dials as the second cluster's agent does, with its token; the status of the handshake. Others use the first."""
    import base64
    import json

    from tests.support.kubectl import Kubectl

    management = Kubectl(new_kubectl, instance.ready["admin_kubeconfig"], home)
    cluster = instance.ready["clusters"][1]["id"]
    secret = json.loads(
        management("--namespace", cluster, "get", "secret", "crt-token-default-token", "-ojson")
    )
    token = base64.b64decode(secret["data"]["token"]).decode()

    def dial() -> int:
        code, stream = connect(administrator.with_token("").come_from("127.0.0.68"), token)
        stream.close()
        return code

    return dial


def secured(flood: Flood, door: Door, source: str) -> ssl.SSLSocket | None:
    plain = flood.connect(source)
    if plain is None:
        return None
    try:
        end = door._context.wrap_socket(plain, server_hostname=door.host)
    except OSError:
        return None
    flood._ends.append(end)
    return end


SLOW = [
    (b"GET /v3/users HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"y"),
    (b"GET /a", b"y"),
    (b"GET /v3/users HTTP/1.1\r\nHost: x\r\nX-Never: ", b""),
    *(
        (
            b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n{"
            % path,
            drop,
        )
        for path in (b"/v3-public/localProviders/local?action=login", b"/v1-public/login")
        for drop in (b" ", b"")
    ),
]
"""What is begun, and what comes of it every second: heads, and bodies of a sign-in, for which nobody need be known."""


def test_half_sent_heads_and_slow_bodies_of_strangers(watched: Bystander, door: Door) -> None:
    """A drop now and then does not keep the connection: the time is for all of it. Others sign in meanwhile."""
    with Flood(door.host, door.port) as flood:
        opened = [
            (secured(flood, door, source), SLOW[n % len(SLOW)]) for n, source in enumerate(several(105))
        ]
        slow = [(end, drop) for end, (_, drop) in opened if end is not None]
        assert len(slow) == len(opened)
        for end, (begun, _) in opened:
            assert end is not None
            end.sendall(begun)
        body = b'{"type":"localProvider","username":"nobody","password":"x"}'
        assert door.request("POST", "/v1-public/login", body).status in {401, 429}
        began = time.monotonic()
        heard: dict[ssl.SSLSocket, bytes] = {}
        while len(heard) < len(slow) and time.monotonic() < began + 40:
            for end, drop in slow:
                with contextlib.suppress(OSError):
                    end.sendall(drop)
                listen(end, heard)
            time.sleep(1)
        assert {status(data) for data in heard.values()} == {408}
        assert len(heard) == len(slow)
        assert any(b"did not come in time" in data for data in heard.values())
        assert any(b"did not come within 20 seconds" in data for data in heard.values())
        assert 14 < time.monotonic() - began < 35
        for end, _ in slow:
            assert ended(end, 10)


def listen(end: ssl.SSLSocket, heard: dict[ssl.SSLSocket, bytes]) -> None:
    end.settimeout(0)
    with contextlib.suppress(OSError):
        data = end.recv(65536)
        if data:
            heard[end] = heard.get(end, b"") + data


def test_bodies_that_nobody_wants(watched: Bystander, door: Door, first: dict[str, Any]) -> None:
    """Unauthorised uploads are answered at once and cut off; they are not read to their end."""
    announced = (
        f"PUT /k8s/clusters/{first['id']}/api/v1/namespaces/default/configmaps/x HTTP/1.1\r\n"
        f"Host: {door.host}\r\nContent-Length: 1000000000\r\n\r\n"
    )
    with Flood(door.host, door.port) as flood:
        ends = [end for source in several(40) if (end := secured(flood, door, source)) is not None]
        for end in ends:
            end.sendall(announced.encode())
            end.settimeout(5)
            assert status(end.recv(65536)) == 401
            with contextlib.suppress(OSError):
                end.sendall(bytes(1 << 20))
        for end in ends:
            assert ended(end, 12)
