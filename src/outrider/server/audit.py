"""Entry of the audit writer: `python -m outrider.server.audit CONFIG.json`."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from outrider.gateway.audit_log import AuditWriter, Rotation
from outrider.server.config import AuditConfig


def main() -> None:
    """Reads the configuration file named on the command line and writes until it is told to stop."""
    config = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=AuditConfig)
    rotation = Rotation(max_bytes=config.max_size * 10**6, max_days=config.max_age, backups=config.max_backup)
    try:
        AuditWriter(Path(config.pipe), Path(config.path), rotation).run()
    except OSError as error:
        sys.exit(f"no audit log is written: {error}; choose another file with --audit-log, or free this one")


if __name__ == "__main__":
    main()
