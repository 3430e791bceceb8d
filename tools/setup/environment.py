"""Makes the virtual environment: locked and hashed dependencies, and the package itself, editable."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tools.setup.commands import run
from tools.setup.indexes import uv_environment
from tools.setup.places import Places
from tools.setup.progress import Progress

UV_LOCK = Path(__file__).parent / "uv.lock"


def prepare(places: Places, progress: Progress) -> None:
    """Bring ``.venv`` in line with ``requirements.lock``.

    Raises ``SetupError``.
    """
    environ = dict(places.environ)
    uv = places.tools / "uv" / "bin" / "uv"
    if not uv.exists():
        with progress.step("Getting uv into .tools", "25 MB, once"):
            install_wheels(places, UV_LOCK, uv.parent.parent)
    pip_config = run(
        [sys.executable, "-m", "pip", "config", "list"], cwd=places.root, environ=environ, purpose="pip"
    )
    environ = uv_environment(environ, pip_config)
    if not _usable(places.python):
        run(
            [uv, "venv", "--quiet", "--clear", "--python", sys.executable, places.venv],
            cwd=places.root,
            environ=environ,
            purpose="making .venv",
        )
    install = [uv, "pip", "install", "--quiet", "--python", places.python]
    with progress.step(
        "Installing requirements.lock into .venv", "200 MB, half a minute, less when uv has them cached"
    ):
        lock = ["--require-hashes", "--requirement", places.root / "requirements.lock"]
        run([*install, *lock], cwd=places.root, environ=environ, purpose="installing requirements.lock")
        # hatchling comes from the lock too, so nothing unpinned is fetched to build the package.
        package = ["--no-deps", "--no-build-isolation", "--editable", places.root]
        run([*install, *package], cwd=places.root, environ=environ, purpose="installing outrider")


def install_wheels(places: Places, lock: Path, target: Path) -> None:
    """Install what ``lock`` pins into the folder ``target``, whole or not at all, hashes required.

    The machine's own pip does it. Raises ``SetupError``.
    """
    unfinished = target.with_name(f"{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    options = ["--only-binary", ":all:", "--require-hashes", "--requirement", lock, "--target", unfinished]
    run([*pip, *options], cwd=places.root, environ=places.environ, purpose=f"getting {lock.stem} from PyPI")
    shutil.rmtree(target, ignore_errors=True)
    unfinished.replace(target)


def _usable(python: Path) -> bool:
    check = "import sys; sys.exit(sys.version_info < (3, 11))"
    try:
        return (
            subprocess.run([python, "-c", check], check=False, capture_output=True, timeout=30).returncode
            == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
