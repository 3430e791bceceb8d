from __future__ import annotations

from typing import Any

import msgspec

from outrider.agent.mirror import Namespace, Node, namespace_report, node_hints, node_report
from outrider.agent.probes import health


def node(**status: Any) -> Node:
    labels = status.pop("labels", {})
    return msgspec.convert({"metadata": {"name": "n1", "labels": labels}, "status": status}, Node)


def condition(heartbeat: str, status: str = "True") -> dict[str, str]:
    return {"type": "Ready", "status": status, "lastHeartbeatTime": heartbeat, "lastTransitionTime": "t"}


def test_a_heartbeat_is_no_change() -> None:
    assert node_report(node(conditions=[condition("1")])) == node_report(node(conditions=[condition("2")]))


def test_a_changed_condition_is_one() -> None:
    before, after = condition("1"), condition("1", "False")
    assert node_report(node(conditions=[before])) != node_report(node(conditions=[after]))


def test_images_stay() -> None:
    images = [{"names": ["a:1"], "sizeBytes": 5}]
    assert node_report(node(images=images)).status["images"] == images


def test_products_leave_marks() -> None:
    assert node_hints(node(labels={"minikube.k8s.io/name": "m"})) == ["minikube"]
    assert node_hints(node(nodeInfo={"osImage": "Docker Desktop"})) == ["docker"]
    assert node_hints(node()) == []


def test_a_namespace_tells_its_project() -> None:
    body = {"metadata": {"name": "a", "annotations": {"field.cattle.io/projectId": "c-x:p-y"}}, "status": {}}
    report = namespace_report(msgspec.convert(body, Namespace))
    assert (report.name, report.project, report.phase) == ("a", "c-x:p-y", "Active")


def test_readyz_names_what_fails() -> None:
    body = b"[+]ping ok\n[-]etcd failed: reason withheld\n[-]poststarthook/x failed\nreadyz check failed\n"
    assert health(500, body).message == "failing checks: etcd, poststarthook/x"
    assert health(200, b"ok").ok
    assert "403" in health(403, b"").message
