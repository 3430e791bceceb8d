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


def desired_objects(
    administrators: Iterable[str], agent: AgentManifest, former_names: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """All objects for one cluster, in a stable order.

    The credential is there under its own name, its plain alias and `former_names`: an agent that was deployed
    with an earlier token finds the present one where it looks.
    """
    own = credentials(agent)
    former = [_renamed(own[0], name) for name in former_names]
    return [*own, *former, *(admin_binding(user) for user in sorted(set(administrators)))]


def _renamed(secret: dict[str, Any], name: str) -> dict[str, Any]:
    return {**secret, "metadata": {**secret["metadata"], "name": name}}


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
