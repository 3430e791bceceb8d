"""A management server as an agent meets it: shows its CA and takes tunnels in."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from outrider.delivery.assembly import assemble
from outrider.delivery.entries import Entry
from outrider.delivery.parts import compress
from outrider.kit import pki
from outrider.tunnel.reports import (
    AgentMessage,
    Inventory,
    InventoryDelta,
    Removal,
    StateNeed,
    StatePart,
    StateReport,
    decode_agent_message,
    encode,
)
from outrider.tunnel.server import ServerSession
from outrider.tunnel.session import adopt
from outrider.tunnel.snapshot import Snapshot


class Session(ServerSession):
    """A tunnel whose reports are followed as the real server follows them."""

    def __init__(self, number: int, path: str) -> None:
        super().__init__(number, "c-test")
        self.path = path
        self.snapshot = Snapshot()
        self.reports: list[StateReport] = []
        self.received: list[AgentMessage] = []
        self.removals: list[Removal] = []
        self.parts: dict[str, bytes] = {}

    def on_message(self, body: bytes) -> None:
        message = decode_agent_message(body)
        self.received.append(message)
        match message:
            case Inventory():
                self.snapshot = Snapshot.received(message)
            case InventoryDelta():
                self.snapshot.apply(message)
            case StateReport():
                self.reports.append(message)
            case Removal():
                self.removals.append(message)
            case StateNeed():
                for digest in message.parts:
                    part = StatePart(digest=digest, data=compress(self.parts[digest]))
                    self.send_message(encode(part))

    def deliver(
        self,
        counter: int,
        *objects: dict[str, Any],
        epoch: int = 1,
        complete: bool = True,
        templates: Mapping[str, Sequence[dict[str, Any]]] = MappingProxyType({}),
    ) -> None:
        """Want these objects in the cluster, and `templates` by project, and serve their parts."""
        entries = [Entry(owner="tests", object=obj) for obj in objects]
        entries += [
            Entry(owner="tests", object=obj, project=project)
            for project, made in templates.items()
            for obj in made
        ]
        wanted = assemble(entries, complete=complete)
        self.parts.update(wanted.parts)
        self.send_message(encode(wanted.head(epoch, counter)))


class ManagementServer:
    """Accepts tunnels that bring `token`; refuses others as the contract says."""

    def __init__(self, authority: pki.Credential, token: str) -> None:
        self.authority = authority
        self.shown = authority.cert_pem
        self.token = token
        self.sessions: list[Session] = []
        self.params: list[dict[str, Any]] = []
        self.refused = 0
        self.refusal = ("400 Bad Request", b"cluster not found")
        self.connections: set[asyncio.Transport] = set()

    def answer(self, transport: asyncio.Transport, head: bytes) -> None:
        path = head.split(b" ", 2)[1].decode()
        if path == "/v3/settings/cacerts":
            transport.write(_http("200 OK", msgspec.json.encode({"value": self.shown.decode()})))
            transport.close()
        elif not path.startswith("/v3/connect"):
            transport.write(_http("404 Not Found", b""))
            transport.close()
        elif _header(head, "x-api-tunnel-token") != self.token:
            self.refused += 1
            transport.write(_http(*self.refusal))
            transport.close()
        else:
            params = base64.b64decode(_header(head, "x-api-tunnel-params"))
            self.params.append(msgspec.json.decode(params))
            session = Session(len(self.sessions) + 1, path)
            adopt(transport, head, session)
            self.sessions.append(session)


class _Connection(asyncio.Protocol):
    def __init__(self, server: ManagementServer) -> None:
        self._server = server
        self._head = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._server.connections.add(self._transport)

    def data_received(self, data: bytes) -> None:
        self._head += data
        if self._head.endswith(b"\r\n\r\n"):
            self._server.answer(self._transport, self._head)


def _http(status: str, body: bytes) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def _header(head: bytes, name: str) -> str:
    for line in head.decode("latin-1").split("\r\n")[1:]:
        key, _, value = line.partition(":")
        if key.lower() == name:
            return value.strip()
    return ""


@asynccontextmanager
async def management_server(folder: Path, token: str) -> AsyncIterator[tuple[ManagementServer, int]]:
    """Runs one on loopback; yields it and its port."""
    now = datetime.now(UTC)
    authority = pki.create_authority("management", now=now)
    leaf = pki.issue_server(authority, "management", now=now, ips=["127.0.0.1"])
    file = folder / "management.pem"
    file.write_bytes(leaf.cert_pem + leaf.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server = ManagementServer(authority, token)
    listener = await asyncio.get_running_loop().create_server(
        lambda: _Connection(server), "127.0.0.1", 0, ssl=context
    )
    try:
        yield server, listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for session in server.sessions:
            session.drop("the test ends")
        for transport in server.connections:
            transport.abort()
        await asyncio.sleep(0.05)
