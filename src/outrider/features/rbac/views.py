"""Roles, their bindings and projects in `/v3` (contract: auth §0, §3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from outrider.apis.management.cluster_role_template_binding import CLUSTER_ROLE_TEMPLATE_BINDINGS
from outrider.apis.management.global_role import GLOBAL_ROLES
from outrider.apis.management.global_role_binding import GLOBAL_ROLE_BINDINGS
from outrider.apis.management.project import PROJECTS
from outrider.apis.management.project_role_template_binding import PROJECT_ROLE_TEMPLATE_BINDINGS
from outrider.apis.management.role_template import ROLE_TEMPLATES
from outrider.apis.norman import NormanError
from outrider.apis.views.call import Call
from outrider.apis.views.view import Access, Context, Field, InCluster, Placement, View
from outrider.kube.kind import Kind

_SUBJECT: Final = {
    "userName": "userId",
    "userPrincipalName": "userPrincipalId",
    "groupName": "groupId",
    "groupPrincipalName": "groupPrincipalId",
}
_SUBJECT_FIELDS: Final = {
    "userId": Field(access=Access.CREATE, type="reference[user]"),
    "userPrincipalId": Field(access=Access.CREATE, type="reference[principal]"),
    "groupId": Field(access=Access.CREATE, type="reference[group]"),
    "groupPrincipalId": Field(access=Access.CREATE, type="reference[principal]"),
}
_BUILTIN: Final = Field(access=Access.READ, absent=False)


@dataclass(frozen=True)
class InProject:
    """The namespace is the one behind the project whose id (`<cluster>:<name>`) `field` holds."""

    field: str = "projectId"

    async def namespace(self, call: Call, value: str) -> str:
        """The backing namespace, as the user sees the project. Raises NormanError (422), ApiError."""
        cluster, colon, name = value.partition(":")
        if not colon or not cluster or not name:
            raise NormanError(
                422, f"{self.field} is <cluster>:<project>", code="InvalidReference", field=self.field
            )
        project = await call.client.get(PROJECTS, name, cluster)
        if not project.status.backing_namespace:
            raise NormanError(409, f"project {value} is not ready yet: try again in a moment")
        return project.status.backing_namespace


def role_views() -> list[View]:
    """The views."""
    return [
        View(
            kind=GLOBAL_ROLES,
            type="globalRole",
            plural="globalRoles",
            names={"displayName": "name"},
            fields={"builtin": _BUILTIN, "newUserDefault": Field(absent=False)},
            generate_name="gr-",
        ),
        View(
            kind=GLOBAL_ROLE_BINDINGS,
            type="globalRoleBinding",
            plural="globalRoleBindings",
            names={**_SUBJECT, "globalRoleName": "globalRoleId"},
            fields={
                **_SUBJECT_FIELDS,
                "globalRoleId": Field(access=Access.CREATE, type="reference[globalRole]", required=True),
            },
            generate_name="grb-",
        ),
        View(
            kind=ROLE_TEMPLATES,
            type="roleTemplate",
            plural="roleTemplates",
            names={"displayName": "name", "roleTemplateNames": "roleTemplateIds"},
            fields={
                "builtin": _BUILTIN,
                "context": Field(options=("", "cluster", "project")),
                "roleTemplateIds": Field(type="array[reference[roleTemplate]]"),
            },
            generate_name="rt-",
        ),
        _bindings(CLUSTER_ROLE_TEMPLATE_BINDINGS, "cluster", InCluster(), "crtb-"),
        _bindings(PROJECT_ROLE_TEMPLATE_BINDINGS, "project", InProject(), "prtb-"),
        View(
            kind=PROJECTS,
            type="project",
            plural="projects",
            names={"displayName": "name", "clusterName": "clusterId"},
            fields={"clusterId": Field(access=Access.CREATE, type="reference[cluster]", required=True)},
            placement=InCluster(),
            generate_name="p-",
            links=("projectRoleTemplateBindings", "schemas", "subscribe", "pods", "workloads"),
            opens=Context.PROJECT,
        ),
    ]


def _bindings(kind: Kind[Any], place: str, placement: Placement, prefix: str) -> View:
    """Bindings of role templates in clusters, or in projects."""
    name = f"{place}RoleTemplateBinding"
    return View(
        kind=kind,
        type=name,
        plural=f"{name}s",
        names={**_SUBJECT, f"{place}Name": f"{place}Id", "roleTemplateName": "roleTemplateId"},
        fields={
            **_SUBJECT_FIELDS,
            f"{place}Id": Field(access=Access.CREATE, type=f"reference[{place}]", required=True),
            "roleTemplateId": Field(access=Access.CREATE, type="reference[roleTemplate]", required=True),
        },
        placement=placement,
        generate_name=prefix,
    )
