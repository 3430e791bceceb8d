"""Rules about roles, bindings and projects that need more than the object itself (spec: auth §3.13).

Who may grant what is judged here in a way that is narrower than "holds all that is granted", and safe: `bind` on
the role, or `own` on the cluster or project that the grant is for; `escalate` for those who write roles.
"""

from typing import Any

from outrider.apis.management.cluster_role_template_binding import CLUSTER_ROLE_TEMPLATE_BINDINGS
from outrider.apis.management.global_role import GLOBAL_ROLES
from outrider.apis.management.global_role_binding import GLOBAL_ROLE_BINDINGS
from outrider.apis.management.group import GROUP
from outrider.apis.management.project import PROJECTS
from outrider.apis.management.project_role_template_binding import (
    PROJECT_ROLE_BINDINGS,
    PROJECT_ROLE_TEMPLATE_BINDINGS,
)
from outrider.apis.management.role_template import CLUSTER, PROJECT, ROLE_TEMPLATES
from outrider.apis.policies import Check, Policy
from outrider.apis.spelling import said
from outrider.kube.kind import Kind

TEMPLATE_INDEX = "outrider-role-templates"
"""ConfigMap with the context of each role template, and with `LOCKED` behind it where it is."""

LOCKED = ".locked"

_IS_NEW = "oldObject == null"
_SUBJECT = ("userName", "userPrincipalName", "groupName", "groupPrincipalName")
_GLOBAL_SUBJECT = ("userName", "userPrincipalName", "groupPrincipalName")
_SYSTEM = "authz.management.cattle.io/system-project"


def _now(field: str, default: str = "''") -> str:
    return said(field, default, "object")


def _kept(fields: tuple[tuple[str, str], ...]) -> str:
    """CEL: this is a change, and none of these fields (with their defaults) is concerned."""
    same = " && ".join(
        f"{_now(field, empty)} == {said(field, empty, 'oldObject')}" for field, empty in fields
    )
    return f"(!({_IS_NEW}) && {same})"


def _may(verb: str, resource: str, name: str, namespace: str = "") -> str:
    where = f".namespace({namespace})" if namespace else ""
    return f"authorizer.group('{GROUP}').resource('{resource}'){where}.name({name}).check('{verb}').allowed()"


def _subject_kept(fields: tuple[str, ...]) -> str:
    return _kept(tuple((field, "''") for field in fields))


_OWNS_CLUSTER = f"variables.cluster != '' && {_may('own', 'clusters', 'variables.cluster')}"
_OWNS_PROJECT = "variables.cluster != '' && variables.project != '' && " + _may(
    "own", "projects", "variables.project", "variables.cluster"
)
_BINDS = f"variables.role != '' && {_may('bind', 'roletemplates', 'variables.role')}"
_MAY_GIVE = "only who holds the whole role, or may bind it, can give it to others: errors due to escalation"
_ROLE = ("role", _now("roleTemplateName"))
_PATH = f"{_now('projectName')}.split(':')"


def _template_checks(context: str) -> tuple[Check, ...]:
    """What must be true of the role template that is bound, as far as it is known."""
    unknown = "!has(params.data) || !(variables.role in params.data)"
    return (
        Check(
            f"{unknown} || !params.data[variables.role].endsWith('{LOCKED}')",
            "the referenced role is locked and cannot be assigned",
            says="'referenced role ' + variables.role + ' is locked and cannot be assigned'",
        ),
        Check(
            f"{unknown} || params.data[variables.role].startsWith('{context}')",
            f"the referenced role cannot be given here: its context is not {context}",
        ),
    )


def _escalation(name: str, kind: Kind[Any], fields: tuple[tuple[str, str], ...]) -> Policy:
    """Who writes roles must be allowed to write any."""
    return Policy(
        name=name,
        kinds=(kind,),
        variables=(),
        checks=(
            Check(
                f"{_kept(fields)} || {_may('escalate', kind.plural, 'object.metadata.name')}",
                f"writing what a role allows needs the verb escalate on {kind.plural}: errors due to escalation",
                reason="Forbidden",
            ),
        ),
    )


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

ROLE_POLICIES: tuple[Policy, ...] = (
    _escalation("outrider-role-templates", ROLE_TEMPLATES, _TEMPLATE_FIELDS),
    _escalation("outrider-global-roles", GLOBAL_ROLES, (*_GLOBAL_FIELDS, ("newUserDefault", "false"))),
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
        name="outrider-global-role-bindings",
        kinds=(GLOBAL_ROLE_BINDINGS,),
        variables=(("role", _now("globalRoleName")),),
        checks=(
            Check(
                f"{_subject_kept(_GLOBAL_SUBJECT)} || {_may('bind', 'globalroles', 'variables.role')}",
                _MAY_GIVE,
                reason="Forbidden",
            ),
        ),
    ),
    Policy(
        name="outrider-cluster-role-bindings",
        kinds=(CLUSTER_ROLE_TEMPLATE_BINDINGS,),
        variables=(_ROLE, ("cluster", _now("clusterName"))),
        checks=(
            Check(
                "variables.cluster == object.metadata.namespace",
                "clusterName and namespace must be the same value",
            ),
            Check(f"{_subject_kept(_SUBJECT)} || {_BINDS} || {_OWNS_CLUSTER}", _MAY_GIVE, reason="Forbidden"),
        ),
    ),
    Policy(
        name="outrider-project-role-bindings",
        kinds=(PROJECT_ROLE_TEMPLATE_BINDINGS, PROJECT_ROLE_BINDINGS),
        variables=(
            _ROLE,
            ("path", _PATH),
            ("cluster", "variables.path.size() == 2 ? variables.path[0] : ''"),
            ("project", "variables.path.size() == 2 ? variables.path[1] : variables.path[0]"),
            # One each: an expression may ask the authorizer no more than twice
            ("binds", _BINDS),
            ("ownsCluster", _OWNS_CLUSTER),
            ("ownsProject", _OWNS_PROJECT),
        ),
        checks=(
            Check(
                f"{_subject_kept((*_SUBJECT, 'serviceAccount'))}"
                " || variables.binds || variables.ownsCluster || variables.ownsProject",
                _MAY_GIVE,
                reason="Forbidden",
            ),
        ),
    ),
    Policy(
        name="outrider-cluster-role-binding-templates",
        kinds=(CLUSTER_ROLE_TEMPLATE_BINDINGS,),
        operations=("CREATE",),
        variables=(_ROLE,),
        parameters=TEMPLATE_INDEX,
        checks=_template_checks(CLUSTER),
    ),
    Policy(
        name="outrider-project-role-binding-templates",
        kinds=(PROJECT_ROLE_TEMPLATE_BINDINGS, PROJECT_ROLE_BINDINGS),
        operations=("CREATE",),
        variables=(_ROLE,),
        parameters=TEMPLATE_INDEX,
        checks=_template_checks(PROJECT),
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
