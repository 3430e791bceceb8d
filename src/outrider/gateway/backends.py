"""How the gateway reaches its own management cluster and the control process: two pools, two sorts of credential."""

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import aiofastnet
import msgspec

from outrider.kube.errors import TransportError
from outrider.kube.identity import Identity, impersonation_headers
from outrider.kube.kubeconfig import ClusterAccess
from outrider.kube.tls import client_context
from outrider.kube.transport import TokenSource
from outrider.link.messages import CLAIM_HEADER
from outrider.tunnel.exchange import CredentialError, CredentialSource
from outrider.tunnel.pool import UpstreamPool
from outrider.tunnel.upstream import UpstreamConnection

_Factory = Callable[[], asyncio.Protocol]

KEPT_BLOCKS = 4096
LOOK_SECONDS = 1.0


class Impersonation(CredentialSource):
    """Header lines that let the gateway's own credential act as the claimed user, and nothing more."""

    def __init__(self, authorization: Callable[[], bytes]) -> None:
        self._authorization = authorization
        self._blocks: OrderedDict[bytes, bytes] = OrderedDict()

    def header_block(self, claim: bytes) -> bytes | None:
        """The lines for an identity; None for one that no header can carry."""
        try:
            return self._authorization() + self._lines(claim)
        except CredentialError:
            return None  # `prepare` says why

    async def prepare(self, claim: bytes) -> bytes:
        """Nothing takes time here: this only gets to say what is wrong."""
        return self._authorization() + self._lines(claim)

    def _lines(self, claim: bytes) -> bytes:
        block = self._blocks.get(claim)
        if block is None:
            block = self._blocks[claim] = _render(claim)
            if len(self._blocks) > KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        return block

    def rejected(self, claim: bytes) -> bool:
        """A refused credential of the gateway's own cannot be renewed from here."""
        return False


class ClaimHeader(CredentialSource):
    """The claim itself, as the header that only the gateway may set."""

    _NAME = CLAIM_HEADER.encode("ascii") + b": "

    def header_block(self, claim: bytes) -> bytes | None:
        """The claim's header line."""
        return self._NAME + claim + b"\r\n"

    async def prepare(self, claim: bytes) -> bytes:
        """Not needed: `header_block` always knows."""
        raise CredentialError("a claim needs no preparation")

    def rejected(self, claim: bytes) -> bool:
        """401 from control speaks of the client's credential, not of ours."""
        return False


def control_pool(path: Path) -> UpstreamPool:
    """The pool of connections to the control process' Unix socket."""
    loop = asyncio.get_running_loop()

    async def connect(factory: Callable[[], UpstreamConnection]) -> UpstreamConnection:
        _, protocol = await loop.create_unix_connection(cast(_Factory, factory), str(path))
        return cast(UpstreamConnection, protocol)

    return UpstreamPool(connect, ClaimHeader(), host="control")


def cluster_pool(access: ClusterAccess) -> UpstreamPool:
    """The pool of connections to the management cluster's API server, as the gateway's own identity."""
    return UpstreamPool(
        tls_connector(access.server, client_context(access)),
        Impersonation(Bearer(access, asyncio.get_running_loop().time)),
        host=urlsplit(access.server).netloc,
    )


def tls_connector(
    server: str, context: ssl.SSLContext, server_name: str | None = None
) -> Callable[[Callable[[], UpstreamConnection]], "asyncio.Future[UpstreamConnection]"]:
    """Opens TLS connections to `https://host[:port]`."""
    loop = asyncio.get_running_loop()
    address = urlsplit(server)

    async def connect(factory: Callable[[], UpstreamConnection]) -> UpstreamConnection:
        _, protocol = await aiofastnet.create_connection(
            loop,
            cast(_Factory, factory),
            address.hostname,
            address.port or 443,
            ssl=context,
            server_hostname=server_name or address.hostname,
            ssl_handshake_timeout=10.0,
        )
        return cast(UpstreamConnection, protocol)

    return connect  # type: ignore[return-value]


class Bearer:
    """The authorization line of a ClusterAccess. A token file is looked at once a second at most."""

    def __init__(self, access: ClusterAccess, now: Callable[[], float]) -> None:
        self._source = TokenSource(access)
        self._fixed = access.token_file is None
        self._now = now
        self._look_at = 0.0
        self._line: bytes | None = None

    def __call__(self) -> bytes:
        """The line, empty when there is no token; raises CredentialError when it cannot be read."""
        if self._line is None or (not self._fixed and self._now() >= self._look_at):
            self._line = self._read()
            self._look_at = self._now() + LOOK_SECONDS
        return self._line

    def _read(self) -> bytes:
        try:
            token = self._source.read()
        except TransportError as error:
            raise CredentialError(f"the gateway has no credential of its own: {error}") from None
        return f"authorization: Bearer {token}\r\n".encode("ascii") if token else b""


def _render(claim: bytes) -> bytes:
    try:
        headers = impersonation_headers(msgspec.json.decode(claim, type=Identity))
    except ValueError as error:
        raise CredentialError(f"you cannot be impersonated: {error}") from None
    return b"".join(f"{name}: {value}\r\n".encode() for name, value in headers)
