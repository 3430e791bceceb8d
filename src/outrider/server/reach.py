"""At which address other replicas reach this one's gateway."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

from outrider.gateway.config import PeerAddress


def peer_address(
    given: tuple[str, int] | None, front: str, *, pod_ip: str, source: Callable[[], str]
) -> PeerAddress:
    """Where the gateway listens for peers, and the host that they are told.

    `given` is what was configured; without it the host is that of the front door (`front`) or, when the front
    door listens everywhere, the pod's address or else `source()`, the machine's own towards the management
    cluster; the port is then a free one. Raises OSError from `source`.
    """
    if given is not None:
        host, port = given
        return PeerAddress(listen=front if is_unspecified(front) else host, host=host, port=port)
    if is_unspecified(front):
        return PeerAddress(listen=front, host=pod_ip or source())
    return PeerAddress(listen=front, host=front)


def is_unspecified(host: str) -> bool:
    """Whether it means every address of the machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def source_address(url: str) -> str:
    """This machine's address on the way to a URL's host; nothing is sent. Raises OSError."""
    address = urlsplit(url)
    found = socket.getaddrinfo(address.hostname, address.port or 443, type=socket.SOCK_DGRAM)
    family, kind, protocol, _, target = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(target)
        return str(probe.getsockname()[0])
