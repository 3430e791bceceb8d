"""kubeconfigs.ext.cattle.io: a kubeconfig for one, several or all clusters (contract: auth-and-rbac §1.12)."""

from typing import Annotated, ClassVar

import msgspec

from outrider.apis.crd import AGE, Column, Resource
from outrider.apis.ext.group import GROUP, VERSION
from outrider.apis.schema import Shape, prop
from outrider.kube.kind import Kind
from outrider.kube.meta import Condition, Object

KUBECONFIG = "kubeconfig"
ALL_CLUSTERS = "*"
COMPLETE = "Complete"
PENDING = "Pending"


class KubeconfigSpec(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What the kubeconfig leads to. Of an existing one, only the description can be changed."""

    shape: ClassVar[Shape] = Shape(closed=True)

    clusters: Annotated[
        list[str] | None,
        prop('Ids of clusters; "*" as the only one: every cluster that you may reach.', max_items=5000),
    ] = None
    current_context: Annotated[
        str, prop("Id of the cluster, or name of the context, to begin with. Default: the first.")
    ] = ""
    description: Annotated[str, prop("What the kubeconfig is for.", max_length=4096)] = ""
    ttl: Annotated[int, prop("Lifetime of its tokens in seconds; 0: the default.")] = 0
    include_default_entry: Annotated[
        bool | None, prop("Whether the server itself is a context, called rancher. Default: true.")
    ] = None


class KubeconfigStatus(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What became of it."""

    shape: ClassVar[Shape] = Shape(closed=True)

    conditions: Annotated[list[Condition] | None, prop("What was done, and with what success.")] = None
    summary: Annotated[str, prop("Pending, Complete or Error.")] = ""
    tokens: Annotated[list[str] | None, prop("Names of the tokens in it.")] = None
    value: Annotated[str, prop("The kubeconfig, as YAML; shown once, at creation.")] = ""


class Kubeconfig(Object, kw_only=True):
    """A kubeconfig with tokens of its own, which go when it is deleted. Each user sees their own."""

    shape: ClassVar[Shape] = Shape(closed=True)
    resource: ClassVar[Resource] = Resource(
        columns=(
            Column("TTL", ".spec.ttl", type="integer", description="Lifetime of its tokens in seconds."),
            Column("Status", ".status.summary", description="Pending, Complete or Error."),
            AGE,
            Column("User", r".metadata.labels.cattle\.io/user-id", description="Whose it is.", wide=True),
            Column("Clusters", ".spec.clusters", description="What it leads to.", wide=True),
            Column("Description", ".spec.description", description="What it is for.", wide=True),
        ),
    )

    spec: Annotated[KubeconfigSpec, prop("What it leads to.")] = msgspec.field(default_factory=KubeconfigSpec)
    status: Annotated[KubeconfigStatus, prop("What became of it.")] = msgspec.field(
        default_factory=KubeconfigStatus
    )


KUBECONFIGS: Kind[Kubeconfig] = Kind(
    group=GROUP, version=VERSION, plural="kubeconfigs", kind="Kubeconfig", namespaced=False, type=Kubeconfig
)
