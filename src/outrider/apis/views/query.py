"""What a list request asks of resources: filters, order, page (contract: clients §1, clusters §4.2); pure.

A filter is a field, with a modifier or without; all filters must hold. One on a field that the type does not
have drops nothing: clients send `system=false` and `removed_null=1` to every collection. An empty value means
"has none".
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from outrider.apis.norman import NormanError
from outrider.apis.views.view import Json

DEFAULT_LIMIT: Final = 1000
MAX_LIMIT: Final = 3000

_CONTROLS: Final = frozenset(
    {"limit", "marker", "sort", "order", "reverse", "action", "link", "include", "_", "csrf"}
)
_OPTIONS: Final = frozenset({"pagination", "filters", "_replace", "_method"})


def _lists(test: Callable[[str, list[str]], bool]) -> Callable[[str, str], bool]:
    return lambda held, wanted: test(held, [part.strip() for part in wanted.split(",")])


def _ordered(test: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    def compare(held: str, wanted: str) -> bool:
        try:
            return test(float(held), float(wanted))
        except ValueError:
            return False

    return compare


MODIFIERS: Final[dict[str, Callable[[str, str], bool]]] = {
    "eq": lambda held, wanted: held == wanted,
    "ne": lambda held, wanted: held != wanted,
    "null": lambda held, _: not held,
    "notnull": lambda held, _: bool(held),
    "in": _lists(lambda held, wanted: held in wanted),
    "notin": _lists(lambda held, wanted: held not in wanted),
    "prefix": lambda held, wanted: held.startswith(wanted),
    "like": lambda held, wanted: wanted.strip("%").casefold() in held.casefold(),
    "notlike": lambda held, wanted: wanted.strip("%").casefold() not in held.casefold(),
    "lt": _ordered(lambda held, wanted: held < wanted),
    "lte": _ordered(lambda held, wanted: held <= wanted),
    "gt": _ordered(lambda held, wanted: held > wanted),
    "gte": _ordered(lambda held, wanted: held >= wanted),
}
"""Modifier, as in `<field>_<modifier>` → whether a field's text passes."""


@dataclass(frozen=True)
class Filter:
    """One condition on a field."""

    field: str
    modifier: str
    value: str

    def passes(self, resource: Json) -> bool:
        """Whether a resource that may have the field passes. Objects are not compared, lists by their entries."""
        held = resource.get(self.field)
        if isinstance(held, dict):
            return self.modifier not in ("null", "notnull") or (self.modifier == "null") != bool(held)
        if isinstance(held, list):
            return self._passes_list([text(entry) for entry in held])
        return MODIFIERS[self.modifier](text(held), self.value)

    def _passes_list(self, entries: list[str]) -> bool:
        if self.modifier in ("null", "notnull"):
            return (self.modifier == "null") != bool(entries)
        if self.modifier in ("ne", "notin", "notlike"):
            return all(MODIFIERS[self.modifier](entry, self.value) for entry in entries)
        return any(MODIFIERS[self.modifier](entry, self.value) for entry in entries or [""])


@dataclass(frozen=True, kw_only=True)
class Query:
    """What a list request asks for. `limit` 0 stands for all; `after` is what the page before ended with."""

    filters: tuple[Filter, ...] = ()
    sort: str = ""
    descending: bool = False
    limit: int = DEFAULT_LIMIT
    after: tuple[str, str] | None = None
    pairs: tuple[tuple[str, str], ...] = ()

    def asks_for(self, fields: Collection[str]) -> bool:
        """Whether the order or any filter looks at one of these fields."""
        return self.sort in fields or any(one.field in fields for one in self.filters)

    def url(self, link: str, **changes: str) -> str:
        """The collection's URL with this query, some parameters changed or, where empty, left out."""
        kept = [(key, value) for key, value in self.pairs if key not in changes]
        query = urlencode([*kept, *((key, value) for key, value in changes.items() if value)])
        return f"{link}?{query}" if query else link


def parse(pairs: Iterable[tuple[str, str]], fields: Collection[str]) -> Query:
    """The query of a request to a collection whose resources have these fields. Raises NormanError (422)."""
    given = [(key, value) for key, value in pairs if len(value) <= 4096]
    last = {key.lower(): value for key, value in given}
    ignored = _CONTROLS | _OPTIONS
    filters = (_filter(key, value, fields) for key, value in given if key.lower() not in ignored)
    return Query(
        filters=tuple(one for one in filters if one is not None),
        sort=last.get("sort", ""),
        descending=last.get("order", "").lower() == "desc" or last.get("reverse", "").lower() == "true",
        limit=_limit(last.get("limit", "")),
        after=_marker(last["marker"]) if last.get("marker") else None,
        pairs=tuple((key, value) for key, value in given if key.lower() != "action"),
    )


def _filter(key: str, value: str, fields: Collection[str]) -> Filter | None:
    field, separator, modifier = key.rpartition("_")
    if separator and modifier.lower() in MODIFIERS and field in fields:
        return Filter(field, modifier.lower(), value)
    return Filter(key, "eq", value) if key in fields else None


def _limit(value: str) -> int:
    if not value:
        return DEFAULT_LIMIT
    try:
        limit = int(value)
    except ValueError:
        raise NormanError(422, "limit takes a whole number", code="InvalidFormat", field="limit") from None
    return 0 if limit < 0 else min(limit, MAX_LIMIT) or DEFAULT_LIMIT


@dataclass(frozen=True, kw_only=True)
class Page:
    """Part of a list. `total` counts what passed the filters; `marker` continues it, empty at the end."""

    rows: list[Json]
    total: int
    marker: str = ""


def select(query: Query, resources: Iterable[Json]) -> Page:
    """The page of the resources that a query asks for, in its order (by name, then id, without one)."""
    kept = [row for row in resources if all(one.passes(row) for one in query.filters)]
    field = query.sort or "name"
    keyed = sorted(((_key(row, field), row) for row in kept), key=_first, reverse=query.descending)
    start = 0 if query.after is None else _position(keyed, query)
    if not query.limit or start + query.limit >= len(keyed):
        return Page(rows=[row for _, row in keyed[start:]], total=len(kept))
    page = keyed[start : start + query.limit]
    return Page(rows=[row for _, row in page], total=len(kept), marker=_encode(page[-1][0]))


def _first(pair: tuple[tuple[str, str], Json]) -> tuple[str, str]:
    return pair[0]


def _key(row: Json, field: str) -> tuple[str, str]:
    value = row.get(field)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (f"{value:030.6f}", text(row.get("id")))
    return (text(value).casefold(), text(row.get("id")))


def _position(keyed: Sequence[tuple[tuple[str, str], Json]], query: Query) -> int:
    """Where a page starts: behind the key that the one before ended with, whether that is still there or not."""
    after = query.after
    for index, (key, _) in enumerate(keyed):
        if after is None or (key < after if query.descending else key > after):
            return index
    return len(keyed)


def _encode(key: tuple[str, str]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).rstrip(b"=").decode("ascii")


def _marker(value: str) -> tuple[str, str]:
    try:
        padded = value + "=" * (-len(value) % 4)
        return msgspec.json.decode(
            base64.b64decode(padded, altchars=b"-_", validate=True), type=tuple[str, str]
        )
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise NormanError(
            422, "this marker is not one of ours", code="InvalidFormat", field="marker"
        ) from None


def text(value: Any) -> str:
    """A field's value as it is compared with a parameter: nothing is the empty text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
