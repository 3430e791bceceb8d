"""Two small images for test pods: a shell with tools, and the container that holds a pod's namespaces."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

SHELL_REFERENCE = "docker.io/library/busybox:test"
PAUSE_REFERENCE = "docker.io/outrider/pause:test"
COMMAND = "busybox"


class NoBusyboxError(Exception):
    """There is no busybox that runs without shared libraries."""


def busybox() -> Path:
    """Debian's static busybox. Raises ``NoBusyboxError``."""
    found = shutil.which(COMMAND)
    if found is None:
        raise NoBusyboxError("busybox is not installed: as root, apt-get install busybox-static")
    path = Path(found).resolve()
    linked = subprocess.run(["ldd", path], capture_output=True, check=False, timeout=30)
    if linked.returncode == 0:
        raise NoBusyboxError(f"{path} needs shared libraries: as root, apt-get install busybox-static")
    return path


def stage(root: Path) -> None:
    """Put busybox into ``root`` under the name of each of its commands."""
    program = busybox()
    listing = subprocess.run([program, "--list-full"], capture_output=True, text=True, check=True, timeout=30)
    (root / "bin").mkdir(parents=True)
    shutil.copyfile(program, root / "bin" / COMMAND)
    (root / "bin" / COMMAND).chmod(0o755)
    for name in listing.stdout.split():
        link = root / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists() and not link.is_symlink():
            link.symlink_to(f"/bin/{COMMAND}")
    for folder in ("tmp", "etc", "root"):
        (root / folder).mkdir()
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc" / "group").write_text("root:x:0:\n")
