"""Objects in the forms that clients ask for: rows for people, or metadata alone (meta.k8s.io/v1)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from outrider.apis.crd import Column, Resource
from outrider.apis.ext.served import Json
from outrider.kube.kind import Kind

_META = "meta.k8s.io/v1"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "y": 365 * 86400}
_AGES = (
    (120, "s", ""),
    (10 * 60, "m", "s"),
    (3 * 3600, "m", ""),
    (8 * 3600, "h", "m"),
    (48 * 3600, "h", ""),
    (8 * 86400, "d", "h"),
    (730 * 86400, "d", ""),
)
_STEP = re.compile(r"\.((?:[^.\\]|\\.)+)")
_NAME: Json = {
    "name": "Name",
    "type": "string",
    "format": "name",
    "description": "Name of the object; unique among its kind.",
    "priority": 0,
}


def table(
    kind: Kind[Any],
    items: Sequence[Json],
    metadata: Json,
    now: datetime,
    *,
    head: bool = True,
    include: str = "Metadata",
) -> Json:
    """A Table with a row an object; without its `head`, as later events of a watch have it.

    `include` says what each row brings along: None, Metadata or Object.
    """
    resource: Resource = kind.type.resource
    rows = [
        {"cells": _cells(item, resource.columns, now), "object": _brought(item, include)} for item in items
    ]
    return {
        "kind": "Table",
        "apiVersion": _META,
        "metadata": metadata,
        "columnDefinitions": [_NAME, *map(_definition, resource.columns)] if head else [],
        "rows": rows,
    }


def _brought(item: Json, include: str) -> Json | None:
    if include == "None":
        return None
    return item if include == "Object" else partial(item)


def partial(item: Json) -> Json:
    """The metadata of an object alone."""
    return {"kind": "PartialObjectMetadata", "apiVersion": _META, "metadata": item["metadata"]}


def partial_list(items: Iterable[Json], metadata: Json) -> Json:
    """The metadata of several."""
    return {
        "kind": "PartialObjectMetadataList",
        "apiVersion": _META,
        "metadata": metadata,
        "items": [partial(item) for item in items],
    }


def _definition(column: Column) -> Json:
    return {
        "name": column.name,
        # ages are counted here: what arrives is a text
        "type": "string" if column.type == "date" else column.type,
        "format": "",
        "description": column.description,
        "priority": 1 if column.wide else 0,
    }


def _cells(item: Json, columns: Iterable[Column], now: datetime) -> list[Any]:
    return [item["metadata"]["name"], *(_cell(item, column, now) for column in columns)]


def _cell(item: Json, column: Column, now: datetime) -> Any:
    value: Any = item
    for step in _STEP.findall(column.path):
        value = value.get(step.replace("\\", "")) if isinstance(value, dict) else None
    if column.type == "date":
        return age(value, now)
    if isinstance(value, list):
        return ",".join(map(str, value))
    if value is None:
        return "" if column.type == "string" else None
    return value


def age(created: object, now: datetime) -> str:
    """How long ago, in one or two units as kubectl counts: 45s, 7m12s, 3h5m, 6d."""
    try:
        moment = datetime.fromisoformat(str(created))
    except ValueError:
        return "<unknown>"
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    seconds = max(0, int((now - moment) / timedelta(seconds=1)))
    # up to this many seconds, in this unit, with the rest in the next smaller one
    for limit, unit, rest in _AGES:
        if seconds < limit:
            whole, left = divmod(seconds, _SECONDS[unit])
            part = left // _SECONDS[rest] if rest else 0
            return f"{whole}{unit}{part}{rest}" if part else f"{whole}{unit}"
    years, left = divmod(seconds, _SECONDS["y"])
    return f"{years}y{left // _SECONDS['d']}d"
