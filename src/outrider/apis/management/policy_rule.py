"""What a role allows: rbac/v1 PolicyRule, as role templates and global roles hold it (spec: auth §3.1, §3.3)."""

from typing import Annotated, ClassVar

import msgspec

from outrider.apis.schema import Rule, Shape, prop

MAX_RULES = 500
MAX_VALUES = 500

_WELL_FORMED = Rule(
    "has(self.verbs) && self.verbs.size() > 0 && (has(self.nonResourceURLs) && self.nonResourceURLs.size() > 0"
    " || has(self.resources) && self.resources.size() > 0 && has(self.apiGroups) && self.apiGroups.size() > 0)",
    "a rule needs verbs, and either apiGroups with resources or nonResourceURLs",
    reason="FieldValueRequired",
)


class PolicyRule(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True, frozen=True):
    """Some verbs on some resources, or on some URLs that are no resources."""

    shape: ClassVar[Shape] = Shape(rules=(_WELL_FORMED,))

    verbs: Annotated[
        tuple[str, ...] | None,
        prop("What may be done: get, list, …, or * for everything.", max_items=MAX_VALUES),
    ] = None
    api_groups: Annotated[
        tuple[str, ...] | None,
        prop("API groups of the resources; the empty one is the core group.", max_items=MAX_VALUES),
    ] = None
    resources: Annotated[
        tuple[str, ...] | None,
        prop("Resources such as pods or pods/log, or * for all.", max_items=MAX_VALUES),
    ] = None
    resource_names: Annotated[
        tuple[str, ...] | None, prop("Only objects of these names. Absent: all.", max_items=MAX_VALUES)
    ] = None
    non_resource_urls: Annotated[
        tuple[str, ...] | None,
        prop("Paths such as /healthz; * at the end stands for anything.", max_items=MAX_VALUES),
    ] = msgspec.field(name="nonResourceURLs", default=None)
