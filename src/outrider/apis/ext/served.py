"""How a kind is declared that the server itself serves to the API server: what can be done with it, and by whom.

A `Served` names one function for each thing that can be done; its verbs follow from those that are there. The
functions get whoever asks as the API server verified them, which has already decided that RBAC allows the verb:
they decide whose objects these are. They raise `ApiError`, which becomes the answer's Status.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import msgspec

from outrider.kube.errors import ApiError
from outrider.kube.identity import Identity
from outrider.kube.kind import Kind

Json = dict[str, Any]
F = TypeVar("F")

TOKEN_EXTRA = "requesttokenid"  # noqa: S105 (the name of an attribute)
HOST_EXTRA = "requesthost"


@dataclass(frozen=True)
class Caller:
    """Who asks, as the API server says."""

    identity: Identity

    @property
    def user(self) -> str:
        """The name of the user."""
        return self.identity.user

    @property
    def token(self) -> str:
        """The name of the token that they signed in with; empty when that is not known."""
        return self._extra(TOKEN_EXTRA)

    @property
    def host(self) -> str:
        """The host under which they reached this server; empty when that is not known."""
        return self._extra(HOST_EXTRA)

    def _extra(self, key: str) -> str:
        values = self.identity.extra.get(key, ())
        return values[0] if len(values) == 1 else ""


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which objects of a collection: selectors as text; `limit` 0 stands for all, `after` continues a page."""

    labels: str = ""
    fields: str = ""
    limit: int = 0
    after: str = ""


class Page(msgspec.Struct, kw_only=True):
    """Some objects, the version that they are of, and where the next page begins."""

    items: list[Json]
    version: str = ""
    following: str = ""


class Change(msgspec.Struct, kw_only=True):
    """ADDED, MODIFIED or DELETED with an object, or BOOKMARK with a version only."""

    type: str
    version: str
    object: Json | None = None


class Create(Protocol):
    """Makes an object of what was sent, and returns it as it is to be shown; keeps nothing when `dry_run`."""

    async def __call__(self, caller: Caller, sent: Json, *, dry_run: bool) -> Json:
        """Make it."""
        ...


class Get(Protocol):
    """Returns an object. Raises NotFound, for what the caller may not see as well."""

    async def __call__(self, caller: Caller, name: str) -> Json:
        """Find it."""
        ...


class Select(Protocol):
    """Returns objects of a collection that the caller may see."""

    async def __call__(self, caller: Caller, selection: Selection) -> Page:
        """Find them."""
        ...


class Watch(Protocol):
    """Yields changes after a version ("": with all that is there first) for about `timeout` seconds."""

    def __call__(
        self, caller: Caller, selection: Selection, *, version: str, timeout: float
    ) -> AsyncGenerator[Change, None]:
        """Follow them."""
        ...


class Update(Protocol):
    """Makes of an object what was sent whole, and returns it. Raises Conflict, Invalid."""

    async def __call__(self, caller: Caller, old: Json, sent: Json, *, dry_run: bool) -> Json:
        """Change it."""
        ...


class Delete(Protocol):
    """Deletes an object that the caller may see."""

    async def __call__(self, caller: Caller, old: Json) -> None:
        """Delete it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Served:
    """One kind, and what can be done with it."""

    kind: Kind[Any]
    create: Create | None = None
    get: Get | None = None
    select: Select | None = None
    watch: Watch | None = None
    update: Update | None = None
    delete: Delete | None = None

    @property
    def verbs(self) -> list[str]:
        """The verbs as discovery lists them, sorted."""
        found = {
            "create": self.create,
            "get": self.get,
            "list": self.select,
            "watch": self.watch,
            "update": self.update,
            "patch": self.update,
            "delete": self.delete,
            "deletecollection": self.delete,
        }
        return sorted(verb for verb, function in found.items() if function is not None)


def offered(function: F | None) -> F:
    """The function for what was asked for. Raises ApiError 405 where there is none."""
    if function is None:
        message = "the server does not allow this method on the requested resource"
        raise ApiError(message, code=405, reason="MethodNotAllowed")
    return function
