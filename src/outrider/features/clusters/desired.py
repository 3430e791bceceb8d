"""What the server wants in every cluster on behalf of this feature. Pure: names and settings in, objects out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from outrider.delivery.entries import Entry
from outrider.features.clusters.manifest import NAMESPACE, AgentManifest, credentials, objects

OWNER: Final = "clusters"
IMPERSONATION_NAMESPACE: Final = "cattle-impersonation-system"

_LABELS: Final = {"cattle.io/creator": "norman"}
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", re.ASCII)
_RBAC: Final = "rbac.authorization.k8s.io"


def desired_entries(
    administrators: Iterable[str],
    agent: AgentManifest,
    *,
    tokens: Sequence[str] = (),
    former_names: Mapping[str, str] | None = None,
) -> list[Entry]:
    """All that this feature wants in one cluster.

    The agent itself, as its manifest made it: what was taken away comes back, and another image is an
    upgrade. The credential of every other registration that is good, for agents that were deployed with it,
    is there under its own name, and `former_names` (name → token) lead to the present token: an agent that
    was deployed with an earlier one finds the present one where it looks.
    """
    own = objects(agent)
    known = {obj["metadata"]["name"] for obj in own if obj["kind"] == "Secret"}
    others = [_named_credential(agent, token) for token in tokens]
    others += [
        _renamed(_named_credential(agent, token), name) for name, token in (former_names or {}).items()
    ]
    more = [secret for secret in others if secret["metadata"]["name"] not in known]
    bindings = [admin_binding(user) for user in sorted(set(administrators))]
    wanted = [*own, *{one["metadata"]["name"]: one for one in more}.values(), *bindings]
    return [impersonation_namespace(), *(_entry(obj) for obj in wanted)]


def impersonation_namespace() -> Entry:
    """The namespace of the accounts through which users act."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": IMPERSONATION_NAMESPACE}}
    return _entry(namespace)


def admin_binding(user: str) -> dict[str, Any]:
    """The ClusterRoleBinding that makes a global administrator cluster-admin."""
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"globaladmin-{_name_part(user)}", "labels": dict(_LABELS)},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": _RBAC, "kind": "User", "name": user}],
    }


def _entry(obj: dict[str, Any]) -> Entry:
    # The agent's own namespace holds what it knows: it must not go while the agent still has work to do
    return Entry(
        owner=OWNER, object=obj, release=(obj["kind"], obj["metadata"]["name"]) == ("Namespace", NAMESPACE)
    )


def _named_credential(agent: AgentManifest, token: str) -> dict[str, Any]:
    return credentials(msgspec.structs.replace(agent, token=token))[0]


def _renamed(secret: dict[str, Any], name: str) -> dict[str, Any]:
    return {**secret, "metadata": {**secret["metadata"], "name": name}}


def _name_part(user: str) -> str:
    """`user` where an object's name can hold it, else a hash of it."""
    if _NAME.fullmatch(user) and len(user) <= 200:
        return user
    return hashlib.sha256(user.encode()).hexdigest()[:32]
