"""What the tests need from Debian: installed where that is allowed, named where it is not."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.setup.commands import run
from tools.setup.places import Places
from tools.setup.progress import Progress, SetupError

OLD_KUBECTL_VERSION = "v1.20."
OLD_KUBECTL_PACKAGE = "kubernetes-client"


@dataclass(frozen=True)
class Package:
    """A Debian package, the command (name or path) that shows that it is there, and what goes without it."""

    name: str
    command: str
    used_by: str


_PODS = "the tests with real pods"
_COMPILED = "the data path as compiled code"
PACKAGES = (
    Package("wrk", "wrk", "make bench BENCH=proxy"),
    Package("haproxy", "/usr/sbin/haproxy", "the tests of two servers behind a load balancer"),
    Package("faketime", "faketime", "the tests with clocks that jump"),
    Package("containerd", "containerd", _PODS),
    Package("runc", "runc", _PODS),
    Package("containernetworking-plugins", "/usr/lib/cni/bridge", _PODS),
    Package("nftables", "nft", _PODS),
    Package("iproute2", "ip", _PODS),
    Package("gcc", "gcc", _COMPILED),
    Package("python3-dev", "python3-config", _COMPILED),
    Package("busybox-static", "busybox", _PODS),
)


def provide(places: Places, progress: Progress) -> list[str]:
    """Install what is lacking and may be installed; return a line for everything that stays lacking."""
    return [*_install(places, progress), *_old_kubectl(places, progress)]


def _install(places: Places, progress: Progress) -> list[str]:
    lacking = [package for package in PACKAGES if not _has(places, package)]
    if lacking and os.geteuid() == 0 and _which(places, "apt-get"):
        names = [package.name for package in lacking]
        with progress.step(f"Installing from Debian: {' '.join(names)}", "up to 250 MB, once"):
            _apt_install(places, names, progress)
    return [
        f"{package.command} ({package.used_by} goes without it): as root, apt-get install {package.name}"
        for package in lacking
        if not _has(places, package)
    ]


def _apt_install(places: Places, names: list[str], progress: Progress) -> None:
    environ = {**places.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends"]
    # What is on this machine already, say another container engine, is worth more than a test.
    install += ["--no-remove", *names]
    try:
        _with_fresh_lists(places, install, environ, places.root)
    except SetupError as error:
        progress.say(f"  {error}")


def _old_kubectl(places: Places, progress: Progress) -> list[str]:
    target = places.old_kubectl
    if not target.exists() and _which(places, "apt-get") and _which(places, "dpkg-deb"):
        try:
            with progress.step(
                "Getting Debian's old kubectl into the cache", "10 MB, once; the system's stays"
            ):
                _extract_old_kubectl(places, target)
        except SetupError as error:
            progress.say(f"  {error}")
    if target.exists():
        return []
    version = f"kubectl {OLD_KUBECTL_VERSION}x"
    return [f"{version}, in Debian 12's {OLD_KUBECTL_PACKAGE} (the tests of old clients go without it)"]


def _extract_old_kubectl(places: Places, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        folder = Path(name)
        download = ["apt-get", "download", "--quiet", OLD_KUBECTL_PACKAGE]
        _with_fresh_lists(places, download, places.environ, folder)
        package = next(folder.glob("*.deb"))
        extract = ["dpkg-deb", "--extract", package, folder / "root"]
        run(extract, cwd=folder, environ=places.environ, purpose="unpacking the old kubectl")
        kubectl = folder / "root" / "usr" / "bin" / "kubectl"
        answer = run(
            [kubectl, "version", "--client"], cwd=folder, environ=places.environ, purpose="trying it"
        )
        if OLD_KUBECTL_VERSION not in answer:
            raise SetupError(
                f"this system's {OLD_KUBECTL_PACKAGE} is not {OLD_KUBECTL_VERSION}x: {answer.strip()[:120]}"
            )
        kubectl.replace(target)


def _with_fresh_lists(places: Places, command: list[str], environ: Mapping[str, str], cwd: Path) -> None:
    """Run an apt command; when it fails, refresh the package lists (as root) and try once more."""
    try:
        run(command, cwd=cwd, environ=environ, purpose="apt", timeout=900)
    except SetupError:
        if os.geteuid() != 0:
            raise
        run(
            ["apt-get", "update", "--quiet"],
            cwd=cwd,
            environ=environ,
            purpose="apt-get update",
            timeout=900,
        )
        run(command, cwd=cwd, environ=environ, purpose="apt", timeout=900)


def _has(places: Places, package: Package) -> bool:
    return _which(places, package.command) is not None


def _which(places: Places, command: str) -> str | None:
    return shutil.which(command, path=places.environ.get("PATH"))
