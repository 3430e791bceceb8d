"""From what is asked for to what processes are told."""

from pathlib import Path

from outrider.server.auditing import AuditOptions
from outrider.server.config import AuditConfig


def test_nothing_at_level_0() -> None:
    assert AuditOptions(level=0).config(Path("/run"), Path("/log")) is None


def test_paths_are_absolute() -> None:
    made = AuditOptions(level=2, path=Path("here.log"), exclude_groups=("g",)).config(
        Path("/run"), Path("/x")
    )
    assert made == AuditConfig(
        pipe="/run/audit.pipe", path=str(Path.cwd() / "here.log"), level=2, exclude_groups=("g",)
    )
    default = AuditOptions().config(Path("/run"), Path("/data/audit/audit.log"))
    assert default is not None
    assert default.path == "/data/audit/audit.log"
