"""globalroles.management.cattle.io: roles on the management plane itself (spec: auth §3.1). The fields are flat."""

from typing import Annotated, ClassVar

import msgspec

from outrider.apis.crd import AGE, Column, Resource
from outrider.apis.management.binding_status import BindingCondition
from outrider.apis.management.group import GROUP, VERSION
from outrider.apis.management.policy_rule import MAX_RULES, PolicyRule
from outrider.apis.schema import Shape, prop
from outrider.apis.spelling import Spelled, fixed
from outrider.kube.kind import Kind

_NAMESPACES = 20
_EACH = 50

NamespaceRules = Annotated[tuple[PolicyRule, ...], prop("Rules in that namespace.", max_items=_EACH)]


class FleetWorkspacePermission(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What a global role allows in every workspace but the local one."""

    resource_rules: Annotated[
        tuple[PolicyRule, ...] | None, prop("Rules within the workspaces.", max_items=_EACH)
    ] = None
    workspace_verbs: Annotated[
        tuple[str, ...] | None, prop("Verbs on the workspaces themselves.", max_items=_EACH)
    ] = None


class GlobalRoleStatus(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """How far a global role is in effect."""

    observed_generation: Annotated[int, prop("The generation in effect.")] = 0
    last_update_time: Annotated[str, prop("When the status last changed (RFC 3339).")] = ""
    summary: Annotated[str, prop("Completed, InProgress, Error or Terminating.")] = ""
    conditions: Annotated[
        list[BindingCondition], prop("Details, one entry a type.", list_keys=("type",))
    ] = []


class GlobalRole(Spelled, kw_only=True):
    """A role on the management plane, and through it in every cluster."""

    shape: ClassVar[Shape] = Shape(
        rules=(fixed("builtin", default="false", why="it says where the role comes from"),)
    )
    resource: ClassVar[Resource] = Resource(
        spelled=True,
        status=True,
        columns=(
            Column("Display Name", ".displayName", description="The name that people see."),
            Column(
                "New User Default", ".newUserDefault", type="boolean", description="Whether new users get it."
            ),
            AGE,
            Column("Builtin", ".builtin", type="boolean", description="Whether it came with us.", wide=True),
        ),
    )

    display_name: Annotated[str, prop("The name that people see.")] = ""
    description: Annotated[str, prop("Free text about the role.")] = ""
    rules: Annotated[
        tuple[PolicyRule, ...] | None, prop("What it allows in the management cluster.", max_items=MAX_RULES)
    ] = None
    new_user_default: Annotated[bool, prop("Whether new users are given this role.")] = False
    builtin: Annotated[bool, prop("Whether it came with the management plane and is kept by it.")] = False
    inherited_cluster_roles: Annotated[
        tuple[str, ...] | None,
        prop("Role templates of context cluster that it gives in every cluster but local.", max_items=100),
    ] = None
    namespaced_rules: Annotated[
        dict[str, NamespaceRules] | None,
        prop("Rules by namespace of the management cluster.", max_properties=_NAMESPACES),
    ] = None
    inherited_namespaced_rules: Annotated[
        dict[str, NamespaceRules] | None,
        prop("Rules by namespace of every other cluster.", max_properties=_NAMESPACES),
    ] = None
    inherited_fleet_workspace_permissions: Annotated[
        FleetWorkspacePermission | None, prop("What it allows in workspaces.")
    ] = None
    status: Annotated[GlobalRoleStatus, prop("How far it is in effect.")] = msgspec.field(
        default_factory=GlobalRoleStatus
    )


GLOBAL_ROLES: Kind[GlobalRole] = Kind(
    group=GROUP, version=VERSION, plural="globalroles", kind="GlobalRole", namespaced=False, type=GlobalRole
)
