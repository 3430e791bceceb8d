"""The options of the audit log, each with its environment variable: ours, and the one that charts set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from outrider.server.auditing import AuditOptions


def audit_log(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def take_audit_options(options: Mapping[str, Any]) -> AuditOptions:
    """What the options say."""
    from outrider.server.auditing import AuditOptions, effective_level

    groups = (group.strip() for group in options["audit_exclude_groups"].split(","))
    return AuditOptions(
        level=effective_level(options["audit_level"], options["audit"]),
        path=options["audit_log"],
        max_size=options["audit_max_size"],
        max_age=options["audit_max_age"],
        max_backup=options["audit_max_backup"],
        exclude_groups=tuple(group for group in groups if group),
    )


def _limit(name: str, variable: str, default: int, text: str) -> Callable[..., Any]:
    return click.option(
        f"--audit-{name}",
        type=click.IntRange(min=0),
        envvar=[f"OUTRIDER_AUDIT_{name.replace('-', '_').upper()}", variable],
        default=default,
        show_default=True,
        help=f"{text}; 0 for no limit.",
    )


_OPTIONS = (
    click.option(
        "--audit/--no-audit",
        envvar=["OUTRIDER_AUDIT", "AUDIT_LOG_ENABLED"],
        default=None,
        help="Keep an audit log; a level above 0 does so, too.",
    ),
    click.option(
        "--audit-level",
        type=click.IntRange(0, 3),
        envvar=["OUTRIDER_AUDIT_LEVEL", "AUDIT_LEVEL"],
        help="0 off, 1 requests, 2 with request bodies, 3 with response bodies.  [default: 1]",
    ),
    click.option(
        "--audit-log",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar=["OUTRIDER_AUDIT_LOG", "AUDIT_LOG_PATH"],
        help="The audit log's file; by default in the data folder.",
    ),
    _limit("max-size", "AUDIT_LOG_MAXSIZE", 100, "Megabytes after which the audit log's file is put aside"),
    _limit("max-age", "AUDIT_LOG_MAXAGE", 10, "Days that former files of the audit log are kept"),
    _limit("max-backup", "AUDIT_LOG_MAXBACKUP", 10, "Former files of the audit log that are kept"),
    click.option(
        "--audit-exclude-groups",
        envvar=["OUTRIDER_AUDIT_EXCLUDE_GROUPS", "AUDIT_EXCLUDE_GROUPS"],
        default="",
        metavar="GROUP,…",
        help="Groups that are left out of the audit log.",
    ),
)
