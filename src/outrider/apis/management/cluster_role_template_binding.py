"""clusterroletemplatebindings.management.cattle.io: who has which role in a cluster (spec: auth §3.4)."""

from typing import Annotated, ClassVar

from outrider.apis.crd import Resource
from outrider.apis.management.group import GROUP, VERSION
from outrider.apis.management.subject import (
    ROLE_COLUMN,
    SUBJECT_COLUMNS,
    TEMPLATE_RULES,
    TemplateBinding,
    needed,
    one_subject,
)
from outrider.apis.schema import Shape, prop
from outrider.apis.spelling import fixed
from outrider.kube.kind import Kind


class ClusterRoleTemplateBinding(TemplateBinding, kw_only=True):
    """Gives a role template to a user or a group in the cluster whose namespace it is in."""

    shape: ClassVar[Shape] = Shape(
        rules=(
            one_subject(("userName", "userPrincipalName"), ("groupName", "groupPrincipalName")),
            needed("clusterName", "clusterName must name the cluster, which is the namespace of the binding"),
            fixed("clusterName", why="make another binding"),
            *TEMPLATE_RULES,
        )
    )
    resource: ClassVar[Resource] = Resource(
        spelled=True,
        status=True,
        columns=(ROLE_COLUMN, *SUBJECT_COLUMNS),
    )

    cluster_name: Annotated[
        str, prop("Id of the cluster, and the namespace of this object.", max_length=63)
    ] = ""


CLUSTER_ROLE_TEMPLATE_BINDINGS: Kind[ClusterRoleTemplateBinding] = Kind(
    group=GROUP,
    version=VERSION,
    plural="clusterroletemplatebindings",
    kind="ClusterRoleTemplateBinding",
    namespaced=True,
    type=ClusterRoleTemplateBinding,
)
