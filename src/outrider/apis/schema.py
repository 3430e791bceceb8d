"""From a msgspec type to a structural OpenAPI v3 schema, as CustomResourceDefinitions require it.

The rules of structural schemas are those of KEP-1998 ("apiextensions.k8s.io/v1"): every node has a
type, unless it is an int-or-string or preserves unknown fields, and there is no recursion. CEL rules
are `x-kubernetes-validations` (KEP-2876).

Constraints are written with `prop` and not with msgspec's own (`Meta(min_length=…)`), because msgspec
would enforce them on decoding too: what an older server once stored must stay readable.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import inspect as types

JsonSchema = dict[str, Any]

PRESERVE = "x-kubernetes-preserve-unknown-fields"
VALIDATIONS = "x-kubernetes-validations"
INT_OR_STRING = "x-kubernetes-int-or-string"


class SchemaError(TypeError):
    """A type cannot be expressed as a structural schema; the message names the type and the reason."""


@dataclass(frozen=True)
class Rule:
    """One CEL rule: `rule` must hold, otherwise the API server answers 422 with `message`.

    `field` is the path below the type that the message is attached to, such as `.displayName`.
    `reason` is one of FieldValueInvalid, FieldValueForbidden, FieldValueRequired, FieldValueDuplicate.
    """

    rule: str
    message: str
    field: str = ""
    reason: str = ""

    def to_json(self) -> JsonSchema:
        """The entry of `x-kubernetes-validations`."""
        entry = {"rule": self.rule, "message": self.message, "fieldPath": self.field, "reason": self.reason}
        return {key: value for key, value in entry.items() if value}


@dataclass(frozen=True)
class Shape:
    """What a struct says about its schema beyond its fields: the class variable `shape`.

    A struct is open unless `closed`: fields that we do not type are kept by the API server.
    """

    rules: tuple[Rule, ...] = ()
    closed: bool = False


def prop(
    description: str,
    *,
    required: bool = False,
    enum: tuple[str, ...] = (),
    min_length: int | None = None,
    max_length: int | None = None,
    minimum: int | None = None,
    maximum: int | None = None,
    max_items: int | None = None,
    max_properties: int | None = None,
    list_keys: tuple[str, ...] = (),
    rules: tuple[Rule, ...] = (),
) -> msgspec.Meta:
    """What a field says about its schema: `x: Annotated[T, prop("What it is.", …)]`.

    `required` is enforced by the API server only: the field still needs a default in Python.
    `list_keys` makes a list a map for server-side apply, so that several writers share it.
    """
    extra: JsonSchema = {
        "enum": list(enum) or None,
        "minLength": min_length,
        "maxLength": max_length,
        "minimum": minimum,
        "maximum": maximum,
        "maxItems": max_items,
        "maxProperties": max_properties,
        "x-kubernetes-list-type": "map" if list_keys else None,
        "x-kubernetes-list-map-keys": list(list_keys) or None,
        VALIDATIONS: [rule.to_json() for rule in rules] or None,
    }
    return msgspec.Meta(
        description=description,
        extra_json_schema={key: value for key, value in extra.items() if value is not None},
        extra={"required": required},
    )


def schema_of(type_: Any) -> JsonSchema:
    """The structural schema of a type; raises SchemaError where there is none."""
    return _schema(types.type_info(type_), ())


def paragraphs(docstring: str | None) -> str:
    """A docstring with its lines joined, since readers (`kubectl explain`) wrap for themselves."""
    blocks = inspect.cleandoc(docstring or "").split("\n\n")
    return "\n\n".join(" ".join(block.split()) for block in blocks)


_SCALARS: dict[type[types.Type], JsonSchema] = {
    types.AnyType: {PRESERVE: True},
    types.RawType: {PRESERVE: True},
    types.BoolType: {"type": "boolean"},
    types.IntType: {"type": "integer", "format": "int64"},
    types.FloatType: {"type": "number", "format": "double"},
    types.StrType: {"type": "string"},
    types.BytesType: {"type": "string", "format": "byte"},
    types.DateTimeType: {"type": "string", "format": "date-time"},
}


def _schema(info: types.Type, parents: tuple[type, ...]) -> JsonSchema:
    if type(info) in _SCALARS:
        return dict(_SCALARS[type(info)])
    if type(info) in _COMPOUND:
        return _COMPOUND[type(info)](info, parents)
    raise SchemaError(f"{type(info).__name__} has no structural schema")


def _annotated(info: types.Metadata, parents: tuple[type, ...]) -> JsonSchema:
    return _schema(info.type, parents) | (info.extra_json_schema or {})


def _list(info: types.ListType, parents: tuple[type, ...]) -> JsonSchema:
    return {"type": "array", "items": _schema(info.item_type, parents)}


def _union(info: types.UnionType, parents: tuple[type, ...]) -> JsonSchema:
    members = [member for member in info.types if not isinstance(member, types.NoneType)]
    kinds = {type(member) for member in members}
    if kinds == {types.IntType, types.StrType}:
        schema: JsonSchema = {INT_OR_STRING: True}
    elif len(members) == 1:
        schema = _schema(members[0], parents)
    else:
        names = sorted(kind.__name__ for kind in kinds)
        raise SchemaError(
            f"a union of {', '.join(names)}: only `int | str` and `T | None` have a structural schema"
        )
    return schema | {"nullable": True} if len(members) < len(info.types) else schema


def _enum(info: types.LiteralType | types.EnumType, parents: tuple[type, ...]) -> JsonSchema:
    del parents  # strings contain nothing
    values = (
        list(info.values) if isinstance(info, types.LiteralType) else [member.value for member in info.cls]
    )
    if not all(isinstance(value, str) for value in values):
        raise SchemaError("an enumeration must hold strings only")
    return {"type": "string", "enum": values}


def _map(info: types.DictType, parents: tuple[type, ...]) -> JsonSchema:
    key = info.key_type.type if isinstance(info.key_type, types.Metadata) else info.key_type
    if not isinstance(key, types.StrType):
        raise SchemaError("the keys of a map must be strings")
    values = _schema(info.value_type, parents)
    if values == {PRESERVE: True}:
        return {"type": "object", PRESERVE: True}
    return {"type": "object", "additionalProperties": values}


def _struct(info: types.StructType, parents: tuple[type, ...]) -> JsonSchema:
    if info.cls in parents:
        raise SchemaError(f"{info.cls.__name__} contains itself: structural schemas cannot recurse")
    shape: Shape = getattr(info.cls, "shape", Shape())
    properties = {field.encode_name: _schema(field.type, (*parents, info.cls)) for field in info.fields}
    schema: JsonSchema = {
        "type": "object",
        "description": paragraphs(info.cls.__doc__),
        "properties": properties,
    }
    if required := sorted(field.encode_name for field in info.fields if _is_required(field)):
        schema["required"] = required
    if shape.rules:
        schema[VALIDATIONS] = [rule.to_json() for rule in shape.rules]
    if not shape.closed:
        schema[PRESERVE] = True
    return schema


def _is_required(field: types.Field) -> bool:
    marks = field.type.extra if isinstance(field.type, types.Metadata) else None
    return field.required or bool(marks and marks.get("required"))


_COMPOUND: dict[type[types.Type], Callable[[Any, tuple[type, ...]], JsonSchema]] = {
    types.Metadata: _annotated,
    types.UnionType: _union,
    types.LiteralType: _enum,
    types.EnumType: _enum,
    types.DictType: _map,
    types.StructType: _struct,
    types.ListType: _list,
    types.SetType: _list,
    types.FrozenSetType: _list,
    types.VarTupleType: _list,
}
