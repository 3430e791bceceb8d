"""globalrolebindings.management.cattle.io: who has a global role (spec: auth §3.2). The fields are flat."""

from typing import Annotated, ClassVar

from outrider.apis.crd import Column, Resource
from outrider.apis.management.group import GROUP, VERSION
from outrider.apis.management.subject import (
    MAX_NAME,
    SUBJECT_COLUMNS,
    SubjectBinding,
    fixed_subject,
    needed,
    one_subject,
)
from outrider.apis.schema import Rule, Shape, prop
from outrider.apis.spelling import fixed, said
from outrider.kube.kind import Kind

_FORMS = "bindings can not set both userName/userPrincipalName and groupPrincipalName"


class GlobalRoleBinding(SubjectBinding, kw_only=True):
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
        columns=(Column("Role", ".globalRoleName", description="The global role."), *SUBJECT_COLUMNS),
    )

    global_role_name: Annotated[str, prop("The global role.", max_length=MAX_NAME)] = ""


GLOBAL_ROLE_BINDINGS: Kind[GlobalRoleBinding] = Kind(
    group=GROUP,
    version=VERSION,
    plural="globalrolebindings",
    kind="GlobalRoleBinding",
    namespaced=False,
    type=GlobalRoleBinding,
)
