"""HTTP itself, on the wire: what a client may send, and what must not get through."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from typing import Any

import pytest

from tests.e2e.conftest import until
from tests.support.door import Door
from tests.support.instance import Instance
from tests.support.kubectl import Kubectl
from tests.support.raw_client import exchange, head


def test_100_continue(through: Door, namespace: str) -> None:
    path = f"{through.prefix}/api/v1/namespaces/{namespace}/configmaps"
    body = json.dumps({"metadata": {"name": "expected"}}).encode()
    with through.socket() as stream:
        stream.settimeout(5)
        lines = ("Content-Type: application/json", f"Content-Length: {len(body)}", "Expect: 100-continue")
        stream.sendall(head(through, f"POST {path}", *lines))
        assert stream.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        stream.sendall(body)
        answer = b""
        while data := stream.recv(65536):
            answer += data
    assert answer.startswith(b"HTTP/1.1 201 Created\r\n")


def test_100_continue_is_not_asked_for_when_the_answer_is_no(door: Door) -> None:
    lines = ("Content-Type: application/json", "Content-Length: 1000000", "Expect: 100-continue")
    with door.socket() as stream:
        stream.settimeout(10)
        stream.sendall(head(door, "POST /k8s/clusters/c-aaaaa/api/v1/namespaces", *lines))
        assert stream.recv(13) == b"HTTP/1.1 401 "


def test_pipelined_requests_are_answered_in_order(through: Door) -> None:
    paths = ["/version", "/api/v1/namespaces/default", "/healthz", "/nope"]
    requests = [head(through, f"GET {through.prefix}{path}", close=path == paths[-1]) for path in paths]
    answer = exchange(through, b"".join(requests))
    assert re.findall(rb"HTTP/1\.1 (\d+) ", answer) == [b"200", b"200", b"200", b"404"]
    assert answer.index(b"gitVersion") < answer.index(b'"Namespace"') < answer.index(b"404")


def test_a_connection_is_kept_and_may_be_slow(through: Door) -> None:
    request = head(through, f"GET {through.prefix}/version")
    slow = [request[i : i + 20] for i in range(0, len(request), 20)]
    assert exchange(through, *slow, pause=0.005).startswith(b"HTTP/1.1 200 ")
    connection = through.connect()
    for _ in range(3):
        connection.request("GET", f"{through.prefix}/version", headers=through.headers())
        held: socket.socket = connection.sock
        response = connection.getresponse()
        response.read()
        assert response.status == 200
        assert connection.sock is held
    connection.close()


def test_http_1_0(through: Door) -> None:
    request = head(through, f"GET {through.prefix}/version").replace(b"HTTP/1.1", b"HTTP/1.0")
    answer = exchange(through, request)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"chunked" not in answer.lower()


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Content-Length: 5", "Content-Length: 6"),
        ("Transfer-Encoding: gzip, chunked",),
        ("Transfer-Encoding: xchunked",),
        ("Host: other",),
        (" Folded: line",),
        ("Na me: value",),
    ],
)
def test_ambiguous_requests_are_refused(through: Door, lines: tuple[str, ...]) -> None:
    answer = exchange(
        through, head(through, f"POST {through.prefix}/api/v1/namespaces", *lines) + b"0\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert len(re.findall(rb"HTTP/1\.1 \d+ ", answer)) == 1, "what follows is no request"


@pytest.mark.parametrize(
    "lines",
    [
        ("Impersonate-User: system:admin",),
        ("Impersonate-Group: system:masters", "Impersonate-User: x"),
        ("impersonate-uid: 1",),
        ("Impersonate-Extra-scopes: all",),
        ("Connection: Impersonate-User", "Impersonate-User: system:admin"),
    ],
)
def test_impersonation_by_the_client_is_refused(through: Door, lines: tuple[str, ...]) -> None:
    answer = exchange(through, head(through, f"GET {through.prefix}/api", *lines))
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"not allowed to impersonate" in answer


def test_headers_named_in_connection_cannot_take_ours_away(through: Door) -> None:
    path = f"{through.prefix}/apis/authentication.k8s.io/v1/selfsubjectreviews"
    body = b'{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}'
    named = "Connection: Authorization, Impersonate-Group, X-Remote-User, close"
    lines = ("Content-Type: application/json", f"Content-Length: {len(body)}", named, "X-Remote-User: root")
    answer = exchange(through, head(through, f"POST {path}", *lines, close=False) + body)
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert b'"username":"user-' in answer
    assert b"system:cattle:authenticated" in answer


@pytest.mark.parametrize(
    "path",
    ["/api/../../../v3/tokens", "/%2e%2e/%2e%2e/local/api", "/api/..%2f..%2flocal", "/./api", "//api"],
)
def test_dot_segments_lead_nowhere(through: Door, path: str) -> None:
    answer = exchange(through, head(through, f"GET {through.prefix}{path}"))
    assert answer.split()[1] in {b"400", b"404"}, answer
    assert b"kind" in answer


def test_a_watch_survives_the_reconnection_of_another_clusters_agent(
    kubectl: Kubectl, instance: Instance, management: Kubectl, second: dict[str, Any], namespace: str
) -> None:
    with kubectl.background("--namespace", namespace, "get", "configmaps", "--watch") as watch:
        kubectl("--namespace", namespace, "create", "configmap", "before")
        watch.line("before")
        former = instance.pid("demo-2-agent")
        os.kill(former, signal.SIGKILL)
        until(lambda: instance.pid("demo-2-agent") != former)
        other = kubectl.at(second["kubeconfig"])
        until(lambda: other.attempt("get", "namespaces").returncode == 0)
        kubectl("--namespace", namespace, "create", "configmap", "after")
        watch.line("after")
        assert watch.process.poll() is None
