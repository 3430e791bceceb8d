"""globalrolebindings.management.cattle.io: who has a global role (spec: auth §3.2). The fields are flat."""

from typing import Annotated, ClassVar

from outrider.apis.crd import AGE, Column, Resource
from outrider.apis.management.binding_status import Binding
from outrider.apis.management.group import GROUP, VERSION
from outrider.apis.management.subject import MAX_NAME, MAX_PRINCIPAL, fixed_subject, needed, one_subject
from outrider.apis.schema import Rule, Shape, prop
from outrider.apis.spelling import fixed, said
from outrider.kube.kind import Kind

_FORMS = "bindings can not set both userName/userPrincipalName and groupPrincipalName"


class GlobalRoleBinding(Binding, kw_only=True):
    """Gives a global role to a user or to a group."""

    shape: ClassVar[Shape] = Shape(
        rules=(
            Rule(
                f"!(({said('userName')} != '' || {said('userPrincipalName')} != '')"
                f" && {said('groupPrincipalName')} != '')",
                _FORMS,
            ),
            one_subject(("userName", "userPrincipalName"), ("groupPrincipalName",)),
            needed("globalRoleName", "globalRoleName must name the global role to give"),
            fixed("globalRoleName", why="make another binding"),
            *fixed_subject("userName", "userPrincipalName", "groupPrincipalName"),
        )
    )
    resource: ClassVar[Resource] = Resource(
        spelled=True,
        status=True,
        columns=(
            Column("Role", ".globalRoleName", description="The global role."),
            Column("User", ".userName", description="The user who has it."),
            Column("Group", ".groupPrincipalName", description="The group whose members have it."),
            Column("Summary", ".status.summary", description="How far it is in effect."),
            AGE,
        ),
    )

    global_role_name: Annotated[str, prop("The global role.", max_length=MAX_NAME)] = ""
    user_name: Annotated[str, prop("Name of the user who has it.", max_length=MAX_NAME)] = ""
    user_principal_name: Annotated[str, prop("The user's principal.", max_length=MAX_PRINCIPAL)] = ""
    group_principal_name: Annotated[
        str, prop("Principal of the group whose members have it.", max_length=MAX_PRINCIPAL)
    ] = ""


GLOBAL_ROLE_BINDINGS: Kind[GlobalRoleBinding] = Kind(
    group=GROUP,
    version=VERSION,
    plural="globalrolebindings",
    kind="GlobalRoleBinding",
    namespaced=False,
    type=GlobalRoleBinding,
)
