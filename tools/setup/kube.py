"""Provides the embedded Kubernetes: named by the user, fetched from a mirror, or built once."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from tools.setup import mirror
from tools.setup.commands import run
from tools.setup.go import find_go
from tools.setup.lock import only_one
from tools.setup.places import Places
from tools.setup.progress import Progress, SetupError

SPACE_NEEDED = 6 << 30
BUILD_PREFIX = "build-"


def provide(places: Places, progress: Progress) -> Path:
    """The path of an executable ``outrider-kube``; it has answered with its version.

    ``OUTRIDER_KUBE`` names one; ``OUTRIDER_KUBE_URL`` with ``OUTRIDER_KUBE_SHA256`` fetches one; otherwise it
    is built into the cache unless it is there. Raises ``SetupError``.
    """
    named = places.environ.get("OUTRIDER_KUBE", "")
    if named:
        return _named(places, Path(named))
    target = places.kube_binary
    with only_one(target.parent.parent, progress):
        url = places.environ.get("OUTRIDER_KUBE_URL", "")
        if url:
            _mirrored(url, places.environ.get("OUTRIDER_KUBE_SHA256", ""), target, progress)
        elif not target.exists():
            _build(places, target, progress)
    version_of(places, target)
    return target


def version_of(places: Places, binary: Path) -> str:
    """What the binary calls itself. Raises ``SetupError`` when it does not run."""
    answer = run(
        [binary, "version"], cwd=places.root, environ=places.environ, purpose=f"trying {binary}", timeout=60
    )
    return answer.strip()


def linker_flags(go_mod: str) -> str:
    """The flags that tell Kubernetes its version, which ``go.mod`` pins; without them it says v0.0.0."""
    found = re.search(r"^\s*k8s\.io/kubernetes (v(\d+)\.(\d+)\.\d+)\s*$", go_mod, re.MULTILINE)
    if found is None:
        raise SetupError("kube/go.mod does not pin k8s.io/kubernetes")
    package = "k8s.io/component-base/version"
    values = {"gitVersion": found[1], "gitMajor": found[2], "gitMinor": found[3]}
    return " ".join(["-s -w", *(f"-X {package}.{name}={value}" for name, value in values.items())])


def _named(places: Places, binary: Path) -> Path:
    if not (binary.is_file() and os.access(binary, os.X_OK)):
        raise SetupError(
            f"OUTRIDER_KUBE names {binary}, which is not an executable file; correct it or unset it"
        )
    version_of(places, binary)
    return binary.resolve()


def _mirrored(url: str, sha256: str, target: Path, progress: Progress) -> None:
    if target.exists() and mirror.sha256_of(target) == sha256.lower():
        return
    with progress.step(f"Fetching outrider-kube from {mirror.public(url)}", "130 MB, once"):
        mirror.fetch(url, sha256, target)


def _build(places: Places, target: Path, progress: Progress) -> None:
    cache = target.parent.parent
    for abandoned in cache.glob(f"{BUILD_PREFIX}*"):  # by a set-up that was killed: we hold the lock
        shutil.rmtree(abandoned, ignore_errors=True)
    free = shutil.disk_usage(cache).free
    if free < SPACE_NEEDED:
        raise SetupError(
            f"building Kubernetes needs 6 GB for a while below {cache}, "
            f"which has {free / (1 << 30):.1f} GB free. "
            "Make room, or let OUTRIDER_KUBE or OUTRIDER_KUBE_URL name a ready-made binary."
        )
    go = find_go(places, progress)
    scratch = Path(tempfile.mkdtemp(prefix=BUILD_PREFIX, dir=cache))
    try:
        with progress.step(
            "Building Kubernetes from kube/", "6 to 8 minutes on 2 cores, 2.5 GB of memory, once"
        ):
            _compile(places, go, scratch, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _compile(places: Places, go: Path, scratch: Path, target: Path) -> None:
    # Its own caches, so that nothing but the binary is left behind; -modcacherw, so that they can be removed.
    environ = {
        **places.environ,
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOCACHE": str(scratch / "cache"),
        "GOMODCACHE": str(scratch / "modules"),
        "GOTMPDIR": str(scratch),
        "GOFLAGS": "-modcacherw -mod=readonly",
        "GOWORK": "off",
    }
    built = scratch / target.name
    flags = linker_flags((places.kube_sources / "go.mod").read_text())
    command = [go, "build", "-trimpath", "-ldflags", flags, "-o", built, "."]
    run(command, cwd=places.kube_sources, environ=environ, purpose="building Kubernetes", timeout=7200)
    target.parent.mkdir(parents=True, exist_ok=True)
    built.replace(target)
