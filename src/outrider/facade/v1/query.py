"""What a list request of `/v1` asks for (contract, clusters §4.4); pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from outrider.apis.norman import NormanError
from outrider.facade.v1 import filters, paths
from outrider.facade.v1.filters import Alternatives, FilterError
from outrider.facade.v1.paths import Path

MAX_FILTERS: Final = 64
MAX_PAGE: Final = 100_000
OFFSET: Final = "offset:"
"""What a `continue` of ours begins with; any other is the API server's."""


@dataclass(frozen=True)
class Order:
    """One field of an order."""

    path: Path
    descending: bool = False


@dataclass(frozen=True)
class Selection:
    """Which objects, in which order. Equal selections of equal objects are equal lists.

    `among` are namespaces or projects to which a list is narrowed; `apart` those that are left out.
    """

    filters: tuple[Alternatives, ...] = ()
    order: tuple[Order, ...] = ()
    among: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()

    @property
    def paths(self) -> list[Path]:
        """The fields that it looks at."""
        looked = [one.path for group in self.filters for one in group]
        return list(dict.fromkeys([*looked, *(one.path for one in self.order)]))


@dataclass(frozen=True, kw_only=True)
class Query:
    """One list request. `pagesize` and `limit` 0 stand for all; `page` counts from 1; `token` continues a list."""

    selection: Selection = Selection()
    labels: str = ""
    fields: str = ""
    page: int = 1
    pagesize: int = 0
    limit: int = 0
    token: str = ""
    revision: str = ""
    summary: tuple[Path, ...] = ()
    summary_only: bool = False
    include: tuple[Path, ...] = ()
    exclude: tuple[Path, ...] = ()
    emptied: tuple[Path, ...] = ()
    permissions: tuple[str, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether the API server's own list is the answer, in its order, page by page."""
        continues_ours = self.token.startswith(OFFSET)
        further = self.pagesize or self.summary or self.permissions or continues_ours
        return self.selection == Selection() and not further

    @property
    def window(self) -> tuple[int, int]:
        """Where the asked part of the selected objects begins, and how many it has at most (0: all)."""
        start = int(self.token.removeprefix(OFFSET)) if self.token.startswith(OFFSET) else 0
        size = min(size for size in (self.pagesize, self.limit) if size) if self.pagesize or self.limit else 0
        return start + (self.page - 1) * self.pagesize, size


def parse(pairs: Iterable[tuple[str, str]]) -> Query:
    """The query of a request. Parameters that mean nothing are passed over. Raises NormanError (422)."""
    given: dict[str, list[str]] = {}
    for key, value in pairs:
        given.setdefault(key, []).append(value)
    try:
        return _query(given)
    except FilterError as error:
        raise NormanError(422, str(error), code="InvalidFormat", field="filter") from None
    except ValueError as error:
        raise NormanError(422, str(error), code="InvalidFormat") from None


def _query(given: dict[str, list[str]]) -> Query:
    among, apart = given.get("projectsornamespaces", []), given.get("projectsornamespaces!", [])
    parsed = tuple(filters.parse(text) for text in given.get("filter", ()) if text)
    if len(parsed) > MAX_FILTERS:
        raise FilterError(f"there are more than {MAX_FILTERS} filters")
    return Query(
        selection=Selection(
            filters=parsed,
            order=tuple(_order(text) for text in _listed(given.get("sort", ()))),
            among=tuple(_listed(among)),
            apart=tuple(_listed(apart)),
        ),
        labels=_last(given, "labelSelector"),
        fields=_last(given, "fieldSelector"),
        page=max(1, _whole(given, "page", 1)),
        pagesize=_whole(given, "pagesize", 0),
        limit=_whole(given, "limit", 0),
        token=_token(_last(given, "continue")),
        revision=_last(given, "revision"),
        summary=_paths(given, "summary"),
        summary_only="summaryonly" in given,
        include=_paths(given, "include"),
        exclude=_paths(given, "exclude"),
        emptied=_paths(given, "excludeValues"),
        permissions=tuple(_listed(given.get("checkPermissions", ()))),
    )


def _order(text: str) -> Order:
    return Order(paths.parse(text.removeprefix("-")), text.startswith("-"))


def _paths(given: dict[str, list[str]], name: str) -> tuple[Path, ...]:
    return tuple(paths.parse(text) for text in _listed(given.get(name, ())))


def _listed(values: Iterable[str]) -> list[str]:
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def _last(given: dict[str, list[str]], name: str) -> str:
    return given.get(name, [""])[-1]


def _whole(given: dict[str, list[str]], name: str, absent: int) -> int:
    value = _last(given, name)
    if not value:
        return absent
    try:
        return min(max(0, int(value)), MAX_PAGE)
    except ValueError:
        raise ValueError(f"{name} takes a whole number") from None


def _token(value: str) -> str:
    if value.startswith(OFFSET) and not value.removeprefix(OFFSET).isdecimal():
        raise ValueError("this is no token to continue with")
    return value
