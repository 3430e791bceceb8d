"""settings.management.cattle.io: one value each (spec: auth §6.1). The fields are flat."""

from typing import Annotated, ClassVar

from outrider.apis.crd import AGE, Column, Resource
from outrider.apis.management.group import GROUP, VERSION
from outrider.apis.management.settings import value_rules
from outrider.apis.schema import Shape, prop
from outrider.kube.kind import Kind
from outrider.kube.meta import Object


class Setting(Object, kw_only=True):
    """A setting of the management plane. In effect is the environment's value, else value, else default."""

    shape: ClassVar[Shape] = Shape(rules=value_rules())
    resource: ClassVar[Resource] = Resource(
        columns=(
            Column("Value", ".value", description="The value that was chosen; empty: the default."),
            Column("Default", ".default", description="The value when none was chosen."),
            Column("Source", ".source", description="Where the value in effect comes from."),
            AGE,
        ),
    )

    value: Annotated[str, prop("The value that was chosen; empty: the default applies.")] = ""
    default: Annotated[str, prop("The value when none was chosen.")] = ""
    customized: Annotated[bool, prop("Whether a value was chosen.")] = False
    source: Annotated[str, prop("Where the value in effect comes from: default, db or env.")] = ""


SETTINGS: Kind[Setting] = Kind(
    group=GROUP, version=VERSION, plural="settings", kind="Setting", namespaced=False, type=Setting
)
