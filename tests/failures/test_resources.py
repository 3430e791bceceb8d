"""A machine that runs out of something: disk under etcd, memory for a process."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.e2e.conftest import until
from tests.failures.site import Site, need_root
from tests.failures.strain import Strain
from tests.failures.test_processes import replaced
from tests.failures.times import Times
from tests.support.door import Door
from tests.support.instance import alive
from tests.support.kubectl import Kubectl
from tests.support.not_run import not_run

FULL = 12.0
"""Seconds for which the disk stays full."""
MEMORY = Path("/sys/fs/cgroup/memory")


def fill(folder: Path) -> Path:
    """Takes all that is left of a small disk; the file to remove."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 65536)
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
    used.must_recover(healed, 60)
    used.must_be_whole(60)
    took = used.must_recover(healed, 60)
    failed = [probe for probe in used.failures(began) if probe.began < healed]
    remark = f"{len(failed)} gets failed meanwhile; writes work {writes:.1f} s after there is room again"
    times.add(
        f"disk full under the etcd of {side}",
        times=site.times,
        noticed=noticed,
        recovered=took,
        remark=remark,
    )


class Group:
    """A memory cgroup in which a process may take only so much more than it has: what it has stays elsewhere."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def limit(self, pid: int, megabytes: int) -> None:
        """From now on the process, which was not limited, may take no more than this."""
        (self._folder / "memory.limit_in_bytes").write_text(str(megabytes << 20))
        (self._folder / "cgroup.procs").write_text(str(pid))

    @property
    def kills(self) -> int:
        """How many processes the kernel has killed in it."""
        said = (self._folder / "memory.oom_control").read_text().split()
        return int(said[said.index("oom_kill") + 1])


@pytest.fixture
def small_group() -> Iterator[Group]:
    """A cgroup of this test's own."""
    need_root()
    if not (MEMORY / "memory.limit_in_bytes").exists():
        not_run("there is no memory cgroup (v1) to limit a process with")
    folder = MEMORY / f"outrider-test-{uuid4().hex[:8]}"
    folder.mkdir()
    yield Group(folder)
    # A cgroup can go once the kernel has buried its processes.
    until(lambda: not (folder / "cgroup.procs").read_text(), 10)
    folder.rmdir()


def never_ending_heads(site: Site, enough: Callable[[], bool]) -> None:
    """Requests of which the end never comes wait in the gateway's memory."""
    door = site.through
    flood(door, f"GET {door.prefix}/api HTTP/1.1\r\nHost: {door.host}\r\nX-Fill: {'x' * 12_000}\r\n", enough)


def sign_ins(site: Site, enough: Callable[[], bool]) -> None:
    """To check a password takes control 32 MB for a moment (Argon2id)."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not enough():
        site.sign_in()


def watches(site: Site, enough: Callable[[], bool]) -> None:
    """Each has a connection of its own between the agent and the API server."""
    door = site.through
    head = f"GET {door.prefix}/api/v1/namespaces?watch=true HTTP/1.1\r\nHost: {door.host}\r\n"
    flood(door, f"{head}Authorization: Bearer {door.token}\r\n\r\n", enough)


def flood(door: Door, request: str, enough: Callable[[], bool]) -> None:
    """Sends a request on one connection after the other, which stay open, until it is enough.

    They come from several addresses: one alone may not have enough of them.
    """
    deadline = time.monotonic() + 60
    sources = itertools.cycle(door.come_from(f"127.0.1.{number}") for number in range(1, 9))
    with contextlib.ExitStack() as stack:
        while time.monotonic() < deadline and not enough():
            with contextlib.suppress(OSError):
                stack.enter_context(next(sources).socket()).sendall(request.encode())


@pytest.mark.parametrize(
    ("role", "megabytes", "load"),
    [
        ("gateway", 6, never_ending_heads),
        pytest.param("control", 6, sign_ins, marks=pytest.mark.long),
        pytest.param("agent", 4, watches, marks=pytest.mark.long),
    ],
)
def test_the_kernel_kills_who_takes_too_much(
    used: Strain,
    times: Times,
    small_group: Group,
    role: str,
    megabytes: int,
    load: Callable[[Site, Callable[[], bool]], None],
) -> None:
    """A real lack of memory, brought about by what the process does for others."""
    site = used.site
    former = site.pid(role)
    small_group.limit(former, megabytes)
    load(site, lambda: not alive(former))
    began = time.monotonic()
    assert not alive(former), f"the {role} was not killed"
    assert small_group.kills == 1
    until(lambda: replaced(site, role, former), 15, f"{role} is not started again")
    used.must_recover(began, 25)
    used.must_be_whole(60)
    took = used.must_recover(began, 25)
    times.add(f"{role} out of memory (cgroup)", times=site.times, recovered=took)
