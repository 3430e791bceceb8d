"""Who the client is when a proxy stands before us: X-Forwarded-*, honoured from configured proxies only."""

import ipaddress
from collections.abc import Sequence

from outrider.gateway.exchange import Exchange

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Forwarding:
    """`trusted` are the networks of proxies whose X-Forwarded-For, -Proto and -Host are believed."""

    def __init__(self, trusted: Sequence[str] = ()) -> None:
        self._trusted: list[Network] = [ipaddress.ip_network(network) for network in trusted]

    def client(self, exchange: Exchange) -> tuple[str, str, str]:
        """Remote address, scheme and host of the client."""
        connection = exchange.connection
        host = exchange.host.decode("latin-1")
        if not self.trusts(connection.remote):
            return connection.remote, connection.scheme, host
        addresses = _values(exchange, b"x-forwarded-for")
        scheme = _last(_values(exchange, b"x-forwarded-proto"), connection.scheme)
        return (
            self._nearest_stranger(addresses) or connection.remote,
            scheme if scheme in {"http", "https"} else connection.scheme,
            _last(_values(exchange, b"x-forwarded-host"), host),
        )

    def line(self, exchange: Exchange) -> bytes:
        """The X-Forwarded-For line for a backend: what a trusted proxy said, and the peer's address."""
        remote = exchange.connection.remote
        if exchange.special.get(b"x-forwarded-for") and self.trusts(remote):
            addresses = [*_values(exchange, b"x-forwarded-for"), remote]
            return f"x-forwarded-for: {', '.join(addresses)}\r\n".encode("latin-1")
        return exchange.connection.forwarded_line

    def trusts(self, remote: str) -> bool:
        """Whether an address is that of a trusted proxy."""
        if not self._trusted or not remote:
            return False
        try:
            address = ipaddress.ip_address(remote)
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped  # what a dual-stack socket shows of an IPv4 peer
        return any(address in network for network in self._trusted)

    def _nearest_stranger(self, addresses: list[str]) -> str:
        # From the right: each proxy vouches for the one before it, and the first that is no proxy is the client.
        return next((address for address in reversed(addresses) if not self.trusts(address)), "")


def _values(exchange: Exchange, name: bytes) -> list[str]:
    value = exchange.special.get(name, b"").decode("latin-1")
    return [part.strip() for part in value.split(",") if part.strip()]


def _last(values: list[str], default: str) -> str:
    return values[-1] if values else default
