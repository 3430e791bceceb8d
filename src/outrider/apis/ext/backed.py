"""Reads objects of this group that are views of Secrets or ConfigMaps (contract: auth-and-rbac §1.11, §1.12).

Selectors, pages, versions and watches are the API server's own: what it is asked for is the backing objects that
belong to the caller, by their label.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from outrider.apis.ext.group import KIND_LABEL, NAMESPACE, OWN_LABELS, USER_LABEL
from outrider.apis.ext.served import Caller, Change, Json, Page, Selection
from outrider.kube.client import Client
from outrider.kube.errors import BadRequest, NotFound
from outrider.kube.kind import Kind
from outrider.kube.selectors import SelectorError, is_label_value, parse_fields, parse_labels

Show = Callable[[Json, Caller], Json]
"""Makes the object that the caller sees of a backing one; pure."""

Oversees = Callable[[Caller], Awaitable[bool]]
"""Whether somebody sees everybody's objects."""

_METADATA = (
    "name", "resourceVersion", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
    "generation", "labels", "annotations", "finalizers", "ownerReferences",
)  # fmt: skip


class Backed:
    """Reads and deletes. `stored` is the kind of the backing objects, `mark` their value of the label of kinds."""

    def __init__(
        self,
        client: Client,
        kind: Kind[Any],
        stored: Kind[Json],
        mark: str,
        *,
        show: Show,
        oversees: Oversees,
    ) -> None:
        self._client = client
        self._kind = kind
        self._stored = stored
        self._mark = mark
        self._show = show
        self._oversees = oversees

    async def get(self, caller: Caller, name: str) -> Json:
        """One object. Raises NotFound, for somebody else's as well."""
        return self._show(await self.backing(caller, name), caller)

    async def backing(self, caller: Caller, name: str) -> Json:
        """The backing object of one. Raises NotFound."""
        try:
            stored = await self._client.get_or_none(self._stored, name, NAMESPACE)
        except ValueError:
            stored = None
        labels = ((stored or {}).get("metadata") or {}).get("labels") or {}
        if stored is None or labels.get(KIND_LABEL) != self._mark:
            raise not_found(self._kind, name)
        if labels.get(USER_LABEL) != caller.user and not await self._oversees(caller):
            raise not_found(self._kind, name)
        return stored

    async def select(self, caller: Caller, selection: Selection) -> Page:
        """The caller's objects; everybody's for whoever oversees them."""
        labels, fields = await self._narrowed(caller, selection)
        pages = self._client.pages(
            self._stored,
            NAMESPACE,
            labels=labels,
            fields=fields,
            limit=selection.limit,
            token=selection.after,
        )
        async with contextlib.aclosing(pages):
            page = await anext(pages)
        shown = [self._show(stored, caller) for stored in page.items]
        return Page(items=shown, version=page.resource_version, following=page.continue_token)

    async def watch(
        self, caller: Caller, selection: Selection, *, version: str, timeout: float
    ) -> AsyncGenerator[Change, None]:
        """Changes of the same."""
        labels, fields = await self._narrowed(caller, selection)
        stream = self._client.watch(
            self._stored, NAMESPACE, resource_version=version, labels=labels, fields=fields, timeout=timeout
        )
        async with contextlib.aclosing(stream):
            async for event in stream:
                shown = self._show(event.object, caller) if event.object is not None else None
                yield Change(type=event.type, version=event.resource_version, object=shown)

    async def delete(self, caller: Caller, old: Json) -> None:
        """Delete the backing object of one."""
        stored = await self.backing(caller, old["metadata"]["name"])
        await self._client.delete(
            self._stored, stored["metadata"]["name"], NAMESPACE, uid=stored["metadata"]["uid"]
        )

    async def _narrowed(self, caller: Caller, selection: Selection) -> tuple[str, str]:
        labels = [f"{KIND_LABEL}={self._mark}"]
        if not await self._oversees(caller):
            labels.append(owned_by(caller.user))
        try:
            labels += map(str, parse_labels(selection.labels).requirements)
            terms = parse_fields(selection.fields).terms
        except SelectorError as error:
            raise BadRequest(f"unable to parse requirement: {error}") from None
        unknown = next((term.path for term in terms if term.path != "metadata.name"), "")
        if unknown:
            raise BadRequest(f"field label not supported: {unknown}")
        return ",".join(labels), selection.fields


def not_found(kind: Kind[Any], name: str) -> NotFound:
    """The answer for an object that is not there, or not theirs."""
    details = {"name": name, "group": kind.group, "kind": kind.plural}
    return NotFound(f'{kind.plural}.{kind.group} "{name}" not found', details=details)


def shown_metadata(stored: Json, uid: str) -> Json:
    """The metadata of an object, of those of its backing one."""
    held = stored.get("metadata") or {}
    return {key: held[key] for key in _METADATA if held.get(key)} | {"uid": uid}


def kept_marks(sent: Json, held: Json | None = None) -> Json:
    """Labels and annotations for a backing object: those that were sent, and of the server's own those it has."""
    before = (held or {}).get("metadata") or {}
    now = sent.get("metadata") or {}
    return {
        field: _clients(now.get(field) or {}) | _own(before.get(field) or {})
        for field in ("labels", "annotations")
    }


def replaced_marks(held: Json, marks: Json) -> Json:
    """The merge patch of metadata that leaves these labels and annotations and no others."""
    before = held.get("metadata") or {}
    return {
        field: dict.fromkeys((before.get(field) or {}).keys() - wanted.keys()) | wanted
        for field, wanted in marks.items()
    }


def _own(marks: Json) -> Json:
    return {key: value for key, value in marks.items() if _is_own(key)}


def _clients(marks: Json) -> Json:
    return {key: value for key, value in marks.items() if not _is_own(key)}


def _is_own(key: str) -> bool:
    return key.startswith(OWN_LABELS)


def owned_by(user: str) -> str:
    """The selector of what belongs to a user; of nothing for a name that no label can hold, such as `system:…`.

    Kubernetes' own controllers watch every kind, and try again without end when they are refused.
    """
    return f"{USER_LABEL}={user}" if is_label_value(user) else f"{USER_LABEL},!{USER_LABEL}"
