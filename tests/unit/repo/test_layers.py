"""The layers are checked for real: a wrong import in a copy of the package breaks the contracts."""

import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LINT_IMPORTS = Path(sys.executable).parent / "lint-imports"

# An import, where it stands, and the contract that it breaks; "" for one that is right.
IMPORTS = [
    ("kit/a.py", "outrider.cli.a", "An import may only point down"),
    ("tunnel/a.py", "outrider.link.a", "An import may only point down"),
    ("gateway/a.py", "outrider.facade.a", "An import may only point down"),
    ("features/auth/a.py", "outrider.features.clusters.a", "Features meet in API objects"),
    ("agent/a.py", "starlette", "The agent's image carries no façade"),
    ("server/a.py", "outrider.features.auth.a", ""),
]
MODULES = [
    "cli",
    "server",
    "gateway",
    "facade",
    "agent",
    "features/auth",
    "features/clusters",
    "tunnel",
    "link",
    "kit",
]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with the layers' names and an empty module in each, under the project's own contracts."""
    root = tmp_path / "outrider"
    for name in MODULES:
        (root / name).mkdir(parents=True)
        (root / name / "a.py").touch()
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        (folder / "__init__.py").touch()
    shutil.copyfile(ROOT / ".importlinter", tmp_path / ".importlinter")
    return root


@pytest.mark.parametrize(
    ("place", "imported", "broken"), IMPORTS, ids=[row[0] + " " + row[1] for row in IMPORTS]
)
def test_a_wrong_import_breaks_its_contract(package: Path, place: str, imported: str, broken: str) -> None:
    (package / place).write_text(f"import {imported}\n")
    checked = subprocess.run(
        [LINT_IMPORTS, "--no-cache"],
        cwd=package.parent,
        env={"PYTHONPATH": str(package.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode != 0) == bool(broken), checked.stdout
    assert (
        any(line.startswith(broken) and line.endswith("BROKEN") for line in checked.stdout.splitlines())
        or not broken
    )


def test_every_package_is_a_layer() -> None:
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    layers = contracts["importlinter:contract:layers"]["layers"]
    named = {word.strip("()") for word in layers.split() if word != "|"}
    packages = {path.parent.name for path in (ROOT / "src/outrider").glob("*/__init__.py")}
    assert packages <= named
