"""Objects whose fields may stand at the top, as the reference stores them, or under `spec`, as people write them.

An object has one spelling at a time: a CEL rule denies both together, so that there is never a doubt which one
counts. Readers take `plain(obj)` and see top-level fields only (spec README, rulings).
"""

from typing import Annotated, Any, TypeVar

import msgspec

from outrider.apis.schema import JsonSchema, Rule, prop
from outrider.kube.meta import Object

_NOT_SPELLED = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})


class Spelled(Object, kw_only=True):
    """The base of types whose fields may also be written under `spec`."""

    spec: Annotated[
        dict[str, Any] | None,
        prop("The fields below once more, for those who write them here; then there are none beside it."),
    ] = None


S = TypeVar("S", bound=Spelled)


def plain(obj: S) -> S:
    """The object with its fields at the top, however it is written.

    Raises msgspec.ValidationError for a spec that the type cannot hold, which the API server would have refused.
    """
    if obj.spec is None:
        return obj
    said = {name: value for name, value in obj.spec.items() if name not in _NOT_SPELLED}
    found = msgspec.convert(said, type(obj))
    found.api_version, found.kind, found.metadata = obj.api_version, obj.kind, obj.metadata
    if hasattr(obj, "status"):
        found.status = obj.status  # type: ignore[attr-defined]  # the few types without one have no such field
    return found


def spelled_schema(schema: JsonSchema) -> JsonSchema:
    """The schema of a whole object with its own fields repeated below `spec`, and the rule that keeps them apart."""
    own = {name: value for name, value in schema["properties"].items() if name not in _NOT_SPELLED}
    spec = schema["properties"]["spec"] | {"properties": own}
    twice = " || ".join(f"has(self.{name})" for name in own)
    rule = Rule(f"!has(self.spec) || !({twice})", "write the fields under spec or at the top, not both")
    return schema | {
        "properties": schema["properties"] | {"spec": spec},
        "x-kubernetes-validations": [*schema.get("x-kubernetes-validations", []), rule.to_json()],
    }


def said(field: str, default: str = "''", self: str = "self") -> str:
    """CEL for a field's value in either spelling, `default` (a CEL literal) where it is absent."""
    below = f"(has({self}.spec.{field}) ? {self}.spec.{field} : {default})"
    beside = f"(has({self}.{field}) ? {self}.{field} : {default})"
    return f"(has({self}.spec) ? {below} : {beside})"


def fixed(field: str, *, default: str = "''", settable_once: bool = False, why: str = "") -> Rule:
    """A rule: the field keeps its value, whichever way it is spelled; `settable_once` lets an empty one be given."""
    old, new = said(field, default, "oldSelf"), said(field, default)
    free = f"{old} == {default} || " if settable_once else ""
    message = f"{field} cannot be changed once it is set"
    return Rule(f"{free}{new} == {old}", f"{message}: {why}" if why else message, field=f".{field}")
