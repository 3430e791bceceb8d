"""What the gateway process is told."""

import msgspec


class Address(msgspec.Struct, frozen=True):
    """Where to listen; port 0 takes a free one."""

    host: str
    port: int
    tls: bool = True


class PeerAddress(msgspec.Struct, frozen=True):
    """Where other replicas come in: listen at `listen`:`port` (0 takes a free one), reached as `host`."""

    listen: str
    host: str
    port: int = 0


class ConnectionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How many connections clients may have at once.

    `per_address` is for one IPv4 address or one IPv6 network of 64 bits; trusted proxies have no such limit. Of those
    above `total`, at most `reserve`, only agents' tunnels and probes are served.
    """

    total: int = 4096
    per_address: int = 1024
    reserve: int = 256


class GatewayConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the gateway is told. Times are in seconds.

    `reach_socket` is where control asks clusters itself, "" for nowhere.
    `ports_file` gets the ports as a JSON list once all listen. `audit_pipe` is the audit writer's FIFO, "" for none.
    """

    listen: tuple[Address, ...]
    link_socket: str
    control_socket: str
    kubeconfig: str
    reach_socket: str = ""
    ports_file: str = ""
    peer: PeerAddress | None = None
    trusted_proxies: tuple[str, ...] = ()
    connections: ConnectionLimits = ConnectionLimits()
    audit_pipe: str = ""
    audit_level: int = 0
    audit_exclude_groups: tuple[str, ...] = ()
    beat_seconds: float = 5.0
    silence_seconds: float = 30.0
    sweep_seconds: float = 5.0
    drain_seconds: float = 2.0
