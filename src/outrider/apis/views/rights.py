"""What a user's rights leave of a view: the methods of its schema, and the links and actions of its resources."""

from __future__ import annotations

from outrider.apis.views.call import Call
from outrider.apis.views.view import Need, View
from outrider.kube.meta import ObjectKey

_NOTHING = ObjectKey("", "")


class Methods:
    """Answers for one view and one user; asks the view's own store where it has one."""

    def __init__(self, view: View, call: Call) -> None:
        self._view = view
        self._call = call
        self._group = view.kind.group
        self._resource = view.kind.plural

    def collection(self) -> list[str]:
        """The methods of the collection."""
        allowed = {"GET": self._may_see_some(), "POST": self._some("create")}
        return [method for method, may in allowed.items() if may and method in self._view.methods]

    def resource(self) -> list[str]:
        """The methods of single resources: those that the user may use on some of them."""
        allowed = {
            "GET": self._may_see_some(),
            "PUT": self._some("update") or self._some("patch"),
            "DELETE": self._some("delete"),
        }
        return [method for method, may in allowed.items() if may and method in self._view.methods]

    def may_update(self, key: ObjectKey) -> bool:
        """Whether the user may change an object."""
        return self._one("update", key) or self._one("patch", key)

    def may_delete(self, key: ObjectKey) -> bool:
        """Whether the user may delete an object."""
        return self._one("delete", key)

    def may(self, need: Need | None, key: ObjectKey = _NOTHING) -> bool:
        """Whether the user has the right that an action on an object, or on the collection, needs."""
        if need is None:
            return True
        if need.resource:
            group = self._group if need.group is None else need.group
            return self._call.rights.allows_some(need.verb, group, need.resource)
        if key is _NOTHING:
            return self._some(need.verb)
        return self._one(need.verb, key)

    def _may_see_some(self) -> bool:
        return self._some("list") or self._some("get")

    def _some(self, verb: str) -> bool:
        if self._view.store is not None:
            return self._view.store.allows(self._call, verb, None)
        return self._call.rights.allows_some(verb, self._group, self._resource)

    def _one(self, verb: str, key: ObjectKey) -> bool:
        if self._view.store is not None:
            return self._view.store.allows(self._call, verb, key)
        return self._call.rights.allows(
            verb, self._group, self._resource, name=key.name, namespace=key.namespace
        )
