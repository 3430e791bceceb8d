"""Which rules of a role template count elsewhere than in a project's namespaces (spec: auth §3.6, §3.9). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from outrider.apis.management.group import GROUP
from outrider.apis.management.policy_rule import PolicyRule

Table = Mapping[str, Sequence[str]]

OF_CLUSTERS: Final[Table] = {
    GROUP: (
        "clusterscans",
        "clusterregistrationtokens",
        "clusterroletemplatebindings",
        "etcdbackups",
        "nodes",
        "nodepools",
        "projects",
    ),
    "rke.cattle.io": ("etcdsnapshots",),
    "operation.cattle.io": ("etcdsnapshotsaves", "etcdsnapshotrestores", "encryptionkeyrotations"),
}
"""What is kept in a cluster's namespace of the management cluster."""

OF_PROJECTS: Final[Table] = {GROUP: ("projectroletemplatebindings",), "": ("secrets",)}
"""What is kept in a project's namespace of the management cluster."""

_CLUSTER_WIDE: Final[Table] = {
    "ui.cattle.io": ("navlinks",),
    "": ("nodes", "persistentvolumes"),
    "storage.k8s.io": ("storageclasses",),
    "apiregistration.k8s.io": ("apiservices",),
    "catalog.cattle.io": ("clusterrepos",),
    "metrics.k8s.io": ("nodes", "nodemetrics"),
}
_LOCAL_ONLY: Final = ("local",)


def projected(rules: Iterable[PolicyRule], table: Table) -> list[PolicyRule]:
    """What the rules allow of the resources in the table. A rule for single names never counts here."""
    return [
        PolicyRule(api_groups=(group,), resources=resources, verbs=rule.verbs)
        for rule in rules
        if not rule.resource_names
        for group, known in table.items()
        if (resources := _spoken_of(rule, group, known, wildcard=True))
    ]


def promoted(rules: Iterable[PolicyRule]) -> list[PolicyRule]:
    """What the rules of a project's role allow of cluster-wide resources that projects are let see.

    A rule for all resources promotes none: whoever may do anything in a project gets no right on nodes by it.
    """
    found: list[PolicyRule] = []
    for rule in rules:
        for group, known in _CLUSTER_WIDE.items():
            if resources := _spoken_of(rule, group, known, wildcard=False):
                found.append(msgspec.structs.replace(rule, api_groups=(group,), resources=resources))
        if rule.resource_names == _LOCAL_ONLY and _spoken_of(rule, GROUP, ("clusters",), wildcard=False):
            found.append(msgspec.structs.replace(rule, api_groups=(GROUP,), resources=("clusters",)))
    return found


def _spoken_of(rule: PolicyRule, group: str, known: Sequence[str], *, wildcard: bool) -> tuple[str, ...]:
    groups, resources = rule.api_groups or (), rule.resources or ()
    if group not in groups and "*" not in groups:
        return ()
    if wildcard and "*" in resources:
        return tuple(known)
    return tuple(one for one in known if one in resources)
