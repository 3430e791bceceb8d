"""Provides the compiled data path: from the cache, or compiled once for each state of its sources."""

from __future__ import annotations

import shutil
from pathlib import Path

from tools.setup.commands import run
from tools.setup.lock import only_one
from tools.setup.places import Places
from tools.setup.progress import Progress, SetupError

KEPT = 8
"""Compiled states that stay in the cache."""


def provide(places: Places, progress: Progress) -> list[str]:
    """Put the compiled modules beside the installed packages; a line that says so when they cannot be made."""
    installed = _site_packages(places) / "outrider_compiled"
    key = _ask(places, "from outrider.kit import compiled; print(compiled.key(compiled.SOURCES))")
    cached = places.cache / "compiled" / key
    try:
        with only_one(cached.parent, progress):
            if not cached.is_dir():
                with progress.step("Compiling the data path", "half a minute, once for each of its versions"):
                    _compile(places, cached)
            cached.touch()
            _prune(cached.parent)
    except SetupError as error:
        progress.say(f"  {error}")
        return ["a C compiler and Python's headers (requests cost more CPU without): gcc, python3-dev"]
    if _key_of(installed) != key:
        shutil.rmtree(installed, ignore_errors=True)
        shutil.copytree(cached, installed)
    return []


def _compile(places: Places, target: Path) -> None:
    command = [places.python, "-m", "tools.compile", target]
    run(command, cwd=places.root, environ=places.environ, purpose="compiling the data path", timeout=1800)


def _site_packages(places: Places) -> Path:
    return Path(_ask(places, "import sysconfig; print(sysconfig.get_path('platlib'))"))


def _ask(places: Places, program: str) -> str:
    return run(
        [places.python, "-c", program], cwd=places.root, environ=places.environ, purpose="asking Python"
    ).strip()


def _key_of(folder: Path) -> str:
    key = folder / "key"
    return key.read_text() if key.is_file() else ""


def _prune(folder: Path) -> None:
    states = sorted(
        (path for path in folder.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime
    )
    for old in states[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
