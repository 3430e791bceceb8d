"""Where the agent's pods run: default affinity and tolerations, and what users make of them.

Contract: clusters §2.3 and §2.6.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

_ROLE = "node-role.kubernetes.io/"

DEFAULT_TOLERATIONS: Final[tuple[dict[str, Any], ...]] = (
    {"effect": "NoSchedule", "key": f"{_ROLE}controlplane", "value": "true"},
    {"effect": "NoSchedule", "key": f"{_ROLE}control-plane", "operator": "Exists"},
)


def _node_term(key: str, operator: str, value: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": [value]}]}


def _preferred(weight: int, key: str) -> dict[str, Any]:
    return {"weight": weight, "preference": _node_term(key, "In", "true")}


DEFAULT_AFFINITY: Final[dict[str, Any]] = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [_node_term("kubernetes.io/os", "NotIn", "windows")]
        },
        "preferredDuringSchedulingIgnoredDuringExecution": [
            _preferred(100, f"{_ROLE}controlplane"),
            _preferred(100, f"{_ROLE}control-plane"),
            _preferred(1, "cattle.io/cluster-agent"),
        ],
    },
    "podAntiAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {
                "weight": 100,
                "podAffinityTerm": {
                    "labelSelector": _node_term("app", "In", "cattle-cluster-agent"),
                    "topologyKey": "kubernetes.io/hostname",
                },
            }
        ]
    },
}
"""The default of setting ``cluster-agent-default-affinity``."""


def affinity(override: Mapping[str, Any] | None, default: Mapping[str, Any] | None) -> dict[str, Any]:
    """The pods' affinity; an override replaces the default as a whole."""
    if override:
        return dict(override)
    return dict(default or DEFAULT_AFFINITY)


def tolerations(appended: Iterable[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    """The default tolerations and then the user's, each once."""
    wanted: list[dict[str, Any]] = [dict(toleration) for toleration in DEFAULT_TOLERATIONS]
    for toleration in appended or ():
        if dict(toleration) not in wanted:
            wanted.append(dict(toleration))
    return wanted
