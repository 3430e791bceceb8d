"""What is seen of a cluster whose agent is gone, noisily or silently."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import until
from tests.support.door import Answer, Door
from tests.support.instance import Instance
from tests.support.kubectl import Kubectl


@pytest.fixture
def other(second: dict[str, Any]) -> Door:
    """The second cluster through Outrider: the one that loses its agent."""
    return Door.of_kubeconfig(second["kubeconfig"])


@pytest.fixture
def record(management: Kubectl, second: dict[str, Any]) -> Any:
    """Reads the second cluster's record."""
    return lambda: management.json("get", "clusters.management.cattle.io", second["id"])["status"]


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(one for one in status["conditions"] if one["type"] == kind)


def unavailable(answer: Answer) -> bool:
    if answer.status != 503:
        return False
    assert int(answer.header("Retry-After")) > 0
    assert answer.header("Content-Type") == "application/json"
    body = answer.json()
    assert (body["kind"], body["code"], body["reason"]) == ("Status", 503, "ServiceUnavailable")
    assert "agent" in body["message"] or "tunnel" in body["message"]
    return True


def test_a_killed_agent_answers_503_at_once_and_comes_back(
    instance: Instance, other: Door, record: Any, through: Door
) -> None:
    assert other.get("/version").status == 200
    former = instance.pid("demo-2-agent")
    os.kill(former, signal.SIGKILL)
    began = time.monotonic()
    until(lambda: unavailable(other.get("/version")), 2)
    assert time.monotonic() - began < 2
    assert through.get("/version").status == 200
    until(lambda: other.get("/version").status == 200, 30)
    assert instance.pid("demo-2-agent") != former
    until(lambda: record()["connected"] and record().get("state") == "active", 30)


@pytest.fixture
def silent(instance: Instance, other: Door) -> Iterator[int]:
    """The second cluster's agent, stopped: its connection stays, nothing comes from it."""
    until(lambda: other.get("/version").status == 200)
    pid = instance.pid("demo-2-agent")
    os.kill(pid, signal.SIGSTOP)
    yield pid
    os.kill(pid, signal.SIGCONT)


def test_a_silent_agent_is_noticed_within_30_s(
    silent: int, other: Door, record: Any, admin: Door, second: dict[str, Any]
) -> None:
    began = time.monotonic()
    # A request that is under way ends when the silence is noticed, not later.
    assert unavailable(other.get("/version"))
    assert time.monotonic() - began < 32
    for _ in range(3):
        asked = time.monotonic()
        assert unavailable(other.get("/version"))
        assert time.monotonic() - asked < 1, "at once"

    until(lambda: not record()["connected"], 5)
    status = until(lambda: record() if condition(record(), "Ready")["status"] == "False" else None, 5)
    assert condition(status, "Ready")["reason"] == "Disconnected"
    assert condition(status, "Connected")["status"] == "False"
    assert status["state"] == "unavailable"
    sample = f'rancher_agent_connected{{cluster="{second["id"]}",cluster_name="demo-2"}}'
    assert f"{sample} 0.0" in admin.get("/metrics").body.decode()

    os.kill(silent, signal.SIGCONT)
    until(lambda: other.get("/version").status == 200, 40)
    until(lambda: record()["connected"] and record()["state"] == "active", 15)
    assert condition(record(), "Ready")["status"] == "True"
    assert f"{sample} 1.0" in admin.get("/metrics").body.decode()


def test_a_cluster_that_never_had_an_agent(management: Kubectl, admin: Door) -> None:
    name = "c-nevr1"
    body = {
        "apiVersion": "management.cattle.io/v3",
        "kind": "Cluster",
        "metadata": {"name": name},
        "spec": {"displayName": "never", "importedConfig": {}},
    }
    management("create", "-f", "-", stdin=json.dumps(body))
    try:
        answer = until(lambda: found(admin.get(f"/k8s/clusters/{name}/api")), 5)
        assert unavailable(answer)
        status = until(lambda: management.json("get", "clusters.management.cattle.io", name).get("status"), 5)
        assert not status.get("connected")
        until(
            lambda: (
                management.json("get", "clusters.management.cattle.io", name)["status"].get("state")
                in {"pending", "waiting", "provisioning"}
            )
        )
    finally:
        management("delete", "clusters.management.cattle.io", name, "--timeout=30s")
    until(lambda: admin.get(f"/k8s/clusters/{name}/api").status == 404, 2)


def found(answer: Answer) -> Answer | None:
    return answer if answer.status != 404 else None
