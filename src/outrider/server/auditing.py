"""What a person says about the audit log, and what its processes are told."""

from __future__ import annotations

from pathlib import Path

import msgspec

from outrider.server.config import AuditConfig


class AuditOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The audit log as it is asked for; `path` None takes a default. Units as in AuditConfig."""

    level: int = 1
    path: Path | None = None
    max_size: int = 100
    max_age: int = 10
    max_backup: int = 10
    exclude_groups: tuple[str, ...] = ()

    def config(self, folder: Path, default: Path) -> AuditConfig | None:
        """For processes whose FIFO is in `folder`; None when nothing is recorded."""
        if not self.level:
            return None
        return AuditConfig(
            pipe=str(folder / "audit.pipe"),
            path=str((self.path or default).absolute()),
            level=self.level,
            max_size=self.max_size,
            max_age=self.max_age,
            max_backup=self.max_backup,
            exclude_groups=self.exclude_groups,
        )


def effective_level(level: int | None, enabled: bool | None) -> int:
    """The level that `AUDIT_LEVEL` and `AUDIT_LOG_ENABLED` mean together, each None when it is not set.

    Either may switch the log on (contract, auth-and-rbac §5.1 and fleet-and-operations §4.2); with neither it
    is on at level 1.
    """
    if level:
        return level
    if level is None:
        return 0 if enabled is False else 1
    return 1 if enabled else 0
