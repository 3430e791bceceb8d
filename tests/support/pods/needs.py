"""What a machine must have for real pods, and what this one lacks."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

PROGRAMS = ("containerd", "ctr", "runc", "nft", "ip", "busybox", "unshare", "nsenter", "setpriv")
PLUGINS = Path("/usr/lib/cni")
NEEDED_PLUGINS = ("bridge", "host-local", "loopback")
NAMESPACES = ("unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")


def lacking() -> str:
    """Why there can be no pods here; empty when there can."""
    checks: Sequence[Callable[[], str]] = (_rights, _programs, _cgroups, _namespaces)
    return next((problem for check in checks if (problem := check())), "")


def _rights() -> str:
    return "" if os.geteuid() == 0 else "pods need root"


def _programs() -> str:
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    missing += [str(PLUGINS / name) for name in NEEDED_PLUGINS if not (PLUGINS / name).exists()]
    return f"not installed: {', '.join(missing)}; run `make setup` as root" if missing else ""


def _cgroups() -> str:
    from tests.support.pods.cgroups import roots

    folders = roots()
    if not folders:
        return "no control groups are mounted below /sys/fs/cgroup"
    closed = [str(folder) for folder in folders if not os.access(folder, os.W_OK)]
    return f"control groups cannot be made in {', '.join(closed)}" if closed else ""


def _namespaces() -> str:
    tried = subprocess.run(
        [*NAMESPACES, "sh", "-c", "ip link add name br0 type bridge && nft add table ip try"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if tried.returncode:
        return f"a network namespace with a bridge and nftables cannot be made: {tried.stderr.strip()}"
    return ""
