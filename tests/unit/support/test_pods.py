"""The parts of the node bench that need no node."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import pytest

from tests.support.pods import cgroups, configuration, needs, network
from tests.support.pods.objects import pod
from tools.image.shell import PAUSE_REFERENCE


def test_a_machine_without_the_programs_says_which(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert needs.lacking().startswith("not installed: containerd, ctr, runc, ")
    assert "make setup" in needs.lacking()


def test_only_root_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert needs.lacking() == "pods need root"


@pytest.fixture
def hierarchies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Two hierarchies of cgroup v1, as far as folders can tell."""
    monkeypatch.setattr(cgroups, "ROOT", tmp_path)
    for name in ("cpu", "memory", "not-one"):
        (tmp_path / name).mkdir()
    for name in ("cpu", "memory"):
        (tmp_path / name / "cgroup.procs").touch()
    return tmp_path


def test_control_groups_come_and_go_in_every_hierarchy(hierarchies: Path) -> None:
    group, other = cgroups.create(), cgroups.create()
    (hierarchies / "cpu" / group[1:] / "kubepods" / "pod1").mkdir(parents=True)
    assert not list(hierarchies.glob("not-one/*"))
    cgroups.sweep()
    assert (hierarchies / "cpu" / group[1:]).exists(), "its owner runs"
    cgroups.remove(group)
    assert {path.name for path in hierarchies.glob("*/outrider-pods-*")} == {other[1:]}


def test_those_of_a_process_that_is_gone_are_swept(
    hierarchies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = int(Path("/proc/sys/kernel/pid_max").read_text()) + 1
    monkeypatch.setattr(os, "getpid", lambda: gone)
    cgroups.create()
    cgroups.sweep()
    assert not list(hierarchies.glob("*/outrider-pods-*"))


def test_one_hierarchy_is_version_2(hierarchies: Path) -> None:
    (hierarchies / "cgroup.controllers").touch()
    assert cgroups.roots() == [hierarchies]


def test_what_containerd_reads() -> None:
    plugin = tomllib.loads(configuration.containerd())["plugins"]["io.containerd.grpc.v1.cri"]
    assert plugin["sandbox_image"] == PAUSE_REFERENCE
    assert plugin["containerd"]["runtimes"]["runc"]["options"] == {"SystemdCgroup": False}


def test_the_kubelet_lets_nobody_in_unasked() -> None:
    kubelet = configuration.kubelet("/ca", "/group")
    assert kubelet["authentication"]["anonymous"] == {"enabled": False}
    assert kubelet["authorization"] == {"mode": "Webhook"}
    assert (kubelet["address"], kubelet["cgroupRoot"]) == (network.ADDRESS, "/group")


def test_a_pod_runs_what_it_is_told() -> None:
    made = json.loads(pod("p", command=("sleep", "9"), labels={"a": "b"}))
    assert made["metadata"] == {"name": "p", "labels": {"a": "b"}}
    assert made["spec"]["containers"][0]["command"] == ["sleep", "9"]
    assert "command" not in json.loads(pod("p"))["spec"]["containers"][0]
