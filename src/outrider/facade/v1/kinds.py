"""What is particular about kinds of the product's own; every other kind is shown as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from outrider.apis.management.cluster import CLUSTERS
from outrider.apis.management.token import TOKENS
from outrider.apis.management.user import USERS
from outrider.apis.provisioning.cluster import PROVISIONING_CLUSTERS
from outrider.apis.views.call import Call
from outrider.apis.views.rights import Methods
from outrider.apis.views.view import Context, View
from outrider.facade.v1.values import Entry
from outrider.facade.v3.registry import Registry
from outrider.kube.kind import Kind
from outrider.kube.meta import ObjectKey

_SECRET: Final[Mapping[tuple[str, str], frozenset[str]]] = {
    (TOKENS.group, TOKENS.plural): frozenset({"token"}),
    (USERS.group, USERS.plural): frozenset({"password"}),
}
"""Members of flat kinds that hold what nobody needs to read: digests of secrets."""


OPEN_LISTS: Final = frozenset((kind.group, kind.plural) for kind in (CLUSTERS, PROVISIONING_CLUSTERS))
"""Kinds that everybody may list at the management cluster: for those who may see none, the list is empty."""


class Kinds:
    """Finds the views of `/v3` that stand beside a kind of the management cluster: their actions and stores."""

    def __init__(self, registry: Registry) -> None:
        self._views: dict[tuple[str, str], View] = {}
        for form in registry.all(Context.MANAGEMENT):
            self._views.setdefault((form.view.kind.group, form.view.kind.plural), form.view)

    def view(self, kind: Kind[Any]) -> View | None:
        """The view of a kind, if there is one."""
        return self._views.get((kind.group, kind.plural))

    def public(self, name: str) -> View | None:
        """The view of the kind with a collection's name, if it is shown to those who have not signed in."""
        group, _, plural = name.rpartition(".")
        view = self._views.get((group, plural)) or self._views.get((group, f"{plural}s"))
        return view if view is not None and view.public else None

    def hidden(self, kind: Kind[Any]) -> frozenset[str]:
        """Members of the kind's objects that are never shown: digests, and the second spelling of roles."""
        view = self.view(kind)
        spelled = frozenset({"spec"}) if view is not None and view.is_spelled else frozenset()
        return spelled | _SECRET.get((kind.group, kind.plural), frozenset())

    def actions(self, kind: Kind[Any], call: Call) -> Callable[[Entry, str], Mapping[str, str]]:
        """The actions that an object's view offers to a user."""
        view = self.view(kind)
        if view is None or not view.actions:
            return lambda _, __: {}
        methods = Methods(view, call)

        def offered(entry: Entry, link: str) -> Mapping[str, str]:
            obj = msgspec.json.decode(entry.data)
            return {
                action.name: f"{link}?action={action.name}"
                for action in view.actions
                if action.offered(obj) and methods.may(action.need, entry.key)
            }

        return offered


def stored_entry(obj: Mapping[str, Any], cells: Sequence[Any] = ()) -> Entry:
    """The entry of an object in plain values."""
    meta = obj.get("metadata") or {}
    key = ObjectKey(meta.get("namespace") or "", meta.get("name") or "")
    return Entry(key, tuple(cells), msgspec.json.encode(obj))
