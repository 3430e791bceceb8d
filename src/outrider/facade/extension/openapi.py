"""OpenAPI documents of the served kinds, versions 2 and 3, as the aggregation layer and kubectl read them. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from outrider import __version__
from outrider.apis.crd import root_schema
from outrider.apis.ext.served import Json, Served
from outrider.apis.schema import JsonSchema

_GVK = "x-kubernetes-group-version-kind"
_INFO = {"title": "Outrider: kinds that it serves to the API server", "version": __version__}
_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_OBJECT_META: JsonSchema = {
    "type": "object",
    "description": "What all objects have.",
    "properties": {
        "name": {"type": "string", "description": "Name of the object."},
        "generateName": {"type": "string", "description": "Beginning of a name that the server completes."},
        "uid": {"type": "string", "description": "Tells this object from all that had its name before."},
        "resourceVersion": {"type": "string", "description": "Changes with every write."},
        "creationTimestamp": {"type": "string", "format": "date-time", "description": "When it was made."},
        "deletionTimestamp": {"type": "string", "format": "date-time", "description": "When it is to go."},
        "labels": {
            "type": "object",
            "description": "Keys and values to select by.",
            "additionalProperties": {"type": "string"},
        },
        "annotations": {
            "type": "object",
            "description": "Further keys and values.",
            "additionalProperties": {"type": "string"},
        },
        "finalizers": {
            "type": "array",
            "description": "What must be done before it goes.",
            "items": {"type": "string"},
        },
    },
}  # fmt: skip
_BODIES = {
    "patch": ("application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"),
    "post": ("application/json", "application/yaml"),
    "put": ("application/json", "application/yaml"),
    "delete": ("application/json",),
}
_METHODS = {
    "collection": {"list": "get", "create": "post", "deletecollection": "delete"},
    "object": {"get": "get", "update": "put", "patch": "patch", "delete": "delete"},
}
_ACTIONS = {"create": "post", "update": "put"}
_QUERY = {
    "list": ("labelSelector", "fieldSelector", "limit", "continue", "watch", "timeoutSeconds"),
    "create": ("dryRun", "fieldManager", "fieldValidation"),
    "update": ("dryRun", "fieldManager", "fieldValidation"),
    "patch": ("dryRun", "fieldManager", "fieldValidation", "force"),
    "delete": ("dryRun",),
    "deletecollection": ("dryRun", "labelSelector", "fieldSelector"),
}
_TYPES = {"limit": "integer", "timeoutSeconds": "integer", "watch": "boolean", "force": "boolean"}


def index(served: Sequence[Served]) -> Json:
    """`/openapi/v3`: where the document of the group is."""
    path = _path_of(served)
    digest = hashlib.sha256(msgspec.json.encode(version_3(served))).hexdigest().upper()
    return {"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}}}


def version_3(served: Sequence[Served]) -> Json:
    """`/openapi/v3/apis/<group>/<version>`"""
    schemas = {_name(one): _schema(one, "#/components/schemas/") for one in served}
    schemas[f"{_META}.ObjectMeta"] = _OBJECT_META
    paths = {path: _item(one, operations, _operation_3) for path, one, operations in _paths(served)}
    return {"openapi": "3.0.0", "info": _INFO, "paths": paths, "components": {"schemas": schemas}}


def version_2(served: Sequence[Served]) -> Json:
    """`/openapi/v2`"""
    definitions = {_name(one): _without_nullable(_schema(one, "")) for one in served}
    paths = {path: _item(one, operations, _operation_2) for path, one, operations in _paths(served)}
    return {"swagger": "2.0", "info": _INFO, "paths": paths, "definitions": definitions}


def _path_of(served: Sequence[Served]) -> str:
    return f"apis/{served[0].kind.api_version}"


def _name(one: Served) -> str:
    first, *rest = reversed(one.kind.group.split("."))
    return ".".join([first, *rest, one.kind.version, one.kind.kind])


def _schema(one: Served, references: str) -> JsonSchema:
    schema = root_schema(one.kind.type)
    metadata: JsonSchema = {"description": "Name, labels, annotations and what else all objects have."}
    if references:
        metadata["allOf"] = [{"$ref": f"{references}{_META}.ObjectMeta"}]
    else:
        metadata["type"] = "object"
    properties = schema["properties"] | {"metadata": metadata}
    return schema | {"properties": properties, _GVK: [_gvk(one)]}


def _gvk(one: Served) -> dict[str, str]:
    return {"group": one.kind.group, "version": one.kind.version, "kind": one.kind.kind}


def _paths(served: Sequence[Served]) -> Iterator[tuple[str, Served, dict[str, str]]]:
    """Path, kind, and its verbs by method."""
    for one in served:
        base = f"/{_path_of(served)}/{one.kind.plural}"
        for where, path in (("collection", base), ("object", f"{base}/{{name}}")):
            found = {method: verb for verb, method in _METHODS[where].items() if verb in one.verbs}
            if found:
                yield path, one, found


def _item(one: Served, operations: dict[str, str], render: Any) -> Json:
    return {method: render(one, method, verb) for method, verb in operations.items()}


def _common(one: Served, verb: str) -> Json:
    return {
        "description": f"{verb} {one.kind.plural}",
        "operationId": f"{verb}{one.kind.group.split('.')[0].title()}{one.kind.version.title()}{one.kind.kind}",
        "tags": [one.kind.api_version],
        "x-kubernetes-action": _ACTIONS.get(verb, verb),
        _GVK: _gvk(one),
    }


def _names(verb: str) -> list[str]:
    return [] if verb in _METHODS["collection"] else ["name"]


def _operation_3(one: Served, method: str, verb: str) -> Json:
    schema = {"$ref": f"#/components/schemas/{_name(one)}"}
    parameters = [
        {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}} for _ in _names(verb)
    ] + [
        {"name": name, "in": "query", "schema": {"type": _TYPES.get(name, "string")}}
        for name in _QUERY.get(verb, ())
    ]
    operation = _common(one, verb) | {"parameters": parameters}
    if method in _BODIES:
        held = {"type": "object"} if method in ("patch", "delete") else schema
        operation["requestBody"] = {"content": {media: {"schema": held} for media in _BODIES[method]}}
    answer = schema if verb not in ("list", "delete", "deletecollection") else {"type": "object"}
    content = {"application/json": {"schema": answer}}
    return operation | {"responses": {_code(verb): {"description": "OK", "content": content}}}


def _operation_2(one: Served, method: str, verb: str) -> Json:
    schema = {"$ref": f"#/definitions/{_name(one)}"}
    parameters: list[Json] = [
        {"name": "name", "in": "path", "required": True, "type": "string"} for _ in _names(verb)
    ] + [{"name": name, "in": "query", "type": _TYPES.get(name, "string")} for name in _QUERY.get(verb, ())]
    operation = _common(one, verb) | {"produces": ["application/json"]}
    if method in _BODIES:
        held = {"type": "object"} if method in ("patch", "delete") else schema
        parameters.append({"name": "body", "in": "body", "schema": held})
        operation["consumes"] = list(_BODIES[method])
    answer = schema if verb not in ("list", "delete", "deletecollection") else {"type": "object"}
    responses = {_code(verb): {"description": "OK", "schema": answer}}
    return operation | {"parameters": parameters, "responses": responses}


def _code(verb: str) -> str:
    return "201" if verb == "create" else "200"


def _without_nullable(schema: Any) -> Any:
    """Version 2 knows no `nullable`."""
    if isinstance(schema, dict):
        return {key: _without_nullable(value) for key, value in schema.items() if key != "nullable"}
    if isinstance(schema, list):
        return [_without_nullable(value) for value in schema]
    return schema
