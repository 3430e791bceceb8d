"""Cases for the rules of roles, bindings and projects: (kind, object, merge patch, part of the refusal)."""

from __future__ import annotations

from typing import Any, NamedTuple

from outrider.apis.management import (
    CLUSTER_ROLE_TEMPLATE_BINDINGS,
    GLOBAL_ROLE_BINDINGS,
    GLOBAL_ROLES,
    PROJECT_ROLE_BINDINGS,
    PROJECT_ROLE_TEMPLATE_BINDINGS,
    PROJECTS,
    ROLE_TEMPLATES,
)
from outrider.kube.kind import Kind

Json = dict[str, Any]


class RoleCase(NamedTuple):
    kind: Kind[Any]
    body: Json
    patch: Json | None = None
    refused: str = ""
    name: str = ""
    status: Json = {}  # noqa: RUF012  (never changed)


NAMESPACE = "{namespace}"
"""Stands for the namespace of the test: a binding is in that of its cluster."""

PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
HEALTH = {"nonResourceURLs": ["/healthz"], "verbs": ["get"]}
CRTB = {"clusterName": NAMESPACE, "roleTemplateName": "ops", "userName": "ann"}
PRTB = {"projectName": f"{NAMESPACE}:p-1", "roleTemplateName": "ops", "groupPrincipalName": "okta_group://x"}
GRB = {"globalRoleName": "user", "userName": "ann"}
TWICE = "under spec or at the top, not both"
NEW_ONE = "make another binding"
TARGET = "binding must target either a user"
LACKING = "a rule needs verbs"
CIRCULAR = "that is circular"
ORIGIN = "it says where the role comes from"


def without(body: Json, *names: str) -> Json:
    return {name: value for name, value in body.items() if name not in names}


