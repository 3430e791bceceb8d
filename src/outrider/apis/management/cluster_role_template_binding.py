"""clusterroletemplatebindings.management.cattle.io: who has which role in a cluster (spec: auth §3.4)."""

from typing import Annotated, ClassVar

from outrider.apis.crd import AGE, Column, Resource
from outrider.apis.management.binding_status import Binding
from outrider.apis.management.group import GROUP, VERSION
from outrider.apis.management.subject import MAX_NAME, MAX_PRINCIPAL, fixed_subject, needed, one_subject
from outrider.apis.schema import Shape, prop
from outrider.apis.spelling import fixed
from outrider.kube.kind import Kind


class ClusterRoleTemplateBinding(Binding, kw_only=True):
    """Gives a role template to a user or a group in the cluster whose namespace it is in."""

    shape: ClassVar[Shape] = Shape(
        rules=(
            one_subject(("userName", "userPrincipalName"), ("groupName", "groupPrincipalName")),
            needed("clusterName", "clusterName must name the cluster, which is the namespace of the binding"),
            needed(
                "roleTemplateName", "the referenced role template was not found: roleTemplateName is empty"
            ),
            fixed("clusterName", why="make another binding"),
            fixed("roleTemplateName", why="make another binding"),
            *fixed_subject("userName", "userPrincipalName", "groupName", "groupPrincipalName"),
        )
    )
    resource: ClassVar[Resource] = Resource(
        spelled=True,
        status=True,
        columns=(
            Column("Role", ".roleTemplateName", description="The role template."),
            Column("User", ".userName", description="The user who has it."),
            Column("Group", ".groupPrincipalName", description="The group whose members have it."),
            Column("Summary", ".status.summary", description="How far it is in effect."),
            AGE,
        ),
    )

    cluster_name: Annotated[
        str, prop("Id of the cluster, and the namespace of this object.", max_length=63)
    ] = ""
    role_template_name: Annotated[str, prop("The role template.", max_length=MAX_NAME)] = ""
    user_name: Annotated[str, prop("Name of the user who has it.", max_length=MAX_NAME)] = ""
    user_principal_name: Annotated[str, prop("The user's principal.", max_length=MAX_PRINCIPAL)] = ""
    group_name: Annotated[str, prop("Name of the group whose members have it.", max_length=MAX_PRINCIPAL)] = (
        ""
    )
    group_principal_name: Annotated[
        str, prop("Principal of the group whose members have it.", max_length=MAX_PRINCIPAL)
    ] = ""


CLUSTER_ROLE_TEMPLATE_BINDINGS: Kind[ClusterRoleTemplateBinding] = Kind(
    group=GROUP,
    version=VERSION,
    plural="clusterroletemplatebindings",
    kind="ClusterRoleTemplateBinding",
    namespaced=True,
    type=ClusterRoleTemplateBinding,
)
