"""Deleting imported clusters from the whole product: one that is connected, and one that comes back too late.

The tests run in the order of this file, each with a cluster of its own.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import drop, until
from tests.support.door import Door, trusting
from tests.support.instance import Instance
from tests.support.kubectl import Kubectl

pytestmark = pytest.mark.timeout(240)

AGENT = {"OUTRIDER_AGENT_LEASE": "3", "OUTRIDER_AGENT_PING_EVERY": "1", "OUTRIDER_AGENT_SILENCE": "5"}
CLUSTERS = "clusters.management.cattle.io"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"


class Stage:
    """The product with two clusters, and looks into all three."""

    def __init__(self, instance: Instance, kubectl: Kubectl, patience: float) -> None:
        self.instance = instance
        self.patience = patience
        self.management = kubectl
        self.admin = Door(instance.ready["url"], trusting(instance.ready["ca_file"])).with_token(
            Door.of_kubeconfig(instance.ready["admin_kubeconfig"]).token
        )

    def cluster(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = self.instance.ready["clusters"][number - 1]
        return found

    def straight(self, number: int) -> Door:
        """A cluster's own API server."""
        return Door.of_kubeconfig(self.cluster(number)["direct_kubeconfig"])

    def ours(self, number: int) -> set[str]:
        """What of Outrider is in a cluster."""
        door = self.straight(number)
        found = set()
        for path in (
            "/api/v1/namespaces",
            f"{_RBAC}/clusterroles",
            f"{_RBAC}/clusterrolebindings",
            "/apis/scheduling.k8s.io/v1/priorityclasses",
        ):
            for item in door.get(path).json()["items"]:
                name = item["metadata"]["name"]
                labels = item["metadata"].get("labels") or {}
                marked = "outrider.cattle.io/delivered" in labels or "cattle.io/creator" in labels
                if marked or name.startswith(("cattle-", "proxy-", "globaladmin-")):
                    found.add(f"{path.rpartition('/')[2]}/{name}")
        return found

    def record(self, number: int) -> dict[str, Any] | None:
        done = self.management.attempt(
            "get", CLUSTERS, self.cluster(number)["id"], "--ignore-not-found", "--output=json"
        )
        assert done.returncode == 0, done.stderr
        return self.management.json("get", CLUSTERS, self.cluster(number)["id"]) if done.stdout else None

    def is_gone(self, number: int) -> bool:
        """Whether neither record nor namespace of the cluster are left on the management side."""
        identifier = self.cluster(number)["id"]
        named = (f"{CLUSTERS}/{identifier}", f"namespace/{identifier}")
        return all(not self.management("get", one, "--ignore-not-found").strip() for one in named)

    def events(self, number: int) -> list[dict[str, Any]]:
        selector = f"--field-selector=involvedObject.name={self.cluster(number)['id']}"
        items: list[dict[str, Any]] = self.management.json("get", "events", selector)["items"]
        return items


@pytest.fixture(scope="module", params=[15, pytest.param(50, marks=pytest.mark.long)])
def stage(
    request: pytest.FixtureRequest,
    kube_binary: Path,
    new_kubectl: Path,
    home: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stage]:
    """With a shortened patience for agents that do not answer, and with the real one."""
    patience = ("--removal-patience", str(request.param))
    running = Instance(tmp_path_factory.mktemp("x"), "--demo", "2", *patience, environ=AGENT)
    running.start()
    yield Stage(running, Kubectl(new_kubectl, running.ready["admin_kubeconfig"], home), request.param)
    running.stop()
    drop(running)


def test_a_connected_cluster_is_left_as_it_was(stage: Stage) -> None:
    """By /v3, while its agent is killed again and again."""
    door = stage.straight(1)
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs"}}
    assert door.post("/api/v1/namespaces/default/configmaps", theirs).status == 201
    through = Door.of_kubeconfig(stage.cluster(1)["kubeconfig"])
    assert through.get("/api/v1/namespaces").status == 200
    before = stage.ours(1)
    assert {"namespaces/cattle-system", "clusterroles/cattle-admin"} <= before
    assert any("cattle-impersonation-u" in one for one in before)

    identifier = stage.cluster(1)["id"]
    began = time.monotonic()
    answer = stage.admin.request("DELETE", f"/v3/clusters/{identifier}")
    assert answer.status == 200, answer.body
    assert answer.json()["state"] == "removing"
    agent = stage.instance.pid("demo-1-agent")
    os.kill(agent, signal.SIGKILL)
    until(lambda: not stage.ours(1), 60, "something of ours is still there")
    until(lambda: stage.is_gone(1), 30)
    assert time.monotonic() - began < 60
    assert door.get("/api/v1/namespaces/default/configmaps/theirs").status == 200
    assert stage.events(1) == []
    assert stage.admin.get(f"/v3/clusters/{identifier}").status == 404


def test_one_that_comes_back_too_late_is_told_to_clean_up(stage: Stage) -> None:
    """By kubectl, while the cluster cannot be reached; the record goes within a minute all the same."""
    agent = stage.instance.pid("demo-2-agent")
    os.kill(agent, signal.SIGSTOP)
    try:
        until(lambda: not (stage.record(2) or {})["status"]["connected"], 60)
        before = stage.ours(2)
        began = time.monotonic()
        stage.management("delete", CLUSTERS, stage.cluster(2)["id"], "--wait=false")
        record = until(lambda: _waiting(stage.record(2)), 10)
        assert record["status"]["state"] == "removing"
        until(lambda: stage.record(2) is None, 65)
        # A minute at most, and what kubectl takes to say so
        assert stage.patience - 10 < time.monotonic() - began <= stage.patience + 15
        until(lambda: stage.is_gone(2), 20)
        assert stage.ours(2) == before
        (event,) = stage.events(2)
        assert (event["type"], event["reason"]) == ("Warning", "LeftBehind")
        assert "cattle-impersonation-system" in event["message"]
    finally:
        os.kill(agent, signal.SIGCONT)
    until(lambda: not stage.ours(2), 90, "the cluster that came back was not cleaned up")
    assert stage.record(2) is None


def _waiting(record: dict[str, Any] | None) -> dict[str, Any] | None:
    conditions = (record or {}).get("status", {}).get("conditions", [])
    messages = [one["message"] for one in conditions if one["type"] == "Removed"]
    return record if messages and "not connected" in messages[0] else None


def test_the_local_cluster_stays(stage: Stage) -> None:
    done = stage.management.attempt("delete", CLUSTERS, "local", "--wait=false")
    assert done.returncode == 1
    assert "this server's own and cannot be removed" in done.stderr
    assert stage.admin.request("DELETE", "/v3/clusters/local").status in (403, 405)
    assert "deletionTimestamp" not in stage.management.json("get", CLUSTERS, "local")["metadata"]
