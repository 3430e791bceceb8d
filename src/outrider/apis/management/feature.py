"""features.management.cattle.io: switches for parts of the product (spec: auth §6.3)."""

from typing import Annotated, ClassVar

import msgspec

from outrider.apis.crd import AGE, Column, Resource
from outrider.apis.management.features import BY_NAME
from outrider.apis.management.group import GROUP, VERSION
from outrider.apis.schema import Rule, Shape, prop
from outrider.kube.kind import Kind
from outrider.kube.meta import Object

_VALUE = "(has({0}.spec) && has({0}.spec.value) ? [{0}.spec.value] : [])"
_LOCKED = Rule(
    f"{_VALUE.format('self')} == {_VALUE.format('oldSelf')} || {_VALUE.format('self')} == []"
    " || !has(self.status) || !has(self.status.lockedValue)"
    " || self.spec.value == self.status.lockedValue",
    "the feature is locked to status.lockedValue and cannot be switched",
    field=".spec.value",
    reason="FieldValueForbidden",
)


class FeatureSpec(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What is wanted of a feature."""

    value: Annotated[bool | None, prop("Whether the feature is on. Absent: its default.")] = None


class FeatureStatus(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What is known of a feature."""

    dynamic: Annotated[bool, prop("Whether a change takes effect without a restart.")] = False
    default: Annotated[bool | None, prop("Whether the feature is on when nobody chose.")] = None
    description: Annotated[str, prop("What the feature does.")] = ""
    locked_value: Annotated[bool | None, prop("The value that the feature cannot leave.")] = None
    prime: Annotated[bool, prop("Always false; kept for clients that read it.")] = False


class Feature(Object, kw_only=True):
    """A switch for a part of the product.

    In effect is the locked value, else spec.value, else the default.
    """

    shape: ClassVar[Shape] = Shape(rules=(_LOCKED,))
    resource: ClassVar[Resource] = Resource(
        status=True,
        columns=(
            Column(
                "Value", ".spec.value", type="boolean", description="What was chosen; empty: the default."
            ),
            Column("Default", ".status.default", type="boolean", description="The value when nobody chose."),
            Column("Dynamic", ".status.dynamic", type="boolean", description="Whether it needs no restart."),
            AGE,
            Column("Description", ".status.description", description="What the feature does.", wide=True),
        ),
    )

    spec: Annotated[FeatureSpec, prop("What is wanted of the feature.")] = msgspec.field(
        default_factory=FeatureSpec
    )
    status: Annotated[FeatureStatus, prop("What is known of the feature.")] = msgspec.field(
        default_factory=FeatureStatus
    )

    @property
    def enabled(self) -> bool:
        """The value in effect (spec: auth §6.3); an unpublished default is the one of this version."""
        known = BY_NAME.get(self.metadata.name)
        if known is not None and known.locked:
            return known.default
        default = known.default if known is not None else False
        chosen = (self.status.locked_value, self.spec.value, self.status.default)
        return next((value for value in chosen if value is not None), default)


FEATURES: Kind[Feature] = Kind(
    group=GROUP, version=VERSION, plural="features", kind="Feature", namespaced=False, type=Feature
)
