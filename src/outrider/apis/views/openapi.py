"""An OpenAPI 3 document of the views, from the declarations that make their schemas. Pure.

It describes what the server takes and answers at all; what one user may do of it is said by the schemas of `/v3`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from outrider.apis.views.form import Column, Form
from outrider.apis.views.view import Access, Action, Context, Json

_ROOTS: Final[dict[Context, tuple[str, str]]] = {
    Context.MANAGEMENT: ("/v3", ""),
    Context.CLUSTER: ("/v3/cluster/{root}", "Id of the cluster."),
    Context.PROJECT: ("/v3/project/{root}", "Id of the project, `<cluster>:<project>`."),
}
_SCALARS: Final[dict[str, Json]] = {
    "boolean": {"type": "boolean"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "date": {"type": "string"},
    "json": {},
}
_COMPOUND: Final = re.compile(r"(array|map)\[(.*)\]")
_LIST_QUERY: Final = {
    "limit": "How many at most; -1: all.",
    "marker": "Where the page begins, from the `next` of the one before.",
    "sort": "Field to sort by.",
    "order": "asc or desc.",
}
ERROR: Final[Json] = {"$ref": "#/components/schemas/error"}
_ERROR_SCHEMA: Final[Json] = {
    "type": "object",
    "description": "Why not.",
    "properties": {
        "type": {"type": "string", "enum": ["error"]},
        "status": {"description": "The HTTP status; for want of sign-in as text."},
        "code": {"type": "string", "description": "Why, in one word for programs."},
        "message": {"type": "string", "description": "Why, in a sentence for people."},
        "fieldName": {"type": "string", "description": "The field that is wrong."},
    },
    "required": ["type", "status", "message"],
}


def document(forms: Iterable[Form], *, version: str, further: Json | None = None) -> Json:
    """The document. `further` are paths beside those of the views."""
    known = list(forms)
    paths: Json = {}
    for form in known:
        paths |= _paths(form)
    schemas = {_schema_name(form): resource_schema(form) for form in known}
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "Outrider: /v3 and sign-in",
            "version": version,
            "description": "Types in the shape of Norman. A user's own schemas say what of this they may do.",
        },
        "paths": {**(further or {}), **paths},
        "components": {
            "schemas": {"error": _ERROR_SCHEMA, **schemas},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"bearer": []}],
    }


def resource_schema(form: Form) -> Json:
    """The schema of a resource, as it is answered. What a client need not send is not required."""
    return {
        "type": "object",
        "description": f"A {form.view.type}.",
        "properties": {name: _field(column) for name, column in form.columns.items()},
        "additionalProperties": True,
    }


def type_schema(name: str) -> Json:
    """The schema of a type by Norman's name: `array[string]`, `map[json]`, `reference[user]`, …"""
    found = _COMPOUND.fullmatch(name)
    if found is not None:
        inner = type_schema(found[2])
        if found[1] == "array":
            return {"type": "array", "items": inner}
        return {"type": "object", "additionalProperties": inner}
    if name in _SCALARS:
        return dict(_SCALARS[name])
    return {"type": "string"} if name in _TEXTS or name.startswith("reference[") else {}


_TEXTS: Final = frozenset({"string", "enum", "dnsLabel", "password", "base64"})


def answers(code: int, description: str, schema: Json | None = None, *, errors: bool = True) -> Json:
    """The responses of an operation."""
    good: Json = {"description": description}
    if schema is not None:
        good["content"] = {"application/json": {"schema": schema}}
    found: Json = {str(code): good}
    if errors:
        content = {"application/json": {"schema": ERROR}}
        found["default"] = {"description": "Why not.", "content": content}
    return found


def body(schema: Json, *, required: bool = True) -> Json:
    """The request body of an operation."""
    return {"required": required, "content": {"application/json": {"schema": schema}}}


def _schema_name(form: Form) -> str:
    context = form.view.context
    return form.view.type if context is Context.MANAGEMENT else f"{context.value}.{form.view.type}"


