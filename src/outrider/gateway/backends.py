"""How the gateway reaches its own management cluster and the control process: two pools, two sorts of credential."""

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import aiofastnet
import msgspec

from outrider.kube.identity import Identity, impersonation_headers
from outrider.kube.kubeconfig import ClusterAccess
from outrider.kube.tls import client_context
from outrider.link.messages import CLAIM_HEADER
from outrider.tunnel.exchange import CredentialError, CredentialSource
from outrider.tunnel.pool import UpstreamPool
from outrider.tunnel.upstream import UpstreamConnection

KEPT_BLOCKS = 4096


class Impersonation(CredentialSource):
    """Header lines that let the gateway's own credential act as the claimed user, and nothing more."""

    def __init__(self, authorization: Callable[[], bytes]) -> None:
        self._authorization = authorization
        self._blocks: OrderedDict[bytes, bytes] = OrderedDict()

    def header_block(self, claim: bytes) -> bytes | None:
        """The lines for an identity; never needs preparation."""
        block = self._blocks.get(claim)
        if block is None:
            block = self._blocks[claim] = self._render(claim)
            if len(self._blocks) > KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        return self._authorization() + block

    def _render(self, claim: bytes) -> bytes:
        identity = msgspec.json.decode(claim, type=Identity)
        return b"".join(f"{name}: {value}\r\n".encode() for name, value in impersonation_headers(identity))

    async def prepare(self, claim: bytes) -> bytes:
        """Not needed: `header_block` always knows."""
        raise CredentialError("the gateway's credential needs no preparation")

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
        _, protocol = await loop.create_unix_connection(factory, str(path))
        return protocol

    return UpstreamPool(connect, ClaimHeader(), host="control")


def cluster_pool(access: ClusterAccess) -> UpstreamPool:
    """The pool of connections to the management cluster's API server, as the gateway's own identity."""
    return UpstreamPool(
        tls_connector(access.server, client_context(access)),
        Impersonation(lambda: _bearer(access)),
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
            factory,
            address.hostname,
            address.port or 443,
            ssl=context,
            server_hostname=server_name or address.hostname,
            ssl_handshake_timeout=10.0,
        )
        return protocol

    return connect  # type: ignore[return-value]


def _bearer(access: ClusterAccess) -> bytes:
    token = access.token_file.read_text().strip() if access.token_file else access.token
    return f"authorization: Bearer {token}\r\n".encode("ascii") if token else b""
