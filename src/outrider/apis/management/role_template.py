"""roletemplates.management.cattle.io: roles in clusters and projects (spec: auth §3.3). The fields are flat."""

from typing import Annotated, ClassVar

from outrider.apis.crd import AGE, Column, Resource
from outrider.apis.management.group import GROUP, VERSION
from outrider.apis.management.policy_rule import MAX_RULES, PolicyRule
from outrider.apis.schema import Rule, Shape, prop
from outrider.apis.spelling import Spelled, fixed, said
from outrider.kube.kind import Kind

CLUSTER = "cluster"
PROJECT = "project"


def _only(flag: str, context: str) -> Rule:
    return Rule(
        f"!{said(flag, 'false')} || {said('context')} == '{context}'",
        f"{flag} is for role templates of context {context} only",
        field=f".{flag}",
    )


class RoleTemplate(Spelled, kw_only=True):
    """A role that bindings give to people in a cluster or in a project."""

    shape: ClassVar[Shape] = Shape(
        rules=(
            Rule(
                f"{said('context')} in ['', 'cluster', 'project']",
                "context is cluster, project or empty",
                field=".context",
            ),
            _only("administrative", CLUSTER),
            _only("clusterCreatorDefault", CLUSTER),
            _only("projectCreatorDefault", PROJECT),
            Rule(
                f"!(self.metadata.name in {said('roleTemplateNames', '[]')})",
                "a role template cannot inherit from itself: that is circular",
                field=".roleTemplateNames",
            ),
            fixed("builtin", default="false", why="it says where the role comes from"),
        )
    )
    resource: ClassVar[Resource] = Resource(
        spelled=True,
        columns=(
            Column("Display Name", ".displayName", description="The name that people see."),
            Column("Context", ".context", description="Where it can be bound: cluster or project."),
            Column(
                "Locked", ".locked", type="boolean", description="Whether no new binding can be made with it."
            ),
            AGE,
            Column("Builtin", ".builtin", type="boolean", description="Whether it came with us.", wide=True),
        ),
    )

    display_name: Annotated[str, prop("The name that people see.")] = ""
    description: Annotated[str, prop("Free text about the role.")] = ""
    context: Annotated[str, prop("Where it can be bound: cluster, project, or empty for neither.")] = ""
    rules: Annotated[
        tuple[PolicyRule, ...] | None,
        prop("What the role allows, beside what it inherits.", max_items=MAX_RULES),
    ] = None
    role_template_names: Annotated[
        tuple[str, ...] | None,
        prop("Role templates that it inherits from: it allows all that they do.", max_items=100),
    ] = None
    external: Annotated[
        bool, prop("Whether a ClusterRole of the same name, which exists in the cluster, holds the rules.")
    ] = False
    external_rules: Annotated[
        tuple[PolicyRule, ...] | None,
        prop(
            "What an external role is taken to allow when it is judged who may give it to others.",
            max_items=MAX_RULES,
        ),
    ] = None
    locked: Annotated[bool, prop("Whether no new binding can be made with it; old ones go on.")] = False
    hidden: Annotated[bool, prop("Whether user interfaces leave it out.")] = False
    builtin: Annotated[bool, prop("Whether it came with the management plane and is kept by it.")] = False
    administrative: Annotated[bool, prop("Whether user interfaces mark it as for administrators.")] = False
    cluster_creator_default: Annotated[
        bool, prop("Whether whoever creates a cluster is given this role in it.")
    ] = False
    project_creator_default: Annotated[
        bool, prop("Whether whoever creates a project is given this role in it.")
    ] = False


ROLE_TEMPLATES: Kind[RoleTemplate] = Kind(
    group=GROUP,
    version=VERSION,
    plural="roletemplates",
    kind="RoleTemplate",
    namespaced=False,
    type=RoleTemplate,
)
