"""projectroletemplatebindings.management.cattle.io, and its alias projectrolebindings (spec: auth §3.4, §7)."""

from typing import Annotated, ClassVar

from outrider.apis.crd import AGE, Column, Resource
from outrider.apis.management.binding_status import Binding
from outrider.apis.management.group import GROUP, VERSION
from outrider.apis.management.subject import MAX_NAME, MAX_PRINCIPAL, fixed_subject, needed, one_subject
from outrider.apis.schema import Rule, Shape, prop
from outrider.apis.spelling import fixed, said
from outrider.kube.kind import Kind

_NAMED = "projectName must be of the form cluster.metadata.name:project.metadata.name"
_RULES = (
    one_subject(("userName", "userPrincipalName"), ("groupName", "groupPrincipalName"), ("serviceAccount",)),
    needed("roleTemplateName", "the referenced role template was not found: roleTemplateName is empty"),
    fixed("projectName", why="make another binding"),
    fixed("roleTemplateName", why="make another binding"),
    fixed("serviceAccount", why="make another binding"),
    *fixed_subject("userName", "userPrincipalName", "groupName", "groupPrincipalName"),
)
_COLUMNS = (
    Column("Project", ".projectName", description="The project, as cluster:project."),
    Column("Role", ".roleTemplateName", description="The role template."),
    Column("User", ".userName", description="The user who has it."),
    Column("Group", ".groupPrincipalName", description="The group whose members have it."),
    Column("Summary", ".status.summary", description="How far it is in effect."),
    AGE,
)


class _Fields(Binding, kw_only=True):
    project_name: Annotated[str, prop("The project, as cluster:project.", max_length=MAX_NAME)] = ""
    role_template_name: Annotated[str, prop("The role template.", max_length=MAX_NAME)] = ""
    user_name: Annotated[str, prop("Name of the user who has it.", max_length=MAX_NAME)] = ""
    user_principal_name: Annotated[str, prop("The user's principal.", max_length=MAX_PRINCIPAL)] = ""
    group_name: Annotated[str, prop("Name of the group whose members have it.", max_length=MAX_PRINCIPAL)] = (
        ""
    )
    group_principal_name: Annotated[
        str, prop("Principal of the group whose members have it.", max_length=MAX_PRINCIPAL)
    ] = ""
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
