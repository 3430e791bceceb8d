"""Structural schemas from types."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outrider.apis.crd import root_schema
from outrider.apis.kinds import KINDS
from outrider.apis.schema import PRESERVE, Rule, SchemaError, Shape, paragraphs, prop, schema_of
from outrider.kube.kind import Kind
from tests.support.structural import allowed


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Leaf(msgspec.Struct, rename="camel", kw_only=True):
    """A leaf
    of a tree.

    It is green.
    """

    shape: ClassVar[Shape] = Shape(rules=(Rule("self.size > 0", "too small", field=".size"),), closed=True)

    size: Annotated[int, prop("How big.", required=True, minimum=1, maximum=9)] = 1
    long_name: Annotated[str, prop("Its name.", max_length=5)] = ""


class Needy(msgspec.Struct):
    must: int
    may: int = 0


class Loop(msgspec.Struct):
    again: list[Loop] = []


@pytest.mark.parametrize(
    ("type_", "schema"),
    [
        (bool, {"type": "boolean"}),
        (int, {"type": "integer", "format": "int64"}),
        (float, {"type": "number", "format": "double"}),
        (str, {"type": "string"}),
        (bytes, {"type": "string", "format": "byte"}),
        (datetime, {"type": "string", "format": "date-time"}),
        (Any, {PRESERVE: True}),
        (int | str, {"x-kubernetes-int-or-string": True}),
        (int | str | None, {"x-kubernetes-int-or-string": True, "nullable": True}),
        (str | None, {"type": "string", "nullable": True}),
        (list[int], {"type": "array", "items": {"type": "integer", "format": "int64"}}),
        (set[str], {"type": "array", "items": {"type": "string"}}),
        (tuple[bool, ...], {"type": "array", "items": {"type": "boolean"}}),
        (dict[str, bool], {"type": "object", "additionalProperties": {"type": "boolean"}}),
        (dict[str, Any], {"type": "object", PRESERVE: True}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Colour, {"type": "string", "enum": ["red", "blue"]}),
        (Annotated[str, prop("A word.", enum=("x",))], {"type": "string", "description": "A word.", "enum": ["x"]}),
    ],
    ids=str,
)  # fmt: skip
def test_schema_of_a_type(type_: Any, schema: dict[str, Any]) -> None:
    assert schema_of(type_) == schema


def test_schema_of_a_struct() -> None:
    assert schema_of(Leaf) == {
        "type": "object",
        "description": "A leaf of a tree.\n\nIt is green.",
        "properties": {
            "size": {
                "type": "integer",
                "format": "int64",
                "description": "How big.",
                "minimum": 1,
                "maximum": 9,
            },
            "longName": {"type": "string", "description": "Its name.", "maxLength": 5},
        },
        "required": ["size"],
        "x-kubernetes-validations": [{"rule": "self.size > 0", "message": "too small", "fieldPath": ".size"}],
    }


def test_structs_keep_unknown_fields_and_require_what_has_no_default() -> None:
    schema = schema_of(Needy)
    assert schema[PRESERVE] is True
    assert schema["required"] == ["must"]


def test_a_shared_list_is_a_map_by_its_keys() -> None:
    schema = schema_of(Annotated[list[Leaf], prop("Leaves.", list_keys=("size",), max_items=3)])
    assert schema["x-kubernetes-list-type"] == "map"
    assert schema["x-kubernetes-list-map-keys"] == ["size"]
    assert schema["maxItems"] == 3


@pytest.mark.parametrize(
    ("type_", "message"),
    [
        (int | list[str], "only `int | str` and `T | None`"),
        (str | bool, "only `int | str` and `T | None`"),
        (dict[int, str], "keys of a map must be strings"),
        (Literal[1, 2], "strings only"),
        (Loop, "Loop contains itself"),
        (complex, "CustomType has no structural schema"),
        (None, "NoneType has no structural schema"),
    ],
    ids=str,
)
def test_what_has_no_structural_schema_is_refused(type_: Any, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        schema_of(type_)


def test_constraints_do_not_bind_what_is_already_stored() -> None:
    assert msgspec.json.decode(b'{"size": 0, "longName": "much too long"}', type=Leaf).size == 0


def test_paragraphs_unwrap_lines() -> None:
    assert paragraphs(None) == ""
    assert paragraphs("  One\n    line.\n\n    Another.\n    ") == "One line.\n\nAnother."


# Whatever a schema lets into the API server, its type decodes: one odd object must not stop a controller.

_SCALARS = st.sampled_from([bool, int, float, str, bytes, Any, int | str, Literal["a", "b"]])


def _wider(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        inner.map(lambda one: list[one]),
        inner.map(lambda one: dict[str, one]),
        inner.map(_optional),
        st.lists(st.tuples(inner, st.booleans()), max_size=4).map(_struct),
    )


def _struct(fields: list[tuple[Any, bool]]) -> Any:
    definitions: list[Any] = []
    for number, (type_, required) in enumerate(fields):
        name = f"field_{number}"
        definitions.append((name, type_) if required else (name, _optional(type_), None))
    return msgspec.defstruct("Random", definitions, rename="camel", kw_only=True)


def _optional(type_: Any) -> Any:
    return type_ if type_ is Any else type_ | None


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_a_schema_accepts_decodes(data: st.DataObject) -> None:
    type_ = data.draw(st.recursive(_SCALARS, _wider, max_leaves=6))
    value = data.draw(allowed(schema_of(type_)))
    msgspec.json.decode(msgspec.json.encode(value), type=type_)


@pytest.mark.parametrize("kind", KINDS, ids=repr)
@given(data=st.data())
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_a_crd_accepts_decodes(kind: Kind[Any], data: st.DataObject) -> None:
    body = data.draw(allowed(root_schema(kind.type)))
    body["metadata"] = {"name": "one"}
    assert kind.key(kind.decode(msgspec.json.encode(body))).name == "one"
