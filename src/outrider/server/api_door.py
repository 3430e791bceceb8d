"""The door at which the management cluster's API server calls this replica: admission, and the aggregated API.

A TLS listener of the control process with a certificate of our own authority. The API server finds it by a Service:
one that was named to us and leads to every replica, or ours, which leads to the leader's door (`announce`).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import uvicorn
from starlette.routing import BaseRoute

from outrider.facade.api_server import ApiServerProtocol, build_api_app
from outrider.gateway import listener
from outrider.kit import pki
from outrider.kit.clock import Clock
from outrider.kube.builtin import CONFIGMAPS, SERVICES
from outrider.kube.client import Client
from outrider.kube.errors import KubeError
from outrider.link.messages import Serve
from outrider.server.api_target import ApiDoorConfig, Target
from outrider.server.serving import NAMESPACE, ensure
from outrider.server.web import QuietServer

log = logging.getLogger(__name__)

AUTHORITY: Final = "outrider-api-ca"
"""Secret with the authority that issues this door's certificates, and no others."""
SERVICE: Final = "outrider-api"
HOST: Final = f"{SERVICE}.{NAMESPACE}.svc"
"""The name under which the API server calls when no Service was named to us."""

LIFETIME: Final = timedelta(days=30)
MAX_CONNECTIONS: Final = 1000
KEEP_ALIVE: Final = 120
"""Seconds that a connection may idle: longer than Go's clients keep one, so that it is they who close it."""

_TRUST: Final = ("extension-apiserver-authentication", "kube-system")
_TRUST_SECONDS: Final = 10.0


class Trust(msgspec.Struct, frozen=True):
    """Which certificates are the API server's: their authorities (PEM), and their names (any, when there is none)."""

    ca: str = ""
    names: tuple[str, ...] = ()

    def trusts(self, name: str) -> bool:
        """Whether a verified certificate of this name is one."""
        return not self.names or name in self.names


