"""What follows from a view and its kind: the fields of the resource, where each is stored, of which type."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import inspect as types

from outrider.apis.views.view import Access, Field, Json, View

OWN: Final = ""
SPEC: Final = "spec"
STATUS: Final = "status"
METADATA: Final = "metadata"
ANNOTATIONS: Final = "annotations"
ENVELOPE: Final = frozenset({"apiVersion", "kind", "metadata"})

_READ = Field(access=Access.READ)
_COMMON: Final[dict[str, Field]] = {
    "id": Field(access=Access.READ, type="string"),
    "type": Field(access=Access.READ, type="string"),
    "baseType": Field(access=Access.READ, type="string"),
    "uuid": Field(access=Access.READ, type="string"),
    "created": Field(access=Access.READ, type="date"),
    "createdTS": Field(access=Access.READ, type="int"),
    "creatorId": Field(access=Access.READ, type="reference[user]"),
    "removed": Field(access=Access.READ, type="date"),
    "ownerReferences": Field(access=Access.READ, type="array[ownerReference]"),
    "labels": Field(type="map[string]"),
    "annotations": Field(type="map[string]"),
}
_STATE: Final[dict[str, Field]] = {
    "state": Field(access=Access.READ, type="string"),
    "transitioning": Field(access=Access.READ, type="enum", options=("yes", "no", "error")),
    "transitioningMessage": Field(access=Access.READ, type="string"),
}


@dataclass(frozen=True)
class Column:
    """A field of the resource. `section` and `stored` say where in the object; empty `stored`: nowhere."""

    shown: str
    section: str
    stored: str
    field: Field
    type: str

    @property
    def is_stored(self) -> bool:
        """Whether it is a field of the object's spec, its status or of the object itself."""
        return bool(self.stored) and self.section not in (METADATA, ANNOTATIONS)

    @property
    def is_text(self) -> bool:
        """Whether its values are text."""
        return self.type in ("string", "dnsLabel", "enum", "password", "date") or self.type.startswith(
            "reference["
        )

    def takes(self, *, creating: bool) -> bool:
        """Whether a client may write it."""
        access = self.field.access
        return access in (Access.BOTH, Access.WRITE) or (creating and access is Access.CREATE)


class Form:
    """A view and the columns of its resources."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.columns: dict[str, Column] = {column.shown: column for column in _columns(view)}
        flat = view.is_flat and not view.is_spelled
        self.sections = (OWN, STATUS) if flat else (OWN, SPEC, STATUS)
        self.renamed = dict(view.names)
        # what a resource has by these names is computed
        self.hidden = view.hidden if view.stateless else view.hidden | set(_STATE)
        own = view.fields.get("name")
        self.name_is_stored = "name" in view.names.values() or bool(own and own.annotation)
        self.absent = {
            name: column.field.absent
            for name, column in self.columns.items()
            if column.field.absent is not None
        }
        self.annotated = tuple(one for one in self.columns.values() if one.section == ANNOTATIONS)
        self.unseen = frozenset(
            name for name, column in self.columns.items() if column.field.access is Access.WRITE
        )

    @property
    def written_section(self) -> str:
        """Where the fields are that clients may write."""
        return OWN if self.view.is_flat else SPEC

    def section_of(self, obj: Json) -> str:
        """Where an object keeps the fields that clients may write."""
        if self.view.is_spelled and isinstance(obj.get(SPEC), dict):
            return SPEC
        return self.written_section

    def takes(self, *, creating: bool) -> Iterator[Column]:
        """The fields that clients may write and that are stored as fields."""
        return (
            column for column in self.columns.values() if column.is_stored and column.takes(creating=creating)
        )


def _columns(view: View) -> Iterator[Column]:
    declared = dict(view.fields)
    common = _COMMON if view.stateless else _COMMON | _STATE
    given = {**common, **_names(view)}
    for name, base in given.items():
        field = declared.get(name, base)
        yield Column(name, METADATA, name, field, field.type or base.type or "string")
    seen = set(given)
    for section, stored, kind in _stored(view):
        shown = view.names.get(stored, stored)
        if stored in view.hidden or shown in seen:
            continue
        seen.add(shown)
        field = declared.get(shown, _READ if section == STATUS else Field())
        yield Column(shown, section, stored, field, field.type or kind)
    for name, field in declared.items():
        if name not in seen:
            section, stored = (ANNOTATIONS, field.annotation) if field.annotation else ("", "")
            if not _is_typed(view) and not field.annotation:
                section, stored = _default_section(view), _stored_name(view, name)
            yield Column(name, section, stored, field, field.type or "string")


def _default_section(view: View) -> str:
    return OWN if view.is_flat else SPEC


def _stored_name(view: View, shown: str) -> str:
    return next((stored for stored, name in view.names.items() if name == shown), shown)


def _names(view: View) -> dict[str, Field]:
    """The fields that stand for the object's name and namespace."""
    named: dict[str, Field] = {}
    own = view.fields.get("name")
    if "name" not in view.names.values() and not (own and own.annotation):
        named["name"] = Field(access=Access.CREATE, type="string")
    if view.kind.namespaced:
        named["namespaceId"] = Field(access=Access.CREATE, type="string")
        field = view.placement.field if view.placement is not None else ""
        if field and field not in view.names.values() and field != "namespaceId":
            named[field] = Field(access=Access.CREATE, type="string")
    return named


def _is_typed(view: View) -> bool:
    return isinstance(view.kind.type, type) and issubclass(view.kind.type, msgspec.Struct)


def _stored(view: View) -> Iterator[tuple[str, str, str]]:
    """(section, field as stored, Norman's type) of a typed kind."""
    if not _is_typed(view):
        return
    for section, fields in _sections(view.kind.type):
        for one in fields:
            yield section, one.encode_name, norman_type(one.type)


def _sections(kind: type) -> Iterator[tuple[str, tuple[types.Field, ...]]]:
    root = types.type_info(kind)
    if not isinstance(root, types.StructType):
        return
    own = [one for one in root.fields if one.encode_name not in (*ENVELOPE, SPEC, STATUS)]
    yield OWN, tuple(own)
    for section in (SPEC, STATUS):
        inner = next((one.type for one in root.fields if one.encode_name == section), None)
        plain = _unwrapped(inner)
        if isinstance(plain, types.StructType):
            yield section, plain.fields


def _unwrapped(info: Any) -> Any:
    while isinstance(info, types.Metadata):
        info = info.type
    if isinstance(info, types.UnionType):
        members = [one for one in info.types if not isinstance(one, types.NoneType)]
        return _unwrapped(members[0]) if len(members) == 1 else info
    return info


_SCALARS: dict[type[types.Type], str] = {
    types.BoolType: "boolean",
    types.IntType: "int",
    types.FloatType: "float",
    types.StrType: "string",
    types.DateTimeType: "date",
    types.LiteralType: "enum",
    types.EnumType: "enum",
}


def norman_type(info: Any) -> str:
    """Norman's name of a type: `string`, `map[string]`, `array[json]`, …"""
    plain = _unwrapped(info)
    if isinstance(plain, types.DictType):
        return f"map[{norman_type(plain.value_type)}]"
    if isinstance(plain, types.ListType | types.VarTupleType | types.SetType | types.FrozenSetType):
        return f"array[{norman_type(plain.item_type)}]"
    return _SCALARS.get(type(plain), "json")
