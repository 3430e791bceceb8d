"""The wall clock of Outrider's own processes jumps; that of the API servers and of everybody else does not.

libfaketime stands before the C library's clocks in every Python process of the site, the monotonic clock left alone:
this is what a corrected clock looks like to a process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.failures.site import Site, site
from tests.failures.strain import Strain, strain
from tests.failures.times import Times
from tests.support.kubectl import Kubectl
from tests.support.not_run import not_run

LIBRARIES = (Path("/usr/lib/x86_64-linux-gnu/faketime"), Path("/usr/lib/aarch64-linux-gnu/faketime"))
MINUTE = 60
# A process that starts becomes itself again, with the library before all others; children inherit nothing.
_SITE = """
import os, sys
if "LD_PRELOAD" not in os.environ:
    os.environ.update({settings!r})
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
"""


class Clock:
    """The offset of all clocks of the site, in seconds."""

    def __init__(self, folder: Path, library: Path) -> None:
        self._file = folder / "offset"
        self._folder = folder / "python"
        self._folder.mkdir()
        settings = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }
        (self._folder / "sitecustomize.py").write_text(_SITE.format(settings=settings))
        self.jump(0)

    @property
    def environ(self) -> dict[str, str]:
        """What the site's processes need."""
        rest = os.environ.get("PYTHONPATH")
        return {"PYTHONPATH": os.pathsep.join([str(self._folder), *([rest] if rest else [])])}

    def jump(self, seconds: int) -> None:
        """From now on (within a second) the clocks are that far from the truth."""
        self._file.write_text(f"{seconds:+d}\n")


def library() -> Path:
    """libfaketime for threads; ends the test where there is none."""
    for folder in LIBRARIES:
        if (found := folder / "libfaketimeMT.so.1").exists():
            return found
    not_run("libfaketime is not installed; as root, apt-get install faketime")


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Clock:
    return Clock(tmp_path_factory.mktemp("clock"), library())


@pytest.fixture(scope="module")
def shifted(
    kube_binary: Path, client: Kubectl, clock: Clock, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A site whose clocks can jump."""
    with site(tmp_path_factory.mktemp("c"), client, "real", clock.environ) as running:
        yield running


@pytest.fixture
def used(shifted: Site, clock: Clock) -> Iterator[Strain]:
    with strain(shifted) as running:
        yield running
        clock.jump(0)


@pytest.mark.long
@pytest.mark.parametrize("minutes", [60, -4], ids=["forward", "back"])
def test_a_jump(used: Strain, clock: Clock, times: Times, minutes: int) -> None:
    """Nothing that waits for seconds may look at the wall clock; a new tunnel must be had, and a new sign-in."""
    running = used.site
    began = time.monotonic()
    clock.jump(minutes * MINUTE)
    time.sleep(10)
    assert jumped(running, minutes * MINUTE), "the processes do not see the jump"
    assert used.failures(began) == []
    used.watch_sees(10)
    cut = time.monotonic()
    running.proxy.reset()
    took = used.must_recover(cut, 15)
    used.must_be_whole()
    assert running.sign_in() in {200, 201}
    back = time.monotonic()
    clock.jump(0)
    time.sleep(5)
    assert used.failures(back) == []
    used.must_be_whole()
    name = f"clocks jump by {minutes:+d} min, and later to where they were"
    remark = f"no get fails; in between a cut tunnel is back after {took:.1f} s, and a sign-in works"
    times.add(name, times="real", recovered=0.0, remark=remark)


@pytest.mark.long
def test_clocks_before_the_certificate_began(used: Strain, clock: Clock, times: Times) -> None:
    """A certificate is backdated by minutes: who is an hour behind keeps a tunnel and cannot have a new one."""
    running = used.site
    agent = running.pid("agent")
    began = time.monotonic()
    clock.jump(-60 * MINUTE)
    time.sleep(10)
    assert used.failures(began) == []
    running.proxy.reset()
    time.sleep(5)
    assert "not yet valid" in running.log("agent").splitlines()[-1]
    clock.jump(0)
    right = time.monotonic()
    took = used.must_recover(right, 31)
    used.must_be_whole()
    assert running.pid("agent") == agent
    remark = "the tunnel stays; a new one (certificate not yet valid) only once clocks are right, counted from there"
    times.add("clocks an hour before the certificate's time", times="real", recovered=took, remark=remark)


def jumped(running: Site, seconds: int) -> bool:
    """Whether the gateway's Date says so: it comes from the façade's clock."""
    answer = running.through.root().get("/v3/settings")
    date = time.mktime(time.strptime(answer.header("Date"), "%a, %d %b %Y %H:%M:%S GMT"))
    return abs(date - time.mktime(time.gmtime()) - seconds) < 60
