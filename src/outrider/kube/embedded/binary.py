"""Finds the executable that holds etcd and Kubernetes.

Imports nothing outside the standard library: the set-up tool runs it before anything is installed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

KUBERNETES_VERSION = "v1.34.2"
BINARY_NAME = "outrider-kube"
INPUTS = ("main.go", "go.mod", "go.sum")
ENVIRONMENT_VARIABLE = "OUTRIDER_KUBE"


class BinaryNotFoundError(FileNotFoundError):
    """There is no usable executable; the message says where it was looked for and what to do."""


def input_hash(source_dir: Path, version: str = KUBERNETES_VERSION) -> str:
    """Names a build by what goes into it: 16 hex digits over the version and the sources in ``source_dir``.

    Raises ``FileNotFoundError`` when one of the sources is missing.
    """
    digest = hashlib.sha256(version.encode())
    for name in INPUTS:
        content = (source_dir / name).read_bytes()
        # Lengths keep two different splits of the same bytes apart.
        digest.update(f"\0{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def cache_root(environ: Mapping[str, str] = os.environ) -> Path:
    """``kube`` below ``$OUTRIDER_CACHE``, else below ``$XDG_CACHE_HOME/outrider`` or ``~/.cache/outrider``."""
    own = environ.get("OUTRIDER_CACHE", "")
    if own:
        return Path(own).absolute() / "kube"
    base = environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if base.startswith("/") else Path.home() / ".cache"
    return root / "outrider" / "kube"


def cached_binary(source_dir: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """Where the build of these sources is, or will be, kept."""
    return cache_root(environ) / input_hash(source_dir) / BINARY_NAME


def source_directory() -> Path | None:
    """The Go module of this checkout; ``None`` for an installed package, which carries no sources."""
    directory = Path(__file__).resolve().parents[4] / "kube"
    return directory if all((directory / name).is_file() for name in INPUTS) else None


def find_binary(environ: Mapping[str, str] = os.environ) -> Path:
    """The executable: the one that ``OUTRIDER_KUBE`` names, else the cached build of this checkout.

    Raises ``BinaryNotFoundError``.
    """
    named = environ.get(ENVIRONMENT_VARIABLE, "")
    if named:
        return _executable(Path(named), f"{ENVIRONMENT_VARIABLE} names it")
    source = source_directory()
    if source is None:
        raise BinaryNotFoundError(
            f"no {BINARY_NAME}: this is an installed package without the sources to build it from; "
            f"set {ENVIRONMENT_VARIABLE} to the path of a ready-made one"
        )
    return _executable(cached_binary(source, environ), "the cached build of this checkout belongs there")


def _executable(path: Path, why: str) -> Path:
    if path.is_file() and os.access(path, os.X_OK):
        return path
    problem = "is not an executable file" if path.exists() else "does not exist"
    raise BinaryNotFoundError(
        f"{path} {problem} ({why}); run `make setup` to build it, "
        f"or set {ENVIRONMENT_VARIABLE} to the path of a ready-made {BINARY_NAME}"
    )
