"""Schemas and collections as Norman clients read them (contract: clients §1, clusters §4.2); pure functions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from outrider.apis.views.form import Column, Form
from outrider.apis.views.query import MODIFIERS, Page, Query
from outrider.apis.views.rights import Methods
from outrider.apis.views.view import Access, Action, Context, Json, View

_SHOWN_FILTERS: Final = sorted(MODIFIERS)
_GROUPS: Final[dict[Context, str]] = {
    Context.MANAGEMENT: "/v3",
    Context.CLUSTER: "/v3/cluster",
    Context.PROJECT: "/v3/project",
}


def schema(form: Form, methods: Methods, root: str, *, offered: Collection[str]) -> Json:
    """A type as its user may use it. `root` is the URL of the root; `offered` its actions on resources."""
    view = form.view
    link = f"{root}/{view.plural}"
    collection = methods.collection()
    links = {"self": f"{root}/schemas/{view.type}"}
    if collection:
        links["collection"] = link
    return {
        "id": view.type,
        "type": "schema",
        "baseType": "schema",
        "pluralName": view.plural,
        "version": version(view.context),
        "links": links,
        "actions": {},
        "collectionMethods": collection,
        "resourceMethods": methods.resource(),
        "resourceActions": _actions(one for one in view.actions if one.name in offered),
        "collectionActions": _actions(one for one in view.collection_actions if methods.may(one.need)),
        "resourceFields": {name: _field(column, form) for name, column in form.columns.items()},
        "collectionFilters": {
            name: {"modifiers": _SHOWN_FILTERS}
            for name, column in form.columns.items()
            if column.field.access is not Access.WRITE
        },
        "collectionFields": {},
        "includeableLinks": [],
    }


def version(context: Context) -> Json:
    """The API that a schema belongs to."""
    return {"group": "management.cattle.io", "path": _GROUPS[context], "version": "v3"}


def _actions(actions: Iterable[Action]) -> Json:
    return {
        action.name: {
            key: value for key, value in (("input", action.input), ("output", action.output)) if value
        }
        for action in actions
    }


def _field(column: Column, form: Form) -> Json:
    field, methods = column.field, form.view.methods
    described: Json = {
        "type": column.type,
        "create": "POST" in methods and column.takes(creating=True),
        "update": "PUT" in methods and column.takes(creating=False),
        "required": field.required,
        "nullable": not field.required,
    }
    further: dict[str, Any] = {
        "default": field.default,
        "options": [option for option in field.options if option] or None,
        "description": field.description or None,
        "writeOnly": True if field.access is Access.WRITE else None,
    }
    return described | {key: value for key, value in further.items() if value is not None}


def collection(view: View, link: str, page: Page, query: Query, methods: Methods) -> Json:
    """A list of resources. `link` is the URL of the collection without a query."""
    pagination: Json = {"limit": query.limit or -1, "total": page.total}
    if page.marker:
        pagination |= {
            "marker": page.marker,
            "next": query.url(link, marker=page.marker),
            "partial": True,
        }
    if query.after is not None:
        pagination["first"] = query.url(link, marker="")
    return {
        "type": "collection",
        "resourceType": view.type,
        "links": {"self": query.url(link)},
        "createTypes": {view.type: link} if "POST" in methods.collection() else {},
        "actions": {
            action.name: f"{link}?action={action.name}"
            for action in view.collection_actions
            if methods.may(action.need)
        },
        "pagination": pagination,
        "sort": {
            "order": "desc" if query.descending else "asc",
            "reverse": query.url(link, order="asc" if query.descending else "desc", marker=""),
            **({"name": query.sort} if query.sort else {}),
        },
        "filters": _filters(query),
        "data": page.rows,
    }


def _filters(query: Query) -> Mapping[str, list[Json]]:
    named: dict[str, list[Json]] = {}
    for one in query.filters:
        named.setdefault(one.field, []).append({"modifier": one.modifier, "value": one.value})
    return named
