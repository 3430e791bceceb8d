"""Who may do everything: the users that the management cluster's RBAC binds to ``cluster-admin``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from outrider.apis.management.user import User
from outrider.kube.meta import ObjectKey
from outrider.runtime.store import Lister

_ROLE: Final = "cluster-admin"


def administrators(bindings: Iterable[dict[str, Any]], users: Lister[User]) -> list[str]:
    """Names of enabled users of ours that a ClusterRoleBinding makes cluster-admin, sorted.

    Certificates and service accounts that are bound are not users of ours and reach no other cluster.
    """
    names = {
        subject.get("name", "")
        for binding in bindings
        if is_admin_binding(binding)
        for subject in binding.get("subjects") or []
        if subject.get("kind") == "User"
    }
    return sorted(name for name in names if _is_enabled(users.get(ObjectKey("", name))))


def is_admin_binding(binding: dict[str, Any]) -> bool:
    """Whether a ClusterRoleBinding makes its subjects cluster-admin."""
    role = binding.get("roleRef") or {}
    return role.get("kind") == "ClusterRole" and role.get("name") == _ROLE


def _is_enabled(user: User | None) -> bool:
    return user is not None and not user.is_deleting and user.enabled is not False
