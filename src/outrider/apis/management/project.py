"""projects.management.cattle.io: groups of namespaces of a cluster (spec: auth §3.11)."""

from typing import Annotated, ClassVar

import msgspec

from outrider.apis.crd import AGE, Column, Resource, immutable
from outrider.apis.management.group import GROUP, VERSION
from outrider.apis.schema import Shape, prop
from outrider.kube.kind import Kind
from outrider.kube.meta import Condition, Object


class ProjectQuota(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What all namespaces of the project together may use."""

    limit: Annotated[dict[str, str] | None, prop("Quantities by resource, such as limitsCpu.")] = None
    used_limit: Annotated[dict[str, str] | None, prop("How much of it is given to namespaces.")] = None


class NamespaceQuota(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What each namespace of the project may use unless it says something else."""

    limit: Annotated[dict[str, str] | None, prop("Quantities by resource, such as limitsCpu.")] = None


class ContainerLimit(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What a container gets that asks for nothing."""

    requests_cpu: Annotated[str, prop("CPU that it is sure to get.")] = ""
    requests_memory: Annotated[str, prop("Memory that it is sure to get.")] = ""
    limits_cpu: Annotated[str, prop("CPU that it may use at most.")] = ""
    limits_memory: Annotated[str, prop("Memory that it may use at most.")] = ""


class ProjectSpec(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What is wanted of a project."""

    shape: ClassVar[Shape] = Shape(rules=(immutable("clusterName", why="a project stays in its cluster"),))

    cluster_name: Annotated[
        str,
        prop(
            "Id of the cluster, and the namespace of this object.", required=True, min_length=1, max_length=63
        ),
    ] = ""
    display_name: Annotated[str, prop("The name that people see.")] = ""
    description: Annotated[str, prop("Free text about the project.")] = ""
    resource_quota: Annotated[ProjectQuota | None, prop("What all its namespaces together may use.")] = None
    namespace_default_resource_quota: Annotated[
        NamespaceQuota | None, prop("What each of its namespaces may use.")
    ] = None
    container_default_resource_limit: Annotated[
        ContainerLimit | None, prop("What containers get that ask for nothing.")
    ] = None


class ProjectStatus(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What is known of a project."""

    backing_namespace: Annotated[
        str, prop("Namespace of the management cluster that holds what belongs to the project.")
    ] = ""
    conditions: Annotated[
        list[Condition], prop("Details of the state, one entry a type.", list_keys=("type",))
    ] = []


class Project(Object, kw_only=True):
    """A group of namespaces of one cluster, to which people are given access together."""

    resource: ClassVar[Resource] = Resource(
        status=True,
        columns=(
            Column("Display Name", ".spec.displayName", description="The name that people see."),
            Column("Namespace", ".status.backingNamespace", description="Where its bindings are."),
            AGE,
        ),
    )

    spec: Annotated[ProjectSpec, prop("What is wanted of the project.", required=True)] = msgspec.field(
        default_factory=ProjectSpec
    )
    status: Annotated[ProjectStatus, prop("What is known of the project.")] = msgspec.field(
        default_factory=ProjectStatus
    )


PROJECTS: Kind[Project] = Kind(
    group=GROUP, version=VERSION, plural="projects", kind="Project", namespaced=True, type=Project
)