ROLES = [
    RoleCase(ROLE_TEMPLATES, {"context": "cluster", "rules": [PODS, HEALTH]}),
    RoleCase(
        ROLE_TEMPLATES, {"spec": {"context": "cluster", "clusterCreatorDefault": True, "rules": [PODS]}}
    ),
    RoleCase(ROLE_TEMPLATES, {"spec": {"context": "project"}, "rules": [PODS]}, refused=TWICE),
    RoleCase(ROLE_TEMPLATES, {"context": "world"}, refused="context is cluster, project or empty"),
    RoleCase(ROLE_TEMPLATES, {"spec": {"context": "x"}}, refused="context is cluster, project or empty"),
    RoleCase(ROLE_TEMPLATES, {"context": "project", "administrative": True}, refused="administrative is for"),
    RoleCase(
        ROLE_TEMPLATES,
        {"spec": {"context": "project", "clusterCreatorDefault": True}},
        refused="clusterCreatorDefault is for",
    ),
    RoleCase(
        ROLE_TEMPLATES,
        {"context": "cluster", "projectCreatorDefault": True},
        refused="projectCreatorDefault is for",
    ),
    RoleCase(ROLE_TEMPLATES, {"rules": [{"verbs": ["get"]}]}, refused=LACKING),
    RoleCase(
        ROLE_TEMPLATES, {"spec": {"rules": [{"resources": ["pods"], "verbs": ["get"]}]}}, refused=LACKING
    ),
    RoleCase(ROLE_TEMPLATES, {"rules": [without(PODS, "verbs")]}, refused=LACKING),
    RoleCase(ROLE_TEMPLATES, {"externalRules": [{"verbs": []}]}, refused=LACKING),
    RoleCase(ROLE_TEMPLATES, {"roleTemplateNames": ["view", "loop"]}, refused=CIRCULAR, name="loop"),
    RoleCase(ROLE_TEMPLATES, {"context": "cluster"}, {"builtin": True}, ORIGIN),
    RoleCase(ROLE_TEMPLATES, {"spec": {"builtin": True}}, {"spec": {"builtin": None}}, ORIGIN),
    RoleCase(
        ROLE_TEMPLATES,
        {"spec": {"context": "cluster"}},
        {"spec": None, "context": "cluster", "rules": [PODS]},
    ),
    RoleCase(GLOBAL_ROLES, {"rules": [PODS], "namespacedRules": {"default": [PODS]}}),
    RoleCase(GLOBAL_ROLES, {"spec": {"rules": [PODS], "inheritedClusterRoles": ["ops"]}}),
    RoleCase(GLOBAL_ROLES, {"spec": {}, "rules": [PODS]}, refused=TWICE),
    RoleCase(GLOBAL_ROLES, {"namespacedRules": {"default": [{"verbs": ["*"]}]}}, refused=LACKING),
    RoleCase(GLOBAL_ROLES, {"rules": [PODS]}, {"builtin": True}, ORIGIN),
]
BINDINGS = [
    RoleCase(GLOBAL_ROLE_BINDINGS, GRB),
    RoleCase(GLOBAL_ROLE_BINDINGS, {"spec": GRB}),
    RoleCase(GLOBAL_ROLE_BINDINGS, {"spec": GRB, "userName": "bob"}, refused=TWICE),
    RoleCase(GLOBAL_ROLE_BINDINGS, GRB, {"userPrincipalName": "local://ann"}),
    RoleCase(
        GLOBAL_ROLE_BINDINGS,
        GRB | {"groupPrincipalName": "okta_group://x"},
        refused="bindings can not set both userName/userPrincipalName and groupPrincipalName",
    ),
    RoleCase(GLOBAL_ROLE_BINDINGS, without(GRB, "userName"), refused=TARGET),
    RoleCase(GLOBAL_ROLE_BINDINGS, without(GRB, "globalRoleName"), refused="must name the global role"),
    RoleCase(GLOBAL_ROLE_BINDINGS, GRB, {"globalRoleName": "admin"}, NEW_ONE),
    RoleCase(GLOBAL_ROLE_BINDINGS, {"spec": GRB}, {"spec": {"globalRoleName": "admin"}}, NEW_ONE),
    RoleCase(GLOBAL_ROLE_BINDINGS, GRB, {"spec": GRB | {"userName": "bob"}, **dict.fromkeys(GRB)}, NEW_ONE),
    RoleCase(GLOBAL_ROLE_BINDINGS, GRB, {"spec": GRB, **dict.fromkeys(GRB)}),
    RoleCase(CLUSTER_ROLE_TEMPLATE_BINDINGS, CRTB),
    RoleCase(CLUSTER_ROLE_TEMPLATE_BINDINGS, {"spec": CRTB}),
    RoleCase(CLUSTER_ROLE_TEMPLATE_BINDINGS, {"spec": CRTB, "groupName": "g"}, refused=TWICE),
    RoleCase(CLUSTER_ROLE_TEMPLATE_BINDINGS, CRTB | {"groupName": "g"}, refused=TARGET),
    RoleCase(CLUSTER_ROLE_TEMPLATE_BINDINGS, without(CRTB, "userName"), refused=TARGET),
    RoleCase(CLUSTER_ROLE_TEMPLATE_BINDINGS, without(CRTB, "clusterName"), refused="must name the cluster"),
    RoleCase(
        CLUSTER_ROLE_TEMPLATE_BINDINGS,
        without(CRTB, "roleTemplateName"),
        refused="the referenced role template was not found",
    ),
    RoleCase(CLUSTER_ROLE_TEMPLATE_BINDINGS, CRTB, {"userName": "bob"}, NEW_ONE),
    RoleCase(CLUSTER_ROLE_TEMPLATE_BINDINGS, CRTB, {"roleTemplateName": "cluster-owner"}, NEW_ONE),
    RoleCase(CLUSTER_ROLE_TEMPLATE_BINDINGS, CRTB, {"clusterName": "local"}, NEW_ONE),
    RoleCase(CLUSTER_ROLE_TEMPLATE_BINDINGS, {"spec": CRTB}, {"spec": {"userName": "bob"}}, NEW_ONE),
    RoleCase(PROJECT_ROLE_TEMPLATE_BINDINGS, PRTB),
    RoleCase(PROJECT_ROLE_TEMPLATE_BINDINGS, {"spec": PRTB}),
    RoleCase(
        PROJECT_ROLE_TEMPLATE_BINDINGS,
        without(PRTB, "groupPrincipalName") | {"serviceAccount": "kube-system:x"},
    ),
    RoleCase(PROJECT_ROLE_TEMPLATE_BINDINGS, PRTB | {"serviceAccount": "a:b"}, refused=TARGET),
    RoleCase(PROJECT_ROLE_TEMPLATE_BINDINGS, PRTB | {"projectName": "p-1"}, refused="must be of the form"),
    RoleCase(PROJECT_ROLE_TEMPLATE_BINDINGS, PRTB, {"projectName": "c:p-2"}, NEW_ONE),
    RoleCase(PROJECT_ROLE_TEMPLATE_BINDINGS, PRTB, {"serviceAccount": "a:b"}, NEW_ONE),
    RoleCase(PROJECT_ROLE_BINDINGS, {"spec": PRTB | {"projectName": "project-id"}}),
    RoleCase(PROJECT_ROLE_BINDINGS, PRTB | {"projectName": "a:b:c"}, refused="must be the name of a project"),
    RoleCase(PROJECT_ROLE_BINDINGS, PRTB, {"roleTemplateName": "x"}, NEW_ONE),
]
OTHERS = [
    RoleCase(PROJECTS, {"spec": {"clusterName": NAMESPACE, "displayName": "one"}}),
    RoleCase(
        PROJECTS,
        {"spec": {"clusterName": NAMESPACE}},
        {"spec": {"clusterName": "other"}},
        "a project stays in its cluster",
    ),
]
CASES = [*ROLES, *BINDINGS, *OTHERS]
