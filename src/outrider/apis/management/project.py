"""projects.management.cattle.io: groups of namespaces of a cluster (spec: auth §3.11)."""

from typing import Annotated, ClassVar

import msgspec

from outrider.apis.crd import AGE, Column, Resource, immutable
from outrider.apis.management.group import GROUP, VERSION
from outrider.apis.schema import Rule, Shape, prop
from outrider.kube.kind import Kind
from outrider.kube.meta import Condition, Object

_AMOUNTS = 30
Amount = Annotated[str, prop("A quantity, such as 500m or 2Gi.", max_length=64)]


def _at_most(amount: str, bound: str) -> str:
    """CEL: an amount does not exceed a bound, as far as both are given."""
    return f"({amount} == '' || {bound} == '' || quantity({amount}).compareTo(quantity({bound})) <= 0)"


def _quantities(field: str) -> Rule:
    """What stands there are amounts; empty ones are as good as absent."""
    each = f"self.{field}[name]"
    return Rule(
        f"!has(self.{field}) || self.{field}.all(name, {each} == '' || isQuantity({each}))",
        f"{field} takes quantities such as 500m, 2 or 1Gi",
        field=f".{field}",
    )


def _requests(resource: str) -> Rule:
    asked, bound = f"requests{resource}", f"limits{resource}"
    return Rule(
        f"!has(self.{asked}) || !has(self.{bound}) || {_at_most(f'self.{asked}', f'self.{bound}')}",
        f"{asked} must not be more than {bound}",
        field=f".{asked}",
    )


_LIMIT = "self.resourceQuota.limit"
_DEFAULT = "self.namespaceDefaultResourceQuota.limit"
_USED = "self.resourceQuota.usedLimit"
_HAS_LIMIT = "has(self.resourceQuota) && has(self.resourceQuota.limit)"
_HAS_DEFAULT = "has(self.namespaceDefaultResourceQuota) && has(self.namespaceDefaultResourceQuota.limit)"
_EACH_HAS_DEFAULT = Rule(
    f"!({_HAS_LIMIT}) || {_LIMIT}.all(name, {_LIMIT}[name] == '' || ({_HAS_DEFAULT} && name in {_DEFAULT}"
    f" && {_DEFAULT}[name] != '' && {_at_most(f'{_DEFAULT}[name]', f'{_LIMIT}[name]')}))",
    "namespaceDefaultResourceQuota needs an amount, and no larger one, for each amount of resourceQuota:"
    " it is what namespaces get that ask for nothing",
    field=".namespaceDefaultResourceQuota",
)
_NOT_LESS_THAN_USED = Rule(
    f"!({_HAS_LIMIT} && has({_USED})) || {_LIMIT}.all(name, !(name in {_USED})"
    f" || {_at_most(f'{_USED}[name]', f'{_LIMIT}[name]')})",
    "resourceQuota must not be less than what is in use (usedLimit): lower the quotas of its namespaces first",
    field=".resourceQuota",
)


class ProjectQuota(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What all namespaces of the project together may use."""

    shape: ClassVar[Shape] = Shape(rules=(_quantities("limit"), _quantities("usedLimit")))

    limit: Annotated[
        dict[str, Amount] | None,
        prop("Quantities by resource, such as limitsCpu.", max_properties=_AMOUNTS),
    ] = None
    used_limit: Annotated[
        dict[str, Amount] | None,
        prop("How much of it is given to namespaces; written by the server.", max_properties=_AMOUNTS),
    ] = None


class NamespaceQuota(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What each namespace of the project may use unless it says something else."""

    shape: ClassVar[Shape] = Shape(rules=(_quantities("limit"),))

    limit: Annotated[
        dict[str, Amount] | None,
        prop("Quantities by resource, such as limitsCpu.", max_properties=_AMOUNTS),
    ] = None


class ContainerLimit(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What a container gets that asks for nothing."""

    shape: ClassVar[Shape] = Shape(
        rules=(
            *(
                Rule(
                    f"!has(self.{field}) || self.{field} == '' || isQuantity(self.{field})",
                    f"{field} takes a quantity such as 500m, 2 or 1Gi",
                    field=f".{field}",
                )
                for field in ("requestsCpu", "requestsMemory", "limitsCpu", "limitsMemory")
            ),
            _requests("Cpu"),
            _requests("Memory"),
        )
    )

    requests_cpu: Annotated[str, prop("CPU that it is sure to get.", max_length=64)] = ""
    requests_memory: Annotated[str, prop("Memory that it is sure to get.", max_length=64)] = ""
    limits_cpu: Annotated[str, prop("CPU that it may use at most.", max_length=64)] = ""
    limits_memory: Annotated[str, prop("Memory that it may use at most.", max_length=64)] = ""


class ProjectSpec(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What is wanted of a project."""

    shape: ClassVar[Shape] = Shape(
        rules=(
            immutable("clusterName", why="a project stays in its cluster"),
            _EACH_HAS_DEFAULT,
            _NOT_LESS_THAN_USED,
        )
    )

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
