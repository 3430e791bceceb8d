"""fleetworkspaces.management.cattle.io: namespaces that clusters are grouped in for GitOps (spec: clusters §0.1)."""

from typing import Annotated, ClassVar

import msgspec

from outrider.apis.crd import AGE, Resource
from outrider.apis.management.group import GROUP, VERSION
from outrider.apis.schema import prop
from outrider.kube.kind import Kind
from outrider.kube.meta import Condition, Object


class FleetWorkspaceStatus(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What is known of a workspace."""

    conditions: Annotated[
        list[Condition], prop("Details of the state, one entry a type.", list_keys=("type",))
    ] = []


class FleetWorkspace(Object, kw_only=True):
    """A workspace: the namespace of its name holds the clusters that are in it, and what is deployed to them."""

    resource: ClassVar[Resource] = Resource(columns=(AGE,))

    status: Annotated[FleetWorkspaceStatus, prop("What is known of the workspace.")] = msgspec.field(
        default_factory=FleetWorkspaceStatus
    )


FLEET_WORKSPACES: Kind[FleetWorkspace] = Kind(
    group=GROUP,
    version=VERSION,
    plural="fleetworkspaces",
    kind="FleetWorkspace",
    namespaced=False,
    type=FleetWorkspace,
)