def _field(column: Column) -> Json:
    schema: Json = type_schema(column.type) | {"nullable": True}
    options = [option for option in column.field.options if option]
    if options:
        schema["description"] = f"One of {', '.join(options)}."
    if column.field.description:
        schema["description"] = column.field.description
    if column.field.access is Access.READ:
        schema["readOnly"] = True
    if column.field.access is Access.WRITE:
        schema["writeOnly"] = True
    return schema


def _paths(form: Form) -> Json:
    view = form.view
    base, about = _ROOTS[view.context]
    reference = {"$ref": f"#/components/schemas/{_schema_name(form)}"}
    root = [_in_path("root", about)] if about else []
    found: Json = {}
    collection = _collection(form, reference)
    if collection:
        found[f"{base}/{view.plural}"] = {"parameters": root, **collection} if root else collection
    one = _one(form, reference)
    if one:
        found[f"{base}/{view.plural}/{{id}}"] = {
            "parameters": [*root, _in_path("id", "Id of the resource.")],
            **one,
        }
    return found


def _collection(form: Form, reference: Json) -> Json:
    view, operations = form.view, {}
    if "GET" in view.methods:
        listed = {
            "type": "object",
            "properties": {"type": {"type": "string"}, "data": {"type": "array", "items": reference}},
            "required": ["type", "data"],
        }
        query = [_in_query(name, text) for name, text in _LIST_QUERY.items()]
        operations["get"] = _operation(form, "list", answers(200, "A collection.", listed), parameters=query)
    acting = _actions(view.collection_actions)
    if "POST" in view.methods or acting:
        code, text = (201, "What was made.") if "POST" in view.methods else (200, "What came of it.")
        taken = reference if "POST" in view.methods else {"type": "object"}
        done = answers(code, text, reference if "POST" in view.methods else {})
        if acting and code != 200:
            done["200"] = {"description": "What an action answers."}
        operations["post"] = _operation(form, "create", done, parameters=acting) | {
            "requestBody": body(taken, required=False)
        }
    return operations


def _one(form: Form, reference: Json) -> Json:
    view, operations = form.view, {}
    if "GET" in view.methods:
        operations["get"] = _operation(form, "get", answers(200, "The resource.", reference))
    if "PUT" in view.methods:
        changed = _operation(form, "update", answers(200, "The resource as it is now.", reference))
        operations["put"] = changed | {"requestBody": body(reference)}
    if "DELETE" in view.methods:
        removed = answers(200, "What is left of it, for now.")
        operations["delete"] = _operation(form, "remove", removed | {"204": {"description": "It is gone."}})
    if acting := _actions(view.actions, required=True):
        done = answers(200, "What came of it.") | {"204": {"description": "It is done."}}
        operations["post"] = _operation(form, "act", done, parameters=acting) | {
            "requestBody": body({"type": "object"}, required=False)
        }
    return operations


def _operation(form: Form, verb: str, responses: Json, parameters: Iterable[Json] = ()) -> Json:
    name = _schema_name(form).replace(".", "_")
    operation: Json = {
        "operationId": f"{verb}_{name}",
        "summary": f"{verb} {form.view.plural}",
        "tags": [form.view.type],
        "responses": responses,
    }
    if form.view.public and verb in ("list", "get"):
        operation["security"] = [{"bearer": []}, {}]
    listed = list(parameters)
    return operation | ({"parameters": listed} if listed else {})


def _actions(actions: Iterable[Action], *, required: bool = False) -> list[Json]:
    names = [action.name for action in actions]
    if not names:
        return []
    schema: Any = {"type": "string", "enum": names}
    return [{"name": "action", "in": "query", "required": required, "schema": schema}]


def _in_path(name: str, text: str) -> Json:
    return {"name": name, "in": "path", "required": True, "description": text, "schema": {"type": "string"}}


def _in_query(name: str, text: str) -> Json:
    return {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
