"""projectnetworkpolicies.management.cattle.io: says of a project that it is isolated (spec: fleet §6.3)."""

from typing import Annotated, ClassVar

import msgspec

from outrider.apis.crd import AGE, Column, Resource
from outrider.apis.management.group import GROUP, VERSION
from outrider.apis.management.subject import MAX_NAME
from outrider.apis.schema import prop
from outrider.kube.kind import Kind
from outrider.kube.meta import Object


class ProjectNetworkPolicySpec(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What is isolated."""

    project_name: Annotated[str, prop("The project, as cluster:project.", max_length=MAX_NAME)] = ""
    description: Annotated[str, prop("Free text about it.")] = ""


class ProjectNetworkPolicy(Object, kw_only=True):
    """There is one for each project whose namespaces cannot be reached from other projects, made by the server."""

    resource: ClassVar[Resource] = Resource(
        columns=(Column("Project", ".spec.projectName", description="The project that is isolated."), AGE)
    )

    spec: Annotated[ProjectNetworkPolicySpec, prop("What is isolated.")] = msgspec.field(
        default_factory=ProjectNetworkPolicySpec
    )


PROJECT_NETWORK_POLICIES: Kind[ProjectNetworkPolicy] = Kind(
    group=GROUP,
    version=VERSION,
    plural="projectnetworkpolicies",
    kind="ProjectNetworkPolicy",
    namespaced=True,
    type=ProjectNetworkPolicy,
)
