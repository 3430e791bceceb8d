"""Half an hour of mixed load: no process grows, and nothing is answered wrongly.

SOAK_SECONDS shortens it. Judged is the slope over time, after a first third in which caches fill. The processes of
Kubernetes itself are judged in a long run only: etcd and the API server keep five minutes of history by design.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import drop
from tests.support.door import Door, trusting
from tests.support.instance import Instance
from tests.support.soak import Load, Pauses, Scales, Use, Weight, administration, fill
from tests.support.trend import growth

SECONDS = float(os.environ.get("SOAK_SECONDS", "1800"))
EVERY = 5.0
SETTLE = 1 / 3
HISTORY = 1200.0
"""Seconds from which on Kubernetes' own processes are judged, too."""
DESCRIPTORS = 4.0
TIMES = {"OUTRIDER_TUNNEL_SILENCE": "4", "OUTRIDER_AGENT_SILENCE": "4", "OUTRIDER_AGENT_PING_EVERY": "0.8"}

pytestmark = [pytest.mark.long, pytest.mark.timeout(SECONDS + 600)]


@pytest.fixture
def site(kube_binary: Path, tmp_path: Path) -> Iterator[Instance]:
    """An instance of its own with two clusters."""
    running = Instance(tmp_path, "--demo", "2", environ=TIMES)
    running.start()
    try:
        yield running
    finally:
        running.stop()
        drop(running)


def roles(site: Instance) -> dict[str, int]:
    """Process ids by role, as of now."""
    found = {role: site.pid(role) for role in site.ready["pids"] if role != "supervisor"}
    return {"supervisor": site.command.process.pid, **found}


def is_kubernetes(role: str) -> bool:
    return role.endswith(("-etcd", "-apiserver", "-controller-manager"))


def report(role: str, weight: Weight) -> dict[str, float | str]:
    """What a process did, by its slopes."""
    return {
        "role": role,
        "memory_mb": round(statistics.median(one.value for one in weight.memory), 1),
        "memory_growth_mb": round(growth(weight.memory, settle=SETTLE), 2),
        "descriptors": statistics.median(one.value for one in weight.descriptors),
        "descriptors_growth": round(growth(weight.descriptors, settle=SETTLE), 2),
    }


def test_half_an_hour_of_everything(site: Instance) -> None:
    first, second = (Door.of_kubeconfig(one["kubeconfig"]) for one in site.ready["clusters"])
    local = Door.of_kubeconfig(site.ready["admin_kubeconfig"])
    admin = Door(site.ready["url"], trusting(site.ready["ca_file"]), token=local.token)
    steady, shaky = Use(first), Use(second, away=True)
    fill(first)
    fill(second)
    scales, load = Scales(lambda: roles(site)), Load()
    with administration(admin, local) as work:
        load.add("lists", steady.lists, pause=0.3, times=2)
        load.add("writes", steady.writes, pause=0.5)
        load.add("watches", steady.watches, pause=0.1, times=3)
        load.add("readers that leave", steady.leaves, pause=1.0)
        load.add("shells that are not there", steady.knocks, pause=2.0)
        load.add("lists while agents come and go", shaky.lists, pause=0.7)
        load.add("sign-ins", work.signs_in, pause=3.0)
        load.add("changes of roles", work.changes_roles, pause=7.0)
        load.add("imports", work.imports, pause=10.0)
        load.add("reconnects", Pauses(lambda: site.pid("demo-2-agent"), 7.0).once, pause=20.0)
        with load:
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                scales.weigh()
                time.sleep(EVERY)
    rows = [report(role, weight) for role, weight in scales.weights.items()]
    for row in rows:
        print(json.dumps({"soak": SECONDS, **row}))
    print(json.dumps({"soak": SECONDS, "done": load.done, "failures": load.failures[:20]}))
    assert load.failures == []
    assert all(load.done[name] for name in ("sign-ins", "imports", "reconnects", "changes of roles"))
    assert {role: weight.pids for role, weight in scales.weights.items() if len(weight.pids) > 1} == {}
    for row in rows:
        if SECONDS < HISTORY and is_kubernetes(str(row["role"])):
            continue
        assert float(row["memory_growth_mb"]) <= max(2.0, 0.05 * float(row["memory_mb"])), row
        assert float(row["descriptors_growth"]) <= DESCRIPTORS, row
