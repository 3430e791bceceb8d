"""Ten faults, put into the pure functions one at a time: the oracle must notice each."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
FAULTS = [
    ("world.py", "if template.context != context:", "if False:"),
    ("world.py", "if cluster not in self.clusters:", "if False:"),
    ("tree.py", "waiting += template.role_template_names or ()", "waiting += ()"),
    ("projection.py", "        if not rule.resource_names\n", ""),
    ("projection.py", "group, known, wildcard=False)", "group, known, wildcard=True)"),
    ("templates.py", "sources = [self.own(name), *parents]", "sources = [*parents]"),
    ("desired.py", 'rules.allows("create", "", "namespaces")', 'rules.allows("get", "", "namespaces")'),
    ("desired.py", 'verbs=("*",))', 'verbs=("get",))'),
    ("management.py", "owns = not grant.project and", "owns ="),
    ("global_roles.py", "if is_admin(given):", "if False:"),
]


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault[0]}: {fault[1].strip()}")
def test_a_fault_is_noticed(fault: tuple[str, str, str], tmp_path: Path) -> None:
    source = tmp_path / "src"
    shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
    path = source / "outrider" / "features" / "rbac" / fault[0]
    text = path.read_text()
    assert text.count(fault[1]) >= 1
    path.write_text(text.replace(fault[1], fault[2], 1))
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "tests/unit/features/rbac/test_oracle.py"],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(source),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OUTRIDER_EXAMPLES": "300",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert found.returncode == 1, found.stdout[-2000:]
    assert "AssertionError" in found.stdout
