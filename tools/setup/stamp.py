"""Remembers what set-up has done, so that a second run costs nothing."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.setup.places import BINARY_MODULE, Places

INPUT_PATTERNS = (
    "pyproject.toml",
    "requirements.lock",
    "kube/go.*",
    "kube/*.go",
    "tools/setup/*",
    "tools/compile.py",
    "src/outrider/gateway/*.py",
    "src/outrider/kit/*.py",
    "src/outrider/tunnel/*.py",
    BINARY_MODULE,
)
INPUT_VARIABLES = (
    "OUTRIDER_KUBE",
    "OUTRIDER_KUBE_URL",
    "OUTRIDER_KUBE_SHA256",
    "HOME",
    "XDG_CACHE_HOME",
    "OUTRIDER_CACHE",
)


@dataclass(frozen=True)
class Stamp:
    """The inputs of the last set-up, the files that it left, and what it could not provide."""

    inputs: str
    outputs: list[str]
    lacking: list[str]


def current_inputs(places: Places) -> str:
    """One digest over everything that decides what set-up does."""
    digest = hashlib.sha256(f"{os.geteuid() == 0}\0{places.root}".encode())
    for variable in INPUT_VARIABLES:
        digest.update(f"\0{variable}={places.environ.get(variable, '')}".encode())
    for path in _input_files(places.root):
        content = path.read_bytes()
        digest.update(f"\0{path.relative_to(places.root)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def read(places: Places) -> Stamp | None:
    """The stamp if it can be read, it is about the inputs of now, and all its files are there."""
    try:
        stamp = Stamp(**json.loads(_file(places).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    unchanged = stamp.inputs == current_inputs(places)
    return stamp if unchanged and all(Path(path).exists() for path in stamp.outputs) else None


def write(places: Places, stamp: Stamp) -> None:
    """Replace the stamp in one step."""
    places.tools.mkdir(exist_ok=True)
    temporary = _file(places).with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(asdict(stamp), indent=1) + "\n")
    temporary.replace(_file(places))


def _file(places: Places) -> Path:
    return places.tools / "setup.json"


def _input_files(root: Path) -> Iterator[Path]:
    for pattern in INPUT_PATTERNS:
        yield from sorted(path for path in root.glob(pattern) if path.is_file())
