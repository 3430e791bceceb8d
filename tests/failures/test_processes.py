"""Processes that die, restart or stand still: on the server's side, on the cluster's, and the agent."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import until
from tests.failures.site import Site
from tests.failures.strain import Strain
from tests.failures.times import Times
from tests.support.hosted import drop_state
from tests.support.instance import Instance, alive

CUTS = {"gateway", "agent", "cluster/apiserver"}
"""What the cluster's streams run through; an API server keeps its watches while its etcd restarts."""
PAUSE = 10.0


def kill(site: Site, role: str, number: signal.Signals) -> tuple[int, float]:
    """Sends a signal; the process' id and the moment."""
    pid = site.pid(role)
    os.kill(pid, number)
    return pid, time.monotonic()


def replaced(site: Site, role: str, former: int) -> bool:
    """Whether somebody else has the role."""
    try:
        pid = site.pid(role)
    except (FileNotFoundError, IndexError, ValueError):
        return False
    return pid != former and alive(pid)


@pytest.mark.parametrize(
    ("role", "within"),
    [
        ("gateway", 20.0),
        ("control", 25.0),
        ("agent", 20.0),
        ("management/etcd", 30.0),
        ("cluster/apiserver", 30.0),
        pytest.param("audit", 5.0, marks=pytest.mark.long),
        pytest.param("management/apiserver", 30.0, marks=pytest.mark.long),
        pytest.param("management/controller-manager", 5.0, marks=pytest.mark.long),
        pytest.param("cluster/etcd", 30.0, marks=pytest.mark.long),
        pytest.param("cluster/controller-manager", 5.0, marks=pytest.mark.long),
    ],
)
def test_a_killed_process_comes_back(used: Strain, times: Times, role: str, within: float) -> None:
    """SIGKILL, as the kernel sends it to who takes too much memory."""
    site = used.site
    agent = site.pid("agent")
    former, began = kill(site, role, signal.SIGKILL)
    until(lambda: replaced(site, role, former), 15, f"{role} is not started again")
    used.must_recover(began, within, felt=role in CUTS)
    if role in CUTS:
        used.watch_ends(within)
    else:
        used.watch_sees(30)  # what does not go through it goes on
    used.must_be_whole(60)
    whole = time.monotonic() - began
    took = used.must_recover(began, within)
    if role != "agent":
        assert site.pid("agent") == agent
    failed = len(used.failures(began))
    remark = f"{failed} gets failed; everything whole after {whole:.0f} s at most"
    times.add(f"{role} killed", times=site.times, recovered=took, remark=remark)


@pytest.mark.long
@pytest.mark.parametrize("role", ["management/apiserver", "cluster/apiserver"])
def test_an_api_server_restarts_in_good_order(used: Strain, times: Times, role: str) -> None:
    site = used.site
    former, began = kill(site, role, signal.SIGTERM)
    until(lambda: replaced(site, role, former), 90, f"{role} is not started again")
    up = time.monotonic() - began
    took = used.must_recover(began, 90, felt=True)
    used.must_be_whole(60)
    remark = f"{len(used.failures(began))} gets failed; the API server itself took {up:.0f} s to end"
    times.add(f"{role} restarted (SIGTERM)", times=site.times, recovered=took, remark=remark)


@pytest.mark.parametrize("role", ["management/etcd", pytest.param("cluster/etcd", marks=pytest.mark.long)])
def test_an_etcd_that_stands_still(used: Strain, times: Times, role: str) -> None:
    """SIGSTOP for 10 s: neither dead nor alive."""
    site = used.site
    pid, began = kill(site, role, signal.SIGSTOP)
    try:
        time.sleep(PAUSE)
    finally:
        os.kill(pid, signal.SIGCONT)
    healed = time.monotonic()
    used.must_recover(healed, 30)
    used.must_be_whole(60)
    took = used.must_recover(healed, 30)
    failed = [probe for probe in used.failures(began) if probe.began < healed]
    remark = f"{len(failed)} gets failed in the {PAUSE:.0f} s; counted from their end"
    times.add(f"{role} paused for {PAUSE:.0f} s", times=site.times, recovered=took, remark=remark)


@pytest.mark.long
def test_a_killed_supervisor_takes_all_with_it_and_a_new_one_finds_everything(
    kube_binary: Path, tmp_path: Path, times: Times
) -> None:
    """Whoever started it (systemd, a shell) starts it again; nothing else has to be done."""
    instance = Instance(tmp_path, "--demo", "1")
    first = instance.start()
    try:
        instance.command.process.kill()
        instance.command.wait()
        killed = time.monotonic()
        until(lambda: not any(alive(pid) for pid in first["pids"].values()), 10, "children outlive it")
        gone = time.monotonic() - killed
        began = time.monotonic()
        second = instance.start()
        took = time.monotonic() - began
        assert second["url"] == first["url"]
        assert [one["id"] for one in second["clusters"]] == [one["id"] for one in first["clusters"]]
    finally:
        instance.stop()
        for folder in (instance.data / "management", *instance.data.glob("clusters/*/kube")):
            drop_state(folder)
    remark = f"its children were gone after {gone:.1f} s; counted from the new start until all is active"
    times.add("supervisor killed and started again", times="real", recovered=took, remark=remark)
