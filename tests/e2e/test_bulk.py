"""Large bodies in bounded memory, and clients that vanish."""

from __future__ import annotations

import json
import re
import select
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.e2e.conftest import until
from tests.support.door import Door
from tests.support.instance import Instance
from tests.support.memory import Peak

MB = 1 << 20
ALLOWED = 24.0
"""MB that gateway and agent may take for a body of any size: credit of a stream, socket buffers, allocator."""


@pytest.fixture
def peaks(instance: Instance) -> dict[str, Peak]:
    """The memory of the two processes that bodies go through."""
    return {role: Peak(instance.pid(role)) for role in ("gateway", "demo-1-agent")}


def bounded(peaks: dict[str, Peak]) -> None:
    assert {role: round(peak.growth) for role, peak in peaks.items() if peak.growth > ALLOWED} == {}


@pytest.fixture(scope="module")
def heap(instance: Instance) -> Iterator[str]:
    """The path of 105 MB of ConfigMaps, uploaded through Outrider over one connection in bounded memory."""
    cluster = instance.ready["clusters"][0]
    through, straight = (
        Door.of_kubeconfig(cluster["kubeconfig"]),
        Door.of_kubeconfig(cluster["direct_kubeconfig"]),
    )
    assert straight.post("/api/v1/namespaces", {"metadata": {"name": "heap"}}).status == 201
    path = "/api/v1/namespaces/heap/configmaps"
    peaks = {role: Peak(instance.pid(role)) for role in ("gateway", "demo-1-agent")}
    connection = through.connect()
    for number in range(105):
        text = f"{number:04}" * (MB // 4 - 256)
        body = json.dumps({"metadata": {"name": f"c{number}"}, "data": {"text": text}}).encode()
        headers = through.headers({"Content-Type": "application/json"})
        connection.request("POST", through.prefix + path, body, headers)
        answer = connection.getresponse()
        assert answer.status == 201, answer.read()
        answer.read()
    connection.close()
    bounded(peaks)
    yield path
    straight.request("DELETE", "/api/v1/namespaces/heap")


def test_a_download_of_100_mb(through: Door, heap: str, peaks: dict[str, Peak]) -> None:
    size, seen = 0, b""
    with through.stream(heap) as response:
        assert response.status == 200
        while data := response.read(MB):
            size += len(data)
            seen = (seen + data)[-100:]
    assert size > 100 * MB
    assert seen.rstrip().endswith(b"}]}")
    bounded(peaks)


def test_a_slow_reader_holds_up_nobody(through: Door, heap: str, peaks: dict[str, Peak]) -> None:
    with through.stream(heap) as response:
        response.read(1000)
        began = time.monotonic()
        for _ in range(20):
            assert through.get("/api/v1/namespaces/default").status == 200
        assert time.monotonic() - began < 10
        time.sleep(1)
        bounded(peaks)


def test_an_upload_of_50_mb_is_refused_by_the_server_not_by_us(
    through: Door, straight: Door, namespace: str, peaks: dict[str, Peak]
) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    expected = upload(straight, path, 50 * MB)
    answer = upload(through, path, 50 * MB)
    assert expected.startswith(b"HTTP/1.1 413 ")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.partition(b"\r\n\r\n")[2] == expected.partition(b"\r\n\r\n")[2]
    bounded(peaks)
    assert through.get("/version").status == 200


def upload(door: Door, path: str, size: int) -> bytes:
    """Sends a body while it looks for an early answer, as Go's client does; returns that answer."""
    stream = door.socket()
    stream.setblocking(False)
    head = f"POST {door.prefix}{path} HTTP/1.1\r\nHost: {door.host}\r\nContent-Type: application/json\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in door.headers().items())
    head += f"Content-Length: {size}\r\n\r\n"
    waiting, sent, answer = head.encode(), 0, b""
    block = b'{"data":"' + b"x" * (64 * 1024)
    deadline = time.monotonic() + 60
    with stream:
        while time.monotonic() < deadline and not whole(answer):
            writable = [stream] if waiting or sent < size else []
            select.select([stream], writable, [], 0.1)
            try:
                answer += receive(stream)
                if not waiting and sent < size:
                    waiting = block[: size - sent]
                    sent += len(waiting)
                if waiting:
                    waiting = waiting[stream.send(waiting) :]
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                continue
            except OSError:
                answer += receive(stream)
                break
    return answer


def receive(stream: ssl.SSLSocket) -> bytes:
    try:
        return stream.recv(65536)
    except (ssl.SSLWantReadError, OSError):
        return b""


def whole(answer: bytes) -> bool:
    head, separator, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    return bool(separator) and length is not None and len(body) >= int(length.group(1))


def watches(straight: Door) -> int:
    """Watches of the default namespace's PodTemplates that the API server serves: nobody else has any."""
    for line in straight.get("/metrics").body.decode().splitlines():
        if (
            line.startswith("apiserver_longrunning_requests{")
            and set(re.findall(r'\w+="\w+"', line)) >= _OURS
        ):
            return int(float(line.rpartition(" ")[2]))
    return 0


_OURS = {'resource="podtemplates"', 'scope="namespace"', 'verb="WATCH"'}


def hang_up(stream: socket.socket) -> None:
    """Ends a connection as a crash does: no goodbye, a reset."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.socket(fileno=stream.detach()).close()


def start(door: Door, request: str, more: str = "") -> ssl.SSLSocket:
    stream = door.socket()
    lines = "".join(f"{name}: {value}\r\n" for name, value in door.headers().items())
    stream.sendall(f"{request} HTTP/1.1\r\nHost: {door.host}\r\n{lines}{more}\r\n".encode())
    return stream


def gateway_value(admin: Door, sample: str) -> float:
    for line in admin.get("/metrics").body.decode().splitlines():
        if line.startswith(sample + " "):
            return float(line.rpartition(" ")[2])
    raise AssertionError(f"{sample} is not among the metrics")


def test_watches_end_with_their_clients(through: Door, straight: Door, admin: Door) -> None:
    path = f"{through.prefix}/api/v1/namespaces/default/podtemplates?watch=1"
    before = gateway_value(admin, "outrider_gateway_connections")
    with ExitStack() as stack:
        streams = [stack.enter_context(start(through, f"GET {path}")) for _ in range(25)]
        for stream in streams:
            assert stream.recv(12) == b"HTTP/1.1 200"
        until(lambda: watches(straight) == 25)
        for stream in streams:
            hang_up(stream)
    until(lambda: watches(straight) == 0, 10, "the API server still serves watches that nobody reads")
    until(lambda: gateway_value(admin, "outrider_gateway_connections") <= before + 2, 15)


def connections(pid: int) -> int:
    """TCP connections that a process has."""
    with open(f"/proc/{pid}/net/tcp") as table:
        established = {fields[9] for fields in map(str.split, table) if fields[3] == "01"}
    return len(established & inodes(pid))


def inodes(pid: int) -> set[str]:
    import os

    found = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found


@pytest.mark.parametrize("how", ["download", "upload", "before the answer"])
def test_clients_that_vanish_half_way(
    how: str, through: Door, instance: Instance, heap: str, first: dict[str, Any]
) -> None:
    agent = instance.pid("demo-1-agent")
    before = connections(agent)
    streams = []
    for _ in range(5):
        if how == "download":
            stream = start(through, f"GET {through.prefix}{heap}")
            assert stream.recv(12) == b"HTTP/1.1 200"
        elif how == "upload":
            more = f"Content-Type: application/json\r\nContent-Length: {2 * MB}\r\n"
            stream = start(through, f"POST {through.prefix}{heap}", more)
            stream.sendall(b"{" + b" " * MB)
        else:
            stream = start(through, f"GET {through.prefix}{heap}")
        streams.append(stream)
    time.sleep(0.2)
    for stream in streams:
        hang_up(stream)
    assert through.get("/version").status == 200
    # One may be new: it is kept alive for the next request.
    until(lambda: connections(agent) <= before + 1, 15, "connections of vanished clients stay")
    assert through.get("/version").status == 200