class ApiDoor:
    """Opened, it listens; announced, the API server finds it. `routes` are what it can be asked.

    `interval` is that of looking at certificate and trust, in seconds.
    """

    def __init__(
        self,
        client: Client,
        config: ApiDoorConfig,
        routes: Iterable[BaseRoute],
        clock: Clock,
        *,
        interval: float = 600.0,
    ) -> None:
        self._client = client
        self._config = config
        self._clock = clock
        self._interval = interval
        self._app = build_api_app(routes, trusts=self._trusts)
        self._context = listener.server_context()
        self._trust = Trust()
        self._held: pki.Credential | None = None
        self._socket: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self.ca = ""
        """The authority (PEM) by which the API server knows the door; known from `open` on."""

    @property
    def target(self) -> Target:
        """Where the API server calls; known from `open` on."""
        if self._config.service is not None:
            return self._config.service
        return Target(SERVICE, NAMESPACE, self._config.port or self._bound().getsockname()[1])

    async def open(self) -> None:
        """Listens; calls are answered once `run` runs. Raises OSError, KubeError."""
        self._socket = await asyncio.to_thread(_bind, self._config.listen, self._config.port)
        self._trust = await self._read_trust()
        demand = ssl.CERT_REQUIRED if self._config.proven else ssl.CERT_OPTIONAL
        self._context.verify_mode = demand if self._trust.ca or self._config.proven else ssl.CERT_NONE
        await self._refresh()
        self._server = QuietServer(self._options())

    async def announce(self) -> None:
        """Leads the API server to this replica's door, unless a Service that was named to us does. Raises KubeError."""
        if self._config.service is not None:
            return
        wanted = external_service(self._config.host or self._config.listen, self.target.port)
        held = await self._client.get_or_none(SERVICES, SERVICE, NAMESPACE)
        spec = (held or {}).get("spec", {})
        ports = [port.get("port") for port in spec.get("ports") or ()]
        if (spec.get("externalName"), ports) != (wanted["spec"]["externalName"], [self.target.port]):
            await self._client.apply(SERVICES, wanted)

    async def run(self) -> None:
        """Answers until it is cancelled or `close` is called, and keeps its certificate good."""
        server = self._server
        if server is None:
            raise RuntimeError("the door has not been opened")
        keeping = asyncio.create_task(self._keep(), name="certificate of the API server's door")
        try:
            await server.serve(sockets=[self._bound()])
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    def close(self) -> None:
        """Lets no new call in; those under way have a moment to end."""
        if self._server is not None:
            self._server.should_exit = True

    def _trusts(self, name: str) -> bool:
        return self._trust.trusts(name)

    def _bound(self) -> socket.socket:
        if self._socket is None:
            raise RuntimeError("the door has not been opened")
        return self._socket

    def _options(self) -> uvicorn.Config:
        return uvicorn.Config(
            self._app,
            http=ApiServerProtocol,
            ws="none",
            ssl_context_factory=lambda *_: self._context,
            log_config=None,
            access_log=False,
            lifespan="off",
            proxy_headers=False,
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=3,
        )

    async def _keep(self) -> None:
        while True:
            await self._clock.sleep(self._interval)
            try:
                self._trust = await self._read_trust()
                await self._refresh()
            except (KubeError, pki.PkiError, ssl.SSLError) as error:
                log.warning("the API server's door keeps its certificate: %s", error)

    async def _refresh(self) -> None:
        """Lets new handshakes use a certificate that is due, and believe who is to be believed now."""
        now = self._clock.now()
        authority = await ensure(
            self._client,
            AUTHORITY,
            lambda held: _authority(held, now),
            lambda held: pki.near_expiry(held.cert_pem, now=now),
        )
        host = self.target.host
        if self._held is None or pki.must_reissue(self._held, authority.cert_pem, now=now, dns=[host]):
            self._held = pki.issue_server(authority, host, now=now, dns=[host], lifetime=LIFETIME)
        self.ca = authority.cert_pem.decode()
        held = self._held
        material = Serve(certificate=held.cert_pem.decode(), key=held.key_pem.decode(), ca=self.ca)
        listener.load(self._context, material)
        if self._trust.ca:
            # What was trusted before stays so until a restart: a context forgets no authority
            self._context.load_verify_locations(cadata=self._trust.ca)

    async def _read_trust(self) -> Trust:
        """Whom the cluster says to believe; its API server publishes that a moment after it began to serve."""
        deadline = self._clock.monotonic() + _TRUST_SECONDS
        while True:
            published = await self._client.get_or_none(CONFIGMAPS, *_TRUST)
            found = trust_of(published)
            if found.ca or self._clock.monotonic() > deadline:
                break
            await self._clock.sleep(0.1)
        if not found.ca:
            log.warning("ConfigMap kube-system/%s names no requestheader-client-ca-file", _TRUST[0])
        return found


def trust_of(config: dict[str, Any] | None) -> Trust:
    """Whom the ConfigMap `extension-apiserver-authentication` says to believe (KEP-1687's request-header proxies)."""
    data = (config or {}).get("data") or {}
    try:
        names = msgspec.json.decode(data.get("requestheader-allowed-names") or "[]", type=tuple[str, ...])
    except msgspec.MsgspecError:
        return Trust()
    return Trust(data.get("requestheader-client-ca-file", ""), names)


def external_service(host: str, port: int) -> dict[str, Any]:
    """Our Service: a name for where this replica is."""
    return {
        "metadata": {"name": SERVICE, "namespace": NAMESPACE},
        "spec": {
            "type": "ExternalName",
            "externalName": host,
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        },
    }


def _authority(held: pki.Credential | None, now: datetime) -> pki.Credential:
    if held is None:
        return pki.create_authority("outrider-api", now=now)
    return pki.renew_authority(held, now=now)


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(128)
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound
