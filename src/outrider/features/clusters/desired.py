"""What the server wants in every cluster: its administrators' binding, and the agent's credentials.

Pure: names and settings in, objects out. The delivery that content-addresses and prunes comes with the roles.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any, Final

from outrider.features.clusters.manifest import AgentManifest, credentials

_LABELS: Final = {"cattle.io/creator": "norman"}
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", re.ASCII)
_RBAC: Final = "rbac.authorization.k8s.io"


def desired_objects(administrators: Iterable[str], agent: AgentManifest | None) -> list[dict[str, Any]]:
    """All objects for one cluster, in a stable order; `agent` None leaves its credentials alone."""
    bindings = [admin_binding(user) for user in sorted(set(administrators))]
    return [*(credentials(agent) if agent else []), *bindings]


def admin_binding(user: str) -> dict[str, Any]:
    """The ClusterRoleBinding that makes a global administrator cluster-admin."""
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"globaladmin-{_name_part(user)}", "labels": dict(_LABELS)},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": _RBAC, "kind": "User", "name": user}],
    }


def _name_part(user: str) -> str:
    """`user` where an object's name can hold it, else a hash of it."""
    if _NAME.fullmatch(user) and len(user) <= 200:
        return user
    return hashlib.sha256(user.encode()).hexdigest()[:32]
