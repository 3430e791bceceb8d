"""Any process may die at any moment: what is noticed, and how soon all is well again."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import until
from tests.support.door import Door
from tests.support.instance import Instance, alive
from tests.support.kubectl import Kubectl


def kill(instance: Instance, role: str) -> int:
    """Kills a process at once; returns its pid."""
    pid = instance.pid(role)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not alive(pid), 5)
    return pid


def back(instance: Instance, role: str, former: int) -> None:
    """Waits for its successor."""
    until(lambda: instance.pid(role) not in {0, former} and alive(instance.pid(role)), 15)


@pytest.fixture(autouse=True)
def _all_well(instance: Instance, through: Door, admin: Door, second: dict[str, Any]) -> Any:
    yield
    doors = (through, Door.of_kubeconfig(second["kubeconfig"]))
    until(lambda: all(one.get("/version").status == 200 for one in doors), 60)
    until(lambda: admin.get("/api/v1/namespaces/default").status == 200, 60)


def test_streams_go_on_without_control(
    instance: Instance, kubectl: Kubectl, direct: Kubectl, through: Door, door: Door, namespace: str
) -> None:
    with kubectl.background("--namespace", namespace, "get", "configmaps", "--watch") as watch:
        direct("--namespace", namespace, "create", "configmap", "before")
        watch.line("before")
        former = kill(instance, "control")
        direct("--namespace", namespace, "create", "configmap", "meanwhile")
        watch.line("meanwhile", 2)
        assert through.get("/version").status == 200, "what was decided holds for a while"
        back(instance, "control", former)
        until(lambda: door.get("/readyz").status == 200, 20)
        until(lambda: through.get(f"/api/v1/namespaces/{namespace}").status == 200, 10)
        direct("--namespace", namespace, "create", "configmap", "after")
        watch.line("after", 5)
        assert watch.process.poll() is None


def test_control_that_hangs_is_not_believed_for_long(instance: Instance, through: Door, door: Door) -> None:
    assert through.get("/version").status == 200
    control = instance.pid("control")
    os.kill(control, signal.SIGSTOP)
    try:
        answer = until(lambda: refusal(through), 8)
        assert int(answer.header("Retry-After")) > 0
        assert answer.json()["kind"] == "Status"
        until(lambda: door.get("/readyz").status == 503, 3)
        assert door.get("/ping").status == 200
    finally:
        os.kill(control, signal.SIGCONT)
    until(lambda: through.get("/version").status == 200, 10)


def refusal(door: Door) -> Any:
    answer = door.get("/version")
    return answer if answer.status == 503 else None


def test_the_gateway_comes_back_and_agents_with_it(
    instance: Instance, through: Door, second: dict[str, Any]
) -> None:
    former = kill(instance, "gateway")
    back(instance, "gateway", former)
    began = time.monotonic()
    doors = (through, Door.of_kubeconfig(second["kubeconfig"]))
    for one in doors:
        until(lambda one=one: status(one) == 200, 20)
    assert time.monotonic() - began < 20


def status(door: Door) -> int:
    try:
        return door.get("/version").status
    except OSError:
        return 0


def test_the_agent_comes_back(instance: Instance, through: Door) -> None:
    former = kill(instance, "demo-1-agent")
    back(instance, "demo-1-agent", former)
    until(lambda: through.get("/version").status == 200, 15)


def test_the_audit_writer_comes_back(instance: Instance, through: Door) -> None:
    former = kill(instance, "audit")
    assert through.get("/version").status == 200
    back(instance, "audit", former)
    assert through.get("/version").status == 200
    log = instance.data / "audit" / "audit.log"
    until(lambda: log.exists() and "/version" in log.read_text().splitlines()[-1], 10)


class Writer:
    """Writes ConfigMaps, one after the other, and remembers what was acknowledged."""

    def __init__(self, door: Door, path: str) -> None:
        self._door = door
        self._path = path
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self.acknowledged: list[str] = []

    def _write(self) -> None:
        for number in range(100_000):
            if self._stop.is_set():
                return
            try:
                if self._door.post(self._path, {"metadata": {"name": f"w{number}"}}).status == 201:
                    self.acknowledged.append(f"w{number}")
            except OSError:
                time.sleep(0.05)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.mark.parametrize("role", ["management-etcd", "management-apiserver"])
def test_the_management_cluster_loses_no_acknowledged_write(
    role: str, instance: Instance, management: Kubectl, admin: Door, door: Door
) -> None:
    name = f"writes-{role}"
    management("create", "namespace", name)
    path = f"/api/v1/namespaces/{name}/configmaps"
    with Writer(admin, path) as writer:
        until(lambda: len(writer.acknowledged) > 50)
        former = kill(instance, role)
        back(instance, role, former)
        count = len(writer.acknowledged)
        until(lambda: len(writer.acknowledged) > count + 20, 40)
    stored = {one["metadata"]["name"] for one in admin.get(path).json()["items"]}
    assert set(writer.acknowledged) <= stored
    assert door.get("/readyz").status == 200
    management("delete", "namespace", name, "--wait=false")


def test_a_downstream_api_server_comes_back(instance: Instance, through: Door, straight: Door) -> None:
    former = kill(instance, "demo-1-apiserver")
    answer = through.get("/version")
    assert answer.status in {200, 502, 503}
    assert json.loads(answer.body)
    back(instance, "demo-1-apiserver", former)
    until(lambda: through.get("/version").status == 200, 20)
    assert straight.get("/version").status == 200


def test_nothing_was_lost_of_the_processes_output(instance: Instance) -> None:
    for name in ("control", "gateway"):
        log = Path(instance.data, "server", "logs", f"{name}.log").read_text(errors="replace")
        assert "Traceback" not in log, log[-3000:]
