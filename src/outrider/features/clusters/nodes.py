"""The mirror of a cluster's nodes: what an agent reports becomes management Nodes (contract: clusters §4.5)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from outrider.apis.management.node import NODE_NAME_LABEL, Node, NodeSpec, NodeStatus
from outrider.features.clusters.registration import ALPHABET
from outrider.kube.meta import Condition, ObjectMeta
from outrider.kube.patches import merge_patch
from outrider.tunnel.reports import NodeReport, Usage

SYNCER_ANNOTATION: Final = "management.cattle.io/nodesyncer"
IGNORE_LABEL: Final = "cattle.rancher.io/node-status"

_ROLE = "node-role.kubernetes.io/"
_MAX_LABEL = 63
_QUIET_FIELDS: Final = frozenset({"lastHeartbeatTime", "lastTransitionTime"})


def is_mirrored(report: NodeReport, ignored_name: str) -> bool:
    """Whether the node gets a record: settings and a label can exempt it."""
    return report.name != ignored_name and report.labels.get(IGNORE_LABEL) != "ignore"


def mirror_name(cluster: str, node: str, taken: Callable[[str], bool]) -> str:
    """``machine-`` and five characters that follow from the node's name, so that a retry finds its own work."""
    attempt = 0
    while True:
        digest = hashlib.sha256(f"{cluster}\0{node}\0{attempt}".encode()).digest()
        name = "machine-" + "".join(ALPHABET[byte % len(ALPHABET)] for byte in digest[:5])
        if not taken(name):
            return name
        attempt += 1


def roles(report: NodeReport) -> tuple[bool, bool, bool]:
    """(etcd, control plane, worker), from the node's labels; a node without any role works."""
    etcd = f"{_ROLE}etcd" in report.labels
    control = f"{_ROLE}controlplane" in report.labels or f"{_ROLE}control-plane" in report.labels
    worker = f"{_ROLE}worker" in report.labels or not (etcd or control)
    return etcd, control, worker


def mirror(cluster: str, name: str, report: NodeReport, usage: Usage) -> Node:
    """The record called `name` of a reported node."""
    etcd, control, worker = roles(report)
    return Node(
        metadata=ObjectMeta(
            name=name,
            namespace=cluster,
            labels={NODE_NAME_LABEL: label_value(report.name)},
            annotations={SYNCER_ANNOTATION: "true"},
        ),
        spec=NodeSpec(
            etcd=etcd,
            control_plane=control,
            worker=worker,
            requested_hostname=report.name,
            display_name=report.name,
            imported=True,
            internal_node_spec=report.spec,
        ),
        status=NodeStatus(
            conditions=_conditions(report),
            node_name=report.name,
            internal_node_status=report.status,
            node_labels=report.labels,
            node_annotations=report.annotations,
            node_taints=taints(report),
            requested=dict(usage.requested),
            limits=dict(usage.limits),
        ),
    )


def label_value(name: str) -> str:
    """`name` as the value of a label: one that is too long ends in a hash of it."""
    if len(name) <= _MAX_LABEL:
        return name
    return f"{name[:52].rstrip('-.')}-{hashlib.sha256(name.encode()).hexdigest()[:10]}"


def taints(report: NodeReport) -> list[dict[str, Any]]:
    """The node's taints."""
    found = report.spec.get("taints")
    return [taint for taint in found if isinstance(taint, dict)] if isinstance(found, list) else []


def node_condition(report: NodeReport, kind: str) -> Mapping[str, Any]:
    """A condition of the node's own status; empty when it has none of that type."""
    for condition in report.status.get("conditions") or []:
        if isinstance(condition, dict) and condition.get("type") == kind:
            return condition
    return {}


def _conditions(report: NodeReport) -> list[Condition]:
    ready = node_condition(report, "Ready")
    status = str(ready.get("status") or "Unknown")
    return [
        Condition(type="Initialized", status="True"),
        Condition(type="Registered", status="True", message="registered with kubernetes"),
        Condition(type="Provisioned", status="True"),
        Condition(
            type="Ready",
            status=status if status in ("True", "False") else "Unknown",
            reason=str(ready.get("reason") or ""),
            message=str(ready.get("message") or ""),
        ),
    ]


def settled(status: NodeStatus) -> dict[str, Any]:
    """The part of a node's status whose change is worth a write: without the times of its conditions."""
    plain: dict[str, Any] = msgspec.to_builtins(status)
    internal = plain.get("internalNodeStatus")
    if isinstance(internal, dict) and isinstance(internal.get("conditions"), list):
        quiet = [_without_times(condition) for condition in internal["conditions"]]
        plain["internalNodeStatus"] = {**internal, "conditions": quiet}
    plain["conditions"] = [_without_times(c) for c in plain.get("conditions", [])]
    return plain


def _without_times(condition: Any) -> Any:
    if not isinstance(condition, dict):
        return condition
    noise = _QUIET_FIELDS | {"lastUpdateTime"}
    return {key: value for key, value in condition.items() if key not in noise}


class MirrorChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What has to be written so that the records are those of the reported nodes."""

    create: list[Node]
    update: list[tuple[Node, Node]]
    delete: list[Node]


def compare(
    cluster: str,
    reports: Iterable[NodeReport],
    usage: Mapping[str, Usage],
    existing: Iterable[Node],
    *,
    ignored_name: str = "",
) -> MirrorChanges:
    """The difference between reported and recorded nodes; an update is the pair (recorded, wanted).

    Records that did not come from an agent (of custom clusters, without the syncer's annotation) are kept.
    """
    recorded: dict[str, Node] = {}
    surplus: list[Node] = []
    names = set()
    for node in existing:
        names.add(node.metadata.name)
        if node.metadata.annotations.get(SYNCER_ANNOTATION) != "true":
            continue
        known = node.spec.requested_hostname or node.status.node_name
        if known in recorded:
            surplus.append(node)
        else:
            recorded[known] = node
    changes = MirrorChanges(create=[], update=[], delete=surplus)
    for report in reports:
        if not is_mirrored(report, ignored_name):
            continue
        old = recorded.pop(report.name, None)
        name = old.metadata.name if old else mirror_name(cluster, report.name, names.__contains__)
        names.add(name)
        wanted = mirror(cluster, name, report, usage.get(report.name, Usage()))
        if old is None:
            changes.create.append(wanted)
        elif _differs(old, wanted):
            changes.update.append((old, wanted))
    changes.delete.extend(recorded.values())
    return changes


def spec_patch(old: Node, wanted: Node) -> dict[str, Any]:
    """The observed part of the spec where it differs, as a merge patch; what users ask of a node stays."""
    observed = ("etcd", "controlPlane", "worker", "internalNodeSpec")
    was, now = msgspec.to_builtins(old.spec), msgspec.to_builtins(wanted.spec)
    return {key: merge_patch(was.get(key), now.get(key)) for key in observed if was.get(key) != now.get(key)}


def _differs(old: Node, wanted: Node) -> bool:
    return bool(spec_patch(old, wanted)) or settled(old.status) != settled(wanted.status)
