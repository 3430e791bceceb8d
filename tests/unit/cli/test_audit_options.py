"""The audit log's options and environment variables."""

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from outrider.cli.audit_options import audit_log, take_audit_options
from outrider.server.auditing import AuditOptions


def taken(arguments: list[str], environment: dict[str, str]) -> AuditOptions:
    found: list[AuditOptions] = []

    @click.command()
    @audit_log
    def command(**options: Any) -> None:
        found.append(take_audit_options(options))

    result = CliRunner().invoke(command, arguments, env=environment, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return found[0]


def test_on_at_level_1_by_default() -> None:
    assert taken([], {}) == AuditOptions(level=1)


@pytest.mark.parametrize(
    ("environment", "level"),
    [
        ({"AUDIT_LEVEL": "0"}, 0),
        ({"AUDIT_LOG_ENABLED": "false"}, 0),
        ({"AUDIT_LOG_ENABLED": "false", "AUDIT_LEVEL": "0"}, 0),
        ({"AUDIT_LOG_ENABLED": "true", "AUDIT_LEVEL": "0"}, 1),
        ({"AUDIT_LOG_ENABLED": "false", "AUDIT_LEVEL": "2"}, 2),
        ({"AUDIT_LEVEL": "3"}, 3),
        ({"AUDIT_LEVEL": "3", "OUTRIDER_AUDIT_LEVEL": "2"}, 2),
    ],
)
def test_levels_of_the_environment(environment: dict[str, str], level: int) -> None:
    assert taken([], environment).level == level


def test_the_variables_of_charts() -> None:
    environment = {
        "AUDIT_LOG_PATH": "/var/log/auditlog/rancher-api-audit.log",
        "AUDIT_LOG_MAXAGE": "1",
        "AUDIT_LOG_MAXBACKUP": "2",
        "AUDIT_LOG_MAXSIZE": "3",
        "AUDIT_EXCLUDE_GROUPS": "system:authenticated, system:cattle:authenticated,",
    }
    assert taken([], environment) == AuditOptions(
        path=Path("/var/log/auditlog/rancher-api-audit.log"),
        max_age=1,
        max_backup=2,
        max_size=3,
        exclude_groups=("system:authenticated", "system:cattle:authenticated"),
    )


def test_the_command_line_wins() -> None:
    assert taken(["--no-audit"], {"AUDIT_LOG_ENABLED": "true"}).level == 0
    assert taken(["--audit-level", "2"], {"AUDIT_LEVEL": "3"}).level == 2
