"""nodedrivers and kontainerdrivers.management.cattle.io: how machines and hosted clusters are made (spec: §0.1)."""

from typing import Annotated, ClassVar

import msgspec

from outrider.apis.crd import AGE, Column, Resource
from outrider.apis.management.group import GROUP, VERSION
from outrider.apis.schema import prop
from outrider.kube.kind import Kind
from outrider.kube.meta import Condition, Object

_COLUMNS = (
    Column("Display Name", ".spec.displayName", description="The name that people see."),
    Column("Active", ".spec.active", type="boolean", description="Whether it is offered."),
    AGE,
    Column("URL", ".spec.url", description="Where its program is.", wide=True),
)


class DriverSpec(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What a driver is."""

    display_name: Annotated[str, prop("The name that people see.")] = ""
    description: Annotated[str, prop("Free text about the driver.")] = ""
    url: Annotated[str, prop("Where its program is.")] = ""
    ui_url: Annotated[str, prop("Where its part of the user interface is.")] = ""
    checksum: Annotated[str, prop("Digest of its program.")] = ""
    builtin: Annotated[bool, prop("Whether it came with this server.")] = False
    active: Annotated[bool, prop("Whether it is offered.")] = False
    whitelist_domains: Annotated[list[str] | None, prop("Domains that its user interface may reach.")] = None
    add_cloud_credential: Annotated[bool, prop("Whether it is used with cloud credentials.")] = False


class DriverStatus(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What is known of a driver."""

    conditions: Annotated[
        list[Condition], prop("Details of the state, one entry a type.", list_keys=("type",))
    ] = []


class NodeDriver(Object, kw_only=True):
    """A driver that makes machines."""

    resource: ClassVar[Resource] = Resource(columns=_COLUMNS)

    spec: Annotated[DriverSpec, prop("What the driver is.")] = msgspec.field(default_factory=DriverSpec)
    status: Annotated[DriverStatus, prop("What is known of the driver.")] = msgspec.field(
        default_factory=DriverStatus
    )


class KontainerDriver(Object, kw_only=True):
    """A driver that makes hosted clusters."""

    resource: ClassVar[Resource] = Resource(columns=_COLUMNS)

    spec: Annotated[DriverSpec, prop("What the driver is.")] = msgspec.field(default_factory=DriverSpec)
    status: Annotated[DriverStatus, prop("What is known of the driver.")] = msgspec.field(
        default_factory=DriverStatus
    )


NODE_DRIVERS: Kind[NodeDriver] = Kind(
    group=GROUP, version=VERSION, plural="nodedrivers", kind="NodeDriver", namespaced=False, type=NodeDriver
)
KONTAINER_DRIVERS: Kind[KontainerDriver] = Kind(
    group=GROUP,
    version=VERSION,
    plural="kontainerdrivers",
    kind="KontainerDriver",
    namespaced=False,
    type=KontainerDriver,
)
