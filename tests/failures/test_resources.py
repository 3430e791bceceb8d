"""A machine that runs out of something: disk under etcd, memory for a process."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.e2e.conftest import until
from tests.failures.site import Site, need_root
from tests.failures.strain import Strain
from tests.failures.test_processes import replaced
from tests.failures.times import Times
from tests.support.kubectl import Kubectl
from tests.support.not_run import not_run

FULL = 12.0
"""Seconds for which the disk stays full."""
MEMORY = Path("/sys/fs/cgroup/memory")


def fill(folder: Path) -> Path:
    """Takes all that is left of a small disk; the file to remove."""
    ballast = folder / "ballast"
    with ballast.open("wb") as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 65536)
            file.flush()
    return ballast


def write_something(kubectl: Kubectl) -> bool:
    """Whether the cluster takes a write; a large one, for etcd has room prepared."""
    name = f"full-{uuid4().hex[:8]}"
    draft = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {"blob": "x" * 900_000},
    }
    done = kubectl.attempt("create", "-f", "-", "--request-timeout=5s", stdin=json.dumps(draft))
    return done.returncode == 0


@pytest.mark.long
@pytest.mark.parametrize("side", ["management", "cluster"])
def test_a_full_disk_under_etcd(used: Strain, times: Times, side: str) -> None:
    need_root()
    site = used.site
    disk = site.disk(side)
    assert os.statvfs(disk).f_blocks * os.statvfs(disk).f_frsize < 1 << 30, "not a disk of the site's own"
    kubectl = site.management if side == "management" else site.direct
    until(lambda: write_something(kubectl))
    began = time.monotonic()
    ballast = fill(disk)
    try:
        refused = until(lambda: not write_something(kubectl), 60, "a full disk goes unnoticed")
        assert refused
        noticed = time.monotonic() - began
        time.sleep(FULL)
    finally:
        ballast.unlink()
    healed = time.monotonic()
    until(lambda: write_something(kubectl), 60, "no write works after there is room again")
    writes = time.monotonic() - healed
    took = used.must_recover(healed, 60)
    used.must_be_whole(60)
    failed = [probe for probe in used.failures(began) if probe.began < healed]
    remark = f"{len(failed)} gets failed meanwhile; writes work {writes:.1f} s after there is room again"
    times.add(
        f"disk full under the etcd of {side}",
        times=site.times,
        noticed=noticed,
        recovered=took,
        remark=remark,
    )


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A memory cgroup in which only a little more may be taken."""
    need_root()
    if not (MEMORY / "memory.limit_in_bytes").exists():
        not_run("there is no memory cgroup (v1) to limit a process with")
    group = MEMORY / f"outrider-test-{uuid4().hex[:8]}"
    group.mkdir()
    (group / "memory.limit_in_bytes").write_text(str(6 << 20))
    yield group
    # A cgroup can go once the kernel has buried its processes.
    until(lambda: not (group / "cgroup.procs").read_text(), 10)
    group.rmdir()


def test_the_kernel_kills_a_gateway_that_takes_too_much(
    used: Strain, times: Times, small_group: Path
) -> None:
    """A real lack of memory: what the process has stays, but it may take 6 MB more and not 10."""
    site = used.site
    former = site.pid("gateway")
    (small_group / "cgroup.procs").write_text(str(former))
    with contextlib.ExitStack() as stack:
        flood(site, stack, lambda: replaced(site, "gateway", former))
        until(lambda: replaced(site, "gateway", former), 10, "the gateway was not killed")
    began = time.monotonic()
    killed = (small_group / "memory.oom_control").read_text()
    assert "oom_kill 1" in killed, killed
    took = used.must_recover(began, 25)
    used.must_be_whole(60)
    times.add("gateway out of memory (cgroup)", times=site.times, recovered=took)


def flood(site: Site, stack: contextlib.ExitStack, enough: object) -> None:
    """Opens connections that want something, until the gateway is gone."""
    door = site.through
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not enough():
        try:
            connection = stack.enter_context(door.socket())
            head = f"GET {door.prefix}/api HTTP/1.1\r\nHost: {door.host}\r\nX-Fill: {'x' * 12_000}\r\n"
            connection.sendall(head.encode())  # never completed: it waits in the server's memory
        except OSError:
            return
