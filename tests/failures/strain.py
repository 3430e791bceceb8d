"""Steady use of a cluster while something fails: gets at a pace, and a watch by kubectl."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import uuid4

from tests.e2e.conftest import until
from tests.failures.site import Site
from tests.support.door import Door
from tests.support.kubectl import Running

PACE = 0.1
PATIENCE = 2.0
STREAK = 5
"""Answers in a row after which things count as working again."""
PATH = "/api/v1/namespaces/default"


@dataclass(frozen=True)
class Probe:
    """One get: when it began and ended (monotonic), and its HTTP status; 0: none in time."""

    began: float
    ended: float
    status: int


def recovery(probes: Sequence[Probe], *, felt: bool = False) -> Probe | None:
    """The good answer since which there was no bad one, when there were enough; `felt`: after a bad one."""
    bad = [place for place, probe in enumerate(probes) if probe.status != 200]
    if felt and not bad:
        return None
    good = probes[bad[-1] + 1 :] if bad else probes
    return good[0] if len(good) >= STREAK else None


class Strain:
    """What became of the gets and the watch."""

    def __init__(self, site: Site, watch: Running) -> None:
        self.site = site
        self.watch = watch
        self.probes: list[Probe] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._ask_for_ever, name="gets", daemon=True)

    def start(self) -> None:
        """Begins with the gets; returns after the first good answers."""
        self._thread.start()
        self.must_recover(time.monotonic(), 20)

    def stop(self) -> None:
        """Ends them."""
        self._stopping.set()
        self._thread.join(PATIENCE + 5)

    def since(self, moment: float) -> list[Probe]:
        """The gets that began after a moment."""
        return [probe for probe in list(self.probes) if probe.began >= moment]

    def failures(self, moment: float) -> list[Probe]:
        """Those that had no good answer."""
        return [probe for probe in self.since(moment) if probe.status != 200]

    def must_recover(self, moment: float, within: float, *, felt: bool = False) -> float:
        """Waits until it works; seconds from `moment` to the first good answer after the last bad one.

        A failure may show late: what was answered well before its last bad answer is no recovery. With `felt`
        there must have been a bad one; without, ask again once everything is whole for the figure to count.
        """

        def found() -> Probe | None:
            return recovery(self.since(moment), felt=felt)

        first: Probe = until(found, within + STREAK * (PACE + PATIENCE), "nothing works again")
        took = first.ended - moment
        assert took <= within, f"working again only after {took:.1f} s"
        return took

    def watch_sees(self, within: float) -> float:
        """Seconds until the watch shows a new object; TimeoutError."""
        name = f"w-{uuid4().hex[:8]}"
        began = time.monotonic()
        self.site.direct("create", "configmap", name)
        self.watch.line(name, within)
        return time.monotonic() - began

    def watch_ends(self, within: float) -> float:
        """Seconds until kubectl gives up a watch whose stream is gone; it must not wait for ever."""
        began = time.monotonic()
        try:
            self.watch.ended(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the watch hangs, {within:.0f} s after its stream broke") from None
        return time.monotonic() - began

    def must_be_whole(self, within: float = 30.0) -> None:
        """kubectl works, a new watch too, and the record says so."""
        self.site.kubectl("get", "namespaces", "--request-timeout=10s")
        with watching(self.site) as again:
            self.watch = again
            self.watch_sees(10)
        until(lambda: self.site.status() == {"connected": True, "state": "active"}, within)

    def _ask_for_ever(self) -> None:
        while not self._stopping.is_set():
            began = time.monotonic()
            status = ask(self.site.through, PATIENCE)
            self.probes.append(Probe(began, time.monotonic(), status))
            self._stopping.wait(max(0.0, PACE - (time.monotonic() - began)))


def ask(door: Door, seconds: float, path: str = PATH) -> int:
    """The status of one get; 0 when there is no answer in time."""
    connection = door.connect()
    connection.timeout = seconds
    try:
        connection.request("GET", door.prefix + path, headers=door.headers())
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException):
        return 0
    else:
        return response.status
    finally:
        connection.close()


class Hanging:
    """One get that waits as long as it takes; tells when the server gave up."""

    def __init__(self, site: Site, seconds: float) -> None:
        self.status = -1
        self.ended = 0.0
        self._door = site.through
        self._seconds = seconds
        self._thread = threading.Thread(target=self._run, name="hanging get", daemon=True)
        self._thread.start()

    def wait(self) -> tuple[int, float]:
        """Its status (0: none), and the moment at which it ended."""
        self._thread.join(self._seconds + 5)
        return self.status, self.ended

    def _run(self) -> None:
        self.status = ask(self._door, self._seconds)
        self.ended = time.monotonic()


@contextlib.contextmanager
def watching(site: Site) -> Iterator[Running]:
    """kubectl with a watch that has begun."""
    with site.kubectl.background("get", "configmaps", "--watch", "--output=name") as running:
        running.line("kube-root-ca.crt")
        yield running


@contextlib.contextmanager
def strain(site: Site) -> Iterator[Strain]:
    """Uses the cluster for the length of the block; begins when the last failure is forgotten."""
    site.settle()
    with watching(site) as watch:
        running = Strain(site, watch)
        running.start()
        try:
            yield running
        finally:
            site.proxy.calm()
            running.stop()
