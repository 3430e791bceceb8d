"""projectroletemplatebindings.management.cattle.io, and its alias projectrolebindings (spec: auth §3.4, §7)."""

from typing import Annotated, ClassVar

from outrider.apis.crd import Column, Resource
from outrider.apis.management.group import GROUP, VERSION
from outrider.apis.management.subject import (
    MAX_NAME,
    MAX_PRINCIPAL,
    ROLE_COLUMN,
    SUBJECT_COLUMNS,
    TEMPLATE_RULES,
    TemplateBinding,
    one_subject,
)
from outrider.apis.schema import Rule, Shape, prop
from outrider.apis.spelling import fixed, said
from outrider.kube.kind import Kind

_NAMED = "projectName must be of the form cluster.metadata.name:project.metadata.name"
_RULES = (
    one_subject(("userName", "userPrincipalName"), ("groupName", "groupPrincipalName"), ("serviceAccount",)),
    fixed("projectName", why="make another binding"),
    fixed("serviceAccount", why="make another binding"),
    *TEMPLATE_RULES,
)
_COLUMNS = (
    Column("Project", ".projectName", description="The project, as cluster:project."),
    ROLE_COLUMN,
    *SUBJECT_COLUMNS,
)


class _Fields(TemplateBinding, kw_only=True):
    project_name: Annotated[str, prop("The project, as cluster:project.", max_length=MAX_NAME)] = ""
    service_account: Annotated[
        str, prop("Service account of the cluster that has it, as namespace:name.", max_length=MAX_PRINCIPAL)
    ] = ""


class ProjectRoleTemplateBinding(_Fields, kw_only=True):
    """Gives a role template to a user, a group or a service account in all namespaces of a project."""

    shape: ClassVar[Shape] = Shape(
        rules=(Rule(f"{said('projectName')}.matches('^[^:]+:[^:]+$')", _NAMED, field=".projectName"), *_RULES)
    )
    resource: ClassVar[Resource] = Resource(spelled=True, status=True, columns=_COLUMNS)


class ProjectRoleBinding(_Fields, kw_only=True):
    """Another name for a ProjectRoleTemplateBinding: one is made of it, and goes with it."""

    shape: ClassVar[Shape] = Shape(
        rules=(
            Rule(
                f"{said('projectName')}.matches('^([^:]+:)?[^:]+$')",
                "projectName must be the name of a project, or cluster:project",
                field=".projectName",
            ),
            *_RULES,
        )
    )
    resource: ClassVar[Resource] = Resource(spelled=True, status=True, columns=_COLUMNS)


PROJECT_ROLE_TEMPLATE_BINDINGS: Kind[ProjectRoleTemplateBinding] = Kind(
    group=GROUP,
    version=VERSION,
    plural="projectroletemplatebindings",
    kind="ProjectRoleTemplateBinding",
    namespaced=True,
    type=ProjectRoleTemplateBinding,
)
PROJECT_ROLE_BINDINGS: Kind[ProjectRoleBinding] = Kind(
    group=GROUP,
    version=VERSION,
    plural="projectrolebindings",
    kind="ProjectRoleBinding",
    namespaced=True,
    type=ProjectRoleBinding,
)
