"""What every user comes with: the right to see oneself, and once the roles for new users (spec: auth §1.14). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from outrider.apis.management.global_role import GlobalRole
from outrider.apis.management.group import GROUP
from outrider.apis.management.policy_rule import PolicyRule
from outrider.features.rbac.collection import Collection
from outrider.features.rbac.creators import PROGRESS, Progress
from outrider.features.rbac.manifests import cluster_role, cluster_role_binding
from outrider.features.rbac.names import RoleRef, Subject, h10, safe_concat

_BOOTSTRAP: Final = "authz.management.cattle.io/bootstrapping"


def collect_users(users: Iterable[str], found: Collection) -> None:
    """Lets each user see their own record."""
    for name in users:
        rule = PolicyRule(api_groups=(GROUP,), resources=("users",), resource_names=(name,), verbs=("get",))
        role = safe_concat(name, "view")
        found.add(cluster_role(role, {}, (rule,)))
        ref = RoleRef("ClusterRole", role)
        found.add(cluster_role_binding(safe_concat("grb", name, "view"), {}, ref, Subject("User", name)))


def new_user_roles(
    labels: Mapping[str, str], annotations: Mapping[str, str], roles: Iterable[GlobalRole]
) -> Progress | None:
    """The global roles that a user is to be given; None: that was decided before, or the user is the first one."""
    if _BOOTSTRAP in labels or PROGRESS in annotations:
        return progress_of(annotations)
    return Progress(required=tuple(sorted(one.metadata.name for one in roles if one.new_user_default)))


def progress_of(annotations: Mapping[str, str]) -> Progress | None:
    """What was decided and is not done yet."""
    try:
        found = msgspec.json.decode(annotations.get(PROGRESS, ""), type=Progress)
    except msgspec.MsgspecError:
        return None
    return found if found.missing else None


def user_binding(user: str, role: str) -> dict[str, Any]:
    """The binding that gives a new user a role; its name follows from both, so that nobody makes it twice."""
    return {
        "metadata": {"name": f"grb-{h10(f'{user}/{role}')}"},
        "globalRoleName": role,
        "userName": user,
    }
