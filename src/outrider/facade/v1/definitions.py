"""What the fields of a kind are: `schemaDefinitions`, from the cluster's own OpenAPI 3 documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from outrider.apis.norman import NormanError
from outrider.kube.client import Client
from outrider.kube.errors import ApiError, DecodeError
from outrider.kube.kind import Kind
from outrider.kube.transport import Request

Json = dict[str, Any]

MOST_DEFINITIONS: Final = 2000
_REFERENCE: Final = "#/components/schemas/"
_PLAIN: Final = frozenset({"string", "boolean", "integer", "number"})


class _Components(msgspec.Struct):
    schemas: dict[str, msgspec.Raw] = {}


class _Document(msgspec.Struct):
    components: _Components = msgspec.field(default_factory=_Components)


class _Kind(msgspec.Struct):
    group: str = ""
    version: str = ""
    kind: str = ""


class _Marked(msgspec.Struct):
    kinds: list[_Kind] = msgspec.field(name="x-kubernetes-group-version-kind", default_factory=list)


class _Schema(msgspec.Struct, rename="camel"):
    type: str = ""
    format: str = ""
    description: str = ""
    ref: str = msgspec.field(name="$ref", default="")
    all_of: list[_Schema] = []
    properties: dict[str, _Schema] = {}
    required: list[str] = []
    items: _Schema | None = None
    additional_properties: _Schema | bool = False
    int_or_string: bool = msgspec.field(name="x-kubernetes-int-or-string", default=False)

    @property
    def target(self) -> str:
        """The name of the definition that it stands for, empty when it is one itself."""
        refs = [self.ref, *(one.ref for one in self.all_of)]
        return next((ref.removeprefix(_REFERENCE) for ref in refs if ref.startswith(_REFERENCE)), "")


_DOCUMENT: Final = msgspec.json.Decoder(_Document)
_SCHEMA: Final = msgspec.json.Decoder(_Schema)
_MARKED: Final = msgspec.json.Decoder(_Marked)


class Definitions:
    """Reads definitions as the user. Nothing is kept: the documents are large, and asked for one form at a time."""

    async def read(self, client: Client, kind: Kind[Any]) -> Json:
        """`definitionType` and `definitions` of a kind. Raises KubeError, NormanError (503) where it has none."""
        path = (
            f"/openapi/v3/apis/{kind.group}/{kind.version}"
            if kind.group
            else f"/openapi/v3/api/{kind.version}"
        )
        answered = await client.raw(
            Request(method="GET", path=path, headers=[("Accept", "application/json")])
        )
        if answered.status != 200:
            raise ApiError.from_response(answered.status, answered.body, answered.headers)
        try:
            document = _DOCUMENT.decode(answered.body).components.schemas
            found = definitions(document, kind)
        except msgspec.MsgspecError as error:
            raise DecodeError(f"cannot read the definitions of {kind.plural}: {error}") from None
        if found is None:
            raise NormanError(503, f"the cluster does not say yet what {kind.plural} are", code="ServerError")
        return found


def definitions(document: Mapping[str, msgspec.Raw], kind: Kind[Any]) -> Json | None:
    """The definition of a kind, and those that it leads to; None when the document has it not."""
    root = next((name for name, schema in document.items() if _is_of(schema, kind)), None)
    if root is None:
        return None
    found: dict[str, Json] = {}
    waiting: list[tuple[str, _Schema]] = [(root, _SCHEMA.decode(document[root]))]
    while waiting and len(found) < MOST_DEFINITIONS:
        name, schema = waiting.pop()
        if name in found:
            continue
        fields: Json = {}
        for field, held in schema.properties.items():
            fields[field] = _field(f"{name}.{field}", held, required=field in schema.required)
            waiting += [
                (inner, other if other is not None else _SCHEMA.decode(document[inner]))
                for inner, other in _leads_to(f"{name}.{field}", held)
                if inner not in found and (other is not None or inner in document)
            ]
        found[name] = {"type": name, "description": schema.description, "resourceFields": fields}
    return {"definitionType": root, "definitions": found}


def _is_of(schema: msgspec.Raw, kind: Kind[Any]) -> bool:
    if b"x-kubernetes-group-version-kind" not in memoryview(schema).tobytes():
        return False
    wanted = (kind.group, kind.version, kind.kind)
    return any((one.group, one.version, one.kind) == wanted for one in _MARKED.decode(schema).kinds)


def _field(path: str, schema: _Schema, *, required: bool) -> Json:
    inner = _inner(schema)
    field: Json = {"type": _type(path, schema)}
    if inner is not None:
        field["subtype"] = _type(path, inner)
    if schema.description:
        field["description"] = schema.description
    if required:
        field["required"] = True
    return field


def _type(path: str, schema: _Schema) -> str:
    if schema.target:
        return schema.target
    if schema.int_or_string:
        return "string"
    if schema.type in _PLAIN:
        return {"integer": "int", "number": "float"}.get(schema.type, schema.type)
    if schema.type == "array":
        return "array"
    if schema.properties:
        return path
    return "map" if isinstance(schema.additional_properties, _Schema) else "json"


def _inner(schema: _Schema) -> _Schema | None:
    if schema.type == "array":
        return schema.items
    extra = schema.additional_properties
    return extra if isinstance(extra, _Schema) and not schema.properties else None


def _leads_to(path: str, schema: _Schema) -> Iterator[tuple[str, _Schema | None]]:
    """The definitions that a field's type names: of the document, or of its own."""
    for one in (schema, _inner(schema)):
        if one is None:
            continue
        if one.target:
            yield one.target, None
        elif one.properties:
            yield path, one
