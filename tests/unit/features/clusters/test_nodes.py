"""The mirror of nodes: what is written, what is noise, what is left alone."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.apis.management.node import Node
from outrider.features.clusters import nodes as n
from outrider.tunnel.reports import NodeReport, Usage

ROLE = "node-role.kubernetes.io/"
READY = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ok"}


def report(name: str = "node-1", *roles: str, **changes: Any) -> NodeReport:
    labels = {f"{ROLE}{role}": "true" for role in roles} | {"kubernetes.io/os": "linux"}
    made = NodeReport(
        name=name, labels=labels, spec={"podCIDR": "10.0.0.0/24"}, status={"conditions": [READY]}
    )
    return msgspec.structs.replace(made, **changes)


def recorded(*reports: NodeReport) -> list[Node]:
    return n.compare("c-1", reports, {}, []).create


@pytest.mark.parametrize(
    ("roles", "result"),
    [
        ((), (False, False, True)),
        (("worker",), (False, False, True)),
        (("control-plane",), (False, True, False)),
        (("controlplane", "etcd"), (True, True, False)),
        (("control-plane", "worker"), (False, True, True)),
        (("etcd",), (True, False, False)),
    ],
)
def test_roles(roles: tuple[str, ...], result: tuple[bool, bool, bool]) -> None:
    assert n.roles(report("a", *roles)) == result


def test_a_new_node() -> None:
    (node,) = recorded(report("node-1", "control-plane", annotations={"a": "b"}))
    assert node.metadata.namespace == "c-1"
    assert node.metadata.name.startswith("machine-")
    assert len(node.metadata.name) == len("machine-") + 5
    assert node.metadata.labels == {"management.cattle.io/nodename": "node-1"}
    assert node.metadata.annotations == {"management.cattle.io/nodesyncer": "true"}
    assert node.spec.imported
    assert node.spec.requested_hostname == "node-1"
    assert node.spec.internal_node_spec == {"podCIDR": "10.0.0.0/24"}
    assert node.status.node_annotations == {"a": "b"}
    assert [(c.type, c.status) for c in node.status.conditions] == [
        ("Initialized", "True"),
        ("Registered", "True"),
        ("Provisioned", "True"),
        ("Ready", "True"),
    ]
    assert node.status.conditions[1].message == "registered with kubernetes"


def test_names_follow_from_the_node_and_never_collide() -> None:
    many = [report(f"node-{i}") for i in range(5000)]
    names = [node.metadata.name for node in recorded(*many)]
    assert len(set(names)) == 5000
    assert names == [node.metadata.name for node in recorded(*many)]


def test_a_heartbeat_is_no_change() -> None:
    (old,) = recorded(report())
    beat = {
        **READY,
        "lastHeartbeatTime": "2026-01-01T00:00:00Z",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    changes = n.compare("c-1", [report(status={"conditions": [beat]})], {}, [old])
    assert (changes.create, changes.update, changes.delete) == ([], [], [])


@pytest.mark.parametrize(
    "changed",
    [
        report("node-1", "worker"),
        report(spec={"podCIDR": "10.0.0.0/24", "unschedulable": True}),
        report(status={"conditions": [{**READY, "status": "False"}]}),
        report(status={"conditions": [READY], "images": [{"names": ["x"], "sizeBytes": 1}]}),
        report(annotations={"a": "b"}),
    ],
)
def test_a_change_is_one(changed: NodeReport) -> None:
    (old,) = recorded(report())
    changes = n.compare("c-1", [changed], {}, [old])
    assert [pair[0] for pair in changes.update] == [old]
    assert changes.update[0][1].metadata.name == old.metadata.name


def test_usage_is_a_change() -> None:
    (old,) = recorded(report())
    changes = n.compare("c-1", [report()], {"node-1": Usage(requested={"cpu": "1"})}, [old])
    assert changes.update[0][1].status.requested == {"cpu": "1"}


def test_what_left_goes_and_doubles_go_but_custom_nodes_stay() -> None:
    gone, kept = recorded(report("gone"), report("kept"))
    double = copy.deepcopy(kept)
    double.metadata.name = "machine-double"
    custom = copy.deepcopy(gone)
    custom.metadata.name, custom.metadata.annotations = "m-1", {}
    changes = n.compare("c-1", [report("kept")], {}, [gone, kept, double, custom])
    assert sorted(node.metadata.name for node in changes.delete) == sorted(
        [gone.metadata.name, "machine-double"]
    )
    assert (changes.create, changes.update) == ([], [])


def test_exempt_nodes() -> None:
    ignored = report("labelled", labels={"cattle.rancher.io/node-status": "ignore"})
    found = n.compare("c-1", [ignored, report("named"), report("seen")], {}, [], ignored_name="named").create
    assert [node.status.node_name for node in found] == ["seen"]


def test_what_users_ask_of_a_node_is_not_overwritten() -> None:
    (old,) = recorded(report())
    old.spec.desired_node_unschedulable = "drain"
    (_, wanted), *_ = n.compare("c-1", [report("node-1", "etcd")], {}, [old]).update
    patch = n.spec_patch(old, wanted)
    assert patch == {"etcd": True, "worker": None}


@given(st.text("abc.-0", min_size=1, max_size=253))
def test_any_node_name_fits_a_label(name: str) -> None:
    assert len(n.label_value(name)) <= 63
