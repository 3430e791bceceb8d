"""Clusters that exist on record only, their registration tokens, and agents that say what a test wants."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import struct
from typing import Any

from tests.e2e.conftest import until
from tests.support.door import Door
from tests.support.kubectl import Kubectl

GROUP = "management.cattle.io"


class Record:
    """A cluster that was made for one test, and its registration tokens."""

    def __init__(self, management: Kubectl, spec: dict[str, Any]) -> None:
        self._management = management
        body = {
            "apiVersion": f"{GROUP}/v3",
            "kind": "Cluster",
            "metadata": {"generateName": "c-"},
            "spec": spec,
        }
        self.id: str = management.json("create", "-f", "-", stdin=json.dumps(body))["metadata"]["name"]

    def token(self, registration: str = "default-token") -> str:
        """The clear token of a registration; empty while there is none."""
        secret = self._management.attempt(
            "--namespace", self.id, "get", "secret", f"crt-token-{registration}", "--output=json"
        )
        return plain(json.loads(secret.stdout)["data"]["token"]) if secret.returncode == 0 else ""

    def register(self, name: str, **spec: Any) -> str:
        """Makes a registration and returns its token."""
        body = {
            "apiVersion": f"{GROUP}/v3",
            "kind": "ClusterRegistrationToken",
            "metadata": {"name": name, "namespace": self.id},
            "spec": {"clusterName": self.id, **spec},
        }
        self._management("create", "-f", "-", stdin=json.dumps(body))
        made: str = until(lambda: self.token(name), 10)
        return made

    def delete(self, name: str) -> None:
        """Deletes a registration."""
        self._management("--namespace", self.id, "delete", f"clusterregistrationtokens.{GROUP}", name)

    def drop(self) -> None:
        """Deletes the cluster."""
        self._management("delete", f"clusters.{GROUP}", self.id, "--wait=false", "--ignore-not-found")


def plain(text: str) -> str:
    """Base64 decoded."""
    return base64.b64decode(text).decode()


def connect(
    door: Door,
    token: str,
    /,
    *,
    params: dict[str, Any] | None = None,
    lines: tuple[str, ...] = (),
    **cluster: str,
) -> tuple[int, ssl.SSLSocket]:
    """Dials as an agent does; returns the status of the handshake and the connection."""
    authority = base64.b64encode(b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n").decode()
    told = {"cluster": {"address": "10.43.0.1:443", "token": "t", "caCert": authority} | cluster} | (
        params or {}
    )
    wanted = [
        "GET /v3/connect/register HTTP/1.1",
        f"Host: {door.host}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {base64.b64encode(b'0123456789abcdef').decode()}",
        f"X-API-Tunnel-Params: {base64.b64encode(json.dumps(told).encode()).decode()}",
        *lines,
    ]
    if token:
        wanted.append(f"X-API-Tunnel-Token: {token}")
    stream = door.socket()
    stream.settimeout(10)
    stream.sendall("\r\n".join([*wanted, "", ""]).encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += stream.recv(4096)
    status = int(answer.split()[1])
    if status != 101:
        stream.close()
    return status, stream


class Impostor:
    """An agent's end of a tunnel that was opened with `connect`."""

    BINARY, TEXT, CLOSE = 2, 1, 8

    def __init__(self, stream: ssl.SSLSocket) -> None:
        self.stream = stream
        self._held = b""

    def say(self, data: bytes, opcode: int = BINARY) -> None:
        """One masked WebSocket message (RFC 6455 §5.2); the mask is zero."""
        size = len(data)
        if size < 126:
            length = bytes([0x80 | size])
        elif size < 1 << 16:
            length = bytes([0x80 | 126]) + struct.pack(">H", size)
        else:
            length = bytes([0x80 | 127]) + struct.pack(">Q", size)
        self.stream.sendall(bytes([0x80 | opcode]) + length + bytes(4) + data)

    def hear(self, seconds: float = 10.0) -> tuple[int, bytes]:
        """The next message: opcode and payload; (0, b"") when the connection has ended. TimeoutError."""
        self.stream.settimeout(seconds)
        try:
            first, second = self._take(2)
            size = second & 0x7F
            if size == 126:
                (size,) = struct.unpack(">H", self._take(2))
            elif size == 127:
                (size,) = struct.unpack(">Q", self._take(8))
            return first & 0x0F, self._take(size)
        except (ConnectionError, EOFError, ssl.SSLError):
            return 0, b""

    def farewell(self, seconds: float = 10.0) -> str:
        """What the server says when it closes; TimeoutError when it does not."""
        while True:
            opcode, data = self.hear(seconds)
            if opcode == self.CLOSE:
                return data[2:].decode("utf-8", "replace")
            if opcode == 0:
                return ""

    def _take(self, size: int) -> bytes:
        while len(self._held) < size:
            data = self.stream.recv(65536)
            if not data:
                raise EOFError
            self._held += data
        taken, self._held = self._held[:size], self._held[size:]
        return taken

    def close(self) -> None:
        """Ends it."""
        self.stream.close()


def reachable(end: socket.socket) -> bool:
    """Whether somebody has connected to a listening socket that must not be called."""
    end.setblocking(False)
    try:
        end.accept()[0].close()
    except BlockingIOError:
        return False
    return True
