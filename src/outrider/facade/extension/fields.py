"""What is wrong with the fields of an object that was sent, by the schema of its kind. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from outrider.apis.crd import root_schema
from outrider.apis.ext.served import Json
from outrider.apis.schema import PRESERVE, JsonSchema
from outrider.kube.errors import BadRequest
from outrider.kube.kind import Kind

_FREE = frozenset({"metadata"})


class Fields:
    """Checks objects of one kind."""

    def __init__(self, kind: Kind[Any]) -> None:
        self._kind = kind
        self._schema = root_schema(kind.type)

    def check(self, sent: Json) -> None:
        """Raises BadRequest for an object of another kind, and for values that its type cannot hold."""
        kind = self._kind
        said = (sent.get("apiVersion") or kind.api_version, sent.get("kind") or kind.kind)
        if said != (kind.api_version, kind.kind):
            raise BadRequest(
                f"the object is a {said[1]} of {said[0]}, not a {kind.kind} of {kind.api_version}"
            )
        try:
            msgspec.convert(sent, kind.type)
        except (msgspec.ValidationError, RecursionError) as error:
            raise BadRequest(f"{kind.kind} cannot be read: {error}") from None
        wrong = next(_not_among(sent, self._schema, ""), "")
        if wrong:
            raise BadRequest(wrong)

    def unknown(self, sent: Json) -> list[str]:
        """The paths of fields that the kind does not have."""
        return sorted(_unknown(sent, self._schema, ""))


def _unknown(value: Any, schema: JsonSchema, path: str) -> Iterator[str]:
    for name, inner, inner_schema, where in _inner(value, schema, path):
        if inner_schema is not None:
            yield from _unknown(inner, inner_schema, where)
        elif isinstance(value, dict) and not schema.get(PRESERVE) and "properties" in schema:
            yield f"{path}.{name}" if path else str(name)


def _not_among(value: Any, schema: JsonSchema, path: str) -> Iterator[str]:
    allowed = schema.get("enum")
    if allowed is not None and value is not None and value not in allowed:
        yield f"{path}: Unsupported value: supported values: {', '.join(repr(one) for one in allowed)}"
    limit = schema.get("maxLength")
    if limit is not None and isinstance(value, str) and len(value) > limit:
        yield f"{path}: Too long: may not be more than {limit} characters"
    limit = schema.get("maxItems")
    if limit is not None and isinstance(value, list) and len(value) > limit:
        yield f"{path}: Too many: must have at most {limit} items"
    for _, inner, inner_schema, where in _inner(value, schema, path):
        if inner_schema is not None:
            yield from _not_among(inner, inner_schema, where)


def _inner(value: Any, schema: JsonSchema, path: str) -> Iterator[tuple[str, Any, JsonSchema | None, str]]:
    """What is inside of a value: name, value, schema if there is one, path."""
    if isinstance(value, dict):
        properties, more = schema.get("properties", {}), schema.get("additionalProperties")
        for name, inner in value.items():
            if path == "" and name in _FREE:
                continue
            yield name, inner, properties.get(name, more), f"{path}.{name}" if path else str(name)
    elif isinstance(value, list) and "items" in schema:
        for index, inner in enumerate(value):
            yield str(index), inner, schema["items"], f"{path}[{index}]"
