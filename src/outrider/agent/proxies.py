"""Which HTTP proxy leads to the server: HTTPS_PROXY and NO_PROXY as Go programs read them.

NO_PROXY entries: ``*``, a host, a domain with or without leading dot (it and all below), an address, a
network in CIDR form; each may carry ``:port``. Loopback addresses never go through a proxy.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


class Proxies:
    """The proxy of the environment, and what goes past it. Raises ValueError for a proxy that cannot be used."""

    def __init__(self, proxy: str = "", exceptions: str = "") -> None:
        proxy = proxy.strip()
        self._proxy = proxy if not proxy or "://" in proxy else f"http://{proxy}"
        self._exceptions = [entry.strip().lower() for entry in exceptions.split(",")]
        if proxy:
            _check(self._proxy)

    def __repr__(self) -> str:
        # the URL may hold a password
        return f"Proxies({'set' if self._proxy else 'none'})"

    def of(self, origin: str) -> str:
        """URL of the proxy for `origin`, or an empty string."""
        parts = urlsplit(origin)
        host, port = (parts.hostname or "").rstrip("."), parts.port or 443
        if _is_loopback(host) or any(_covers(entry, host, port) for entry in self._exceptions):
            return ""
        return self._proxy


def _check(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme == "http" and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("only a proxy of the form http://[user:password@]host:port can be used")


NO_PROXIES = Proxies()


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None


def _covers(entry: str, host: str, port: int) -> bool:
    if not entry:
        return False
    if entry == "*":
        return True
    address = _address(host)
    if "/" in entry:
        return address is not None and _in_network(address, entry)
    name, entry_port = _split_port(entry)
    if entry_port and entry_port != str(port):
        return False
    if address is not None:
        return _address(name) == address
    domain = name.removeprefix("*").removeprefix(".")
    exact = not name.startswith((".", "*")) and host == domain
    return bool(domain) and (exact or host.endswith("." + domain))


def _in_network(address: ipaddress.IPv4Address | ipaddress.IPv6Address, entry: str) -> bool:
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


def _split_port(entry: str) -> tuple[str, str]:
    if _address(entry) is not None:
        return entry, ""
    name, colon, port = entry.rpartition(":")
    return (name, port) if colon and port.isdigit() else (entry, "")
