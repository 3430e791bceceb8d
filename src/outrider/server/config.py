"""What a replica's processes are told. Every field has a flag and an environment variable (see `cli`)."""

from __future__ import annotations

from pathlib import Path

import msgspec

from outrider.server.api_target import ApiDoorConfig


class ServingConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The front door's certificate: three files, or none for one of our own. `hosts` go into the latter."""

    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    hosts: tuple[str, ...] = ()


class ControlConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the control process is told. Intervals are in seconds.

    `kubeconfig` leads to the management cluster, "" means the pod's own service account. `folder` holds the
    sockets and the gateway's account; only this user may enter it. `replica` names this replica among all.
    `default_url` is the address of this server as long as nobody has set another. `ready_file` is written once
    everything is up. `lease_seconds` is how long a leader that says nothing more is waited for,
    `removal_patience` how long the agent of a deleted cluster.
    """

    folder: Path
    kubeconfig: str = ""
    replica: str = "outrider"
    default_url: str = ""
    lease_seconds: float = 10.0
    removal_patience: float = 50.0
    embedded: bool = False
    ready_file: str = ""
    serving: ServingConfig = ServingConfig()
    api_door: ApiDoorConfig = ApiDoorConfig()
    environ: dict[str, str] = {}
    material_interval: float = 5.0
    usage_interval: float = 60.0
    beat_interval: float = 1.0

    @property
    def link_socket(self) -> Path:
        """Where gateways connect."""
        return self.folder / "link.sock"

    @property
    def control_socket(self) -> Path:
        """Where the façade listens."""
        return self.folder / "control.sock"

    @property
    def reach_socket(self) -> Path:
        """Where the gateway takes control's own requests to clusters."""
        return self.folder / "reach.sock"


class AuditConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where the audit log goes and what it holds (contract, auth-and-rbac §5.1; levels by the rulings).

    `pipe` is a FIFO that the gateway writes to. `max_size` is in MB, `max_age` in days; 0 sets no limit. Groups
    in `exclude_groups` are left out of the records.
    """

    pipe: str
    path: str
    level: int = 1
    max_size: int = 100
    max_age: int = 10
    max_backup: int = 10
    exclude_groups: tuple[str, ...] = ()
