"""RBAC objects as they are applied."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from outrider.apis.management.policy_rule import PolicyRule
from outrider.features.rbac.names import RBAC, RoleRef, Subject

Manifest = dict[str, Any]
Labels = dict[str, str]


def rules_json(rules: Iterable[PolicyRule]) -> list[Manifest]:
    """The `rules` of a role."""
    # Through JSON, so that tuples become the lists that they are on the wire
    return msgspec.json.decode(msgspec.json.encode(list(rules)), type=list[Manifest])


def cluster_role(name: str, labels: Labels, rules: Iterable[PolicyRule]) -> Manifest:
    """A ClusterRole with rules of its own."""
    return _object("ClusterRole", name, "", labels) | {"rules": rules_json(rules)}


def aggregator(name: str, labels: Labels, label: str, values: Iterable[str]) -> Manifest:
    """A ClusterRole that the cluster fills with the rules of those whose `label` has one of the values."""
    selectors = [{"matchLabels": {label: value}} for value in values]
    return _object("ClusterRole", name, "", labels) | {"aggregationRule": {"clusterRoleSelectors": selectors}}


def role(name: str, namespace: str, labels: Labels, rules: Iterable[PolicyRule]) -> Manifest:
    """A Role."""
    return _object("Role", name, namespace, labels) | {"rules": rules_json(rules)}


def cluster_role_binding(name: str, labels: Labels, ref: RoleRef, *subjects: Subject) -> Manifest:
    """A ClusterRoleBinding."""
    return _object("ClusterRoleBinding", name, "", labels) | _bound(ref, subjects)


def role_binding(name: str, namespace: str, labels: Labels, ref: RoleRef, *subjects: Subject) -> Manifest:
    """A RoleBinding; one without a namespace is meant as a template."""
    return _object("RoleBinding", name, namespace, labels) | _bound(ref, subjects)


def _bound(ref: RoleRef, subjects: Iterable[Subject]) -> Manifest:
    return {"roleRef": ref.to_json(), "subjects": [one.to_json() for one in subjects]}


def _object(kind: str, name: str, namespace: str, labels: Labels) -> Manifest:
    metadata: Manifest = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    if labels:
        metadata["labels"] = labels
    return {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": metadata}
