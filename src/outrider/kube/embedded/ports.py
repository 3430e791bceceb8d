"""Loopback ports: chosen once, remembered in the data folder, chosen anew only when somebody took one."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection
from pathlib import Path

import msgspec

LOOPBACK = "127.0.0.1"

# Below Linux' range for outgoing connections (32768 on), so that no client socket of another
# program can take a port between two starts.
_RANGE = range(15000, 32000)
_ATTEMPTS = 500


class NoFreePortError(OSError):
    """No free port was found on an address of this machine."""


class Ports(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The ports of one control plane; `callback` is kept free for a server that the API server calls."""

    etcd_client: int
    etcd_peer: int
    apiserver: int
    callback: int = 0


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do: a connection in TIME_WAIT does not make a port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_port(avoid: Collection[int] = (), host: str = LOOPBACK) -> int:
    """A port that nobody listens on, other than those to avoid. Raises ``NoFreePortError``."""
    # Not for secrecy: spreads programs that choose at the same moment.
    for _ in range(_ATTEMPTS):
        port = random.choice(_RANGE)  # noqa: S311
        if port not in avoid and is_free(port, host):
            return port
    raise NoFreePortError(f"no free port on {host} after {_ATTEMPTS} attempts in {_RANGE}")


def settle(remembered: Ports | None, apiserver_host: str = LOOPBACK) -> Ports:
    """The remembered ports with each one that is missing, doubled or taken replaced.

    Every port is one of loopback; ``apiserver_host`` is where the API server's is, if elsewhere.
    """
    before = msgspec.structs.asdict(remembered) if remembered else {}
    chosen: dict[str, int] = {}
    for name in Ports.__struct_fields__:
        host = apiserver_host if name == "apiserver" else LOOPBACK
        port = before.get(name, 0)
        usable = 0 < port < 65536 and port not in chosen.values() and is_free(port, host)
        chosen[name] = port if usable else free_port({*chosen.values(), *before.values()}, host)
    return Ports(**chosen)


def load(path: Path) -> Ports | None:
    """The remembered ports; ``None`` when there are none or the file is damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Ports)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def save(path: Path, ports: Ports) -> None:
    """Remembers the ports, atomically."""
    temporary = path.with_suffix(".new")
    temporary.write_bytes(msgspec.json.encode(ports) + b"\n")
    temporary.replace(path)
