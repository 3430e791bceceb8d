"""A checkout of its own for every test of the set-up tool."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.setup.places import BINARY_MODULE, Places

ROOT = Path(__file__).resolve().parents[3]
INPUTS = ("pyproject.toml", "requirements.lock", "kube/main.go", "kube/go.mod", "kube/go.sum", BINARY_MODULE)


@pytest.fixture
def checkout(tmp_path: Path) -> Callable[..., Places]:
    """Makes the places of a copy of what set-up reads, with a cache of its own; takes further variables."""
    for name in INPUTS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)

    def make(**environ: str) -> Places:
        own = {"HOME": str(tmp_path), "OUTRIDER_CACHE": str(tmp_path / "cache"), "PATH": "/usr/bin:/bin"}
        return Places(tmp_path, {**own, **environ})

    return make
