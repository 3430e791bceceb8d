"""Rules about roles, bindings and projects that need more than the object itself (spec: auth §3.13).

Who may grant what is not said here but by guards of ours (`features/rbac/door.py`): no CEL can compare roles.
"""

from typing import Any

from outrider.apis.management.cluster import CLUSTERS
from outrider.apis.management.cluster_role_template_binding import CLUSTER_ROLE_TEMPLATE_BINDINGS
from outrider.apis.management.global_role import GLOBAL_ROLES
from outrider.apis.management.group import CREATOR_BINDINGS, CREATOR_ID
from outrider.apis.management.project import PROJECTS
from outrider.apis.management.role_template import ROLE_TEMPLATES
from outrider.apis.policies import Check, Policy, given, kept
from outrider.apis.provisioning.cluster import PROVISIONING_CLUSTERS
from outrider.apis.spelling import said
from outrider.kube.kind import Kind

_IS_NEW = "oldObject == null"
_SYSTEM = "authz.management.cattle.io/system-project"


def _now(field: str, default: str = "''") -> str:
    return said(field, default, "object")


def _kept(fields: tuple[tuple[str, str], ...]) -> str:
    """CEL: this is a change, and none of these fields (with their defaults) is concerned."""
    same = " && ".join(
        f"{_now(field, empty)} == {said(field, empty, 'oldObject')}" for field, empty in fields
    )
    return f"(!({_IS_NEW}) && {same})"


def _protection(name: str, kind: Kind[Any], fields: tuple[tuple[str, str], ...], free: str) -> Policy:
    """Built-in roles are made, changed and removed by the server alone."""
    word = kind.kind
    was = f"({_IS_NEW} ? false : {said('builtin', 'false', 'oldObject')})"
    return Policy(
        name=name,
        kinds=(kind,),
        operations=("CREATE", "UPDATE", "DELETE"),
        own_exempt=True,
        variables=(("was", was),),
        checks=(
            Check(
                f"!({_IS_NEW}) || !{_now('builtin', 'false')}",
                f"cannot create builtin {word}s: leave builtin out",
                reason="Forbidden",
            ),
            Check(
                "request.operation != 'DELETE' || !variables.was",
                f"cannot delete builtin {word}s",
                reason="Forbidden",
            ),
            Check(
                f"request.operation != 'UPDATE' || !variables.was || {_kept(fields)}",
                f"updates to builtIn {word}s for fields other than {free} are forbidden",
                reason="Forbidden",
            ),
        ),
    )


_TEMPLATE_FIELDS = (
    ("rules", "[]"),
    ("roleTemplateNames", "[]"),
    ("external", "false"),
    ("externalRules", "[]"),
    ("context", "''"),
)
_TEMPLATE_TEXTS = (
    ("displayName", "''"),
    ("description", "''"),
    ("hidden", "false"),
    ("administrative", "false"),
)
_GLOBAL_FIELDS = (
    ("rules", "[]"),
    ("inheritedClusterRoles", "[]"),
    ("namespacedRules", "{}"),
    ("inheritedNamespacedRules", "{}"),
    ("inheritedFleetWorkspacePermissions", "{}"),
)
_GLOBAL_TEXTS = (("displayName", "''"), ("description", "''"))

RETIRED = (
    "outrider-role-templates",
    "outrider-global-roles",
    "outrider-global-role-bindings",
    "outrider-project-role-bindings",
    "outrider-cluster-role-binding-templates",
    "outrider-project-role-binding-templates",
)
"""Policies of earlier versions, in whose place guards stand now."""

ROLE_POLICIES: tuple[Policy, ...] = (
    Policy(
        name="outrider-creators",
        kinds=(CLUSTERS, PROVISIONING_CLUSTERS, PROJECTS),
        own_exempt=True,
        checks=(
            Check(
                f"!({given(CREATOR_ID)}) || {kept(CREATOR_ID)}"
                f" || ({_IS_NEW} && variables.now['{CREATOR_ID}'] == request.userInfo.username)",
                "creatorID annotation does not match user: it names who creates the object, and is not set later",
                reason="Forbidden",
            ),
            Check(
                f"{given(CREATOR_BINDINGS)} ? {kept(CREATOR_BINDINGS)}"
                f" : !({given(CREATOR_BINDINGS, 'before')})",
                f"annotation {CREATOR_BINDINGS} is the server's own record of what the creator has: leave it",
                reason="Forbidden",
            ),
        ),
    ),
    _protection(
        "outrider-builtin-role-templates",
        ROLE_TEMPLATES,
        (*_TEMPLATE_FIELDS, *_TEMPLATE_TEXTS),
        "'locked', 'clusterCreatorDefault' and 'projectCreatorDefault'",
    ),
    _protection(
        "outrider-builtin-global-roles", GLOBAL_ROLES, (*_GLOBAL_FIELDS, *_GLOBAL_TEXTS), "'newUserDefault'"
    ),
    Policy(
        name="outrider-cluster-role-bindings",
        kinds=(CLUSTER_ROLE_TEMPLATE_BINDINGS,),
        variables=(("cluster", _now("clusterName")),),
        checks=(
            Check(
                "variables.cluster == object.metadata.namespace",
                "clusterName and namespace must be the same value",
            ),
        ),
    ),
    Policy(
        name="outrider-projects",
        kinds=(PROJECTS,),
        operations=("CREATE", "UPDATE", "DELETE"),
        variables=(),
        checks=(
            Check(
                "request.operation != 'CREATE' || object.spec.clusterName == object.metadata.namespace",
                "spec.clusterName must be the namespace of this object: a project is in its cluster's namespace",
            ),
            Check(
                "request.operation != 'DELETE' || has(namespaceObject.metadata.deletionTimestamp)"
                f" || !(has(oldObject.metadata.labels) && '{_SYSTEM}' in oldObject.metadata.labels)",
                "System Project cannot be deleted: it goes with its cluster",
                reason="Forbidden",
            ),
        ),
    ),
)
