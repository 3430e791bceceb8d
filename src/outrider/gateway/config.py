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


class GatewayConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the gateway is told. Times are in seconds.

    `ports_file` gets the ports as a JSON list once all listen. `audit_pipe` is the audit writer's FIFO, "" for none.
    """

    listen: tuple[Address, ...]
    link_socket: str
    control_socket: str
    kubeconfig: str
    ports_file: str = ""
    peer: PeerAddress | None = None
    trusted_proxies: tuple[str, ...] = ()
    audit_pipe: str = ""
    audit_level: int = 0
    audit_exclude_groups: tuple[str, ...] = ()
    beat_seconds: float = 5.0
    silence_seconds: float = 30.0
    sweep_seconds: float = 5.0
    drain_seconds: float = 2.0
