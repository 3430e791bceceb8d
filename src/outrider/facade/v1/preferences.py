"""`/v1/userpreferences`: what a user chose in the dashboard, all of it in one resource of their own.

Each choice is an object of `preferences.management.cattle.io` in a namespace with the user's name, read and written as
the user. The namespace is made by the server when the first choice is stored; it goes with the user.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from outrider.apis.management.preference import PREFERENCES
from outrider.apis.management.user import USERS
from outrider.apis.norman import NormanError
from outrider.apis.views.call import Call
from outrider.facade.v1.asked import Asking
from outrider.facade.v1.errors import no_method
from outrider.facade.v1.place import Place, Target
from outrider.facade.v1.rendering import json_answer
from outrider.facade.v1.roots import collection
from outrider.facade.v3.edge import gather
from outrider.facade.v3.exchange import body_of
from outrider.kube.builtin import NAMESPACES
from outrider.kube.client import Client
from outrider.kube.errors import AlreadyExists, Forbidden, NotFound

Json = dict[str, Any]

MOST: Final = 256
"""Choices of one user."""


class Preferences:
    """Answers for a user's own preferences. `client` is the server's own, and makes namespaces only."""

    def __init__(self, asking: Asking, client: Client) -> None:
        self._asking = asking
        self._client = client

    async def answer(self, request: Request, target: Target) -> Response:
        """A request to the collection, or to the one that is the user's. Raises NormanError 404 for any other."""
        call, place = await self._asking.call(request, Target())
        if not target.parts:
            if request.method not in ("GET", "HEAD"):
                raise no_method("the collection of userpreferences", request.method)
            return json_answer(collection("userpreference", place, [await self._shown(call, place)]))
        if target.parts != (call.user,):
            raise NormanError(404, f"userpreference {target.parts[0][:80]} not found", code="NotFound")
        if request.method == "PUT":
            await self._write(call, _choices(await body_of(request)))
        elif request.method == "DELETE":
            await self._write(call, {})
        elif request.method not in ("GET", "HEAD"):
            raise no_method("a userpreference", request.method)
        return json_answer(await self._shown(call, place))

    async def _shown(self, call: Call, place: Place) -> Json:
        link = f"{place.root}/userpreferences/{call.user}"
        return {
            "id": call.user,
            "type": "userpreference",
            "links": {"self": link, "update": link, "remove": link},
            "actions": {},
            "data": await self._read(call),
        }

    async def _read(self, call: Call) -> dict[str, str]:
        try:
            found = await call.client.list(PREFERENCES, call.user)
        except Forbidden:
            return {}  # who may keep none has none
        return {one.metadata.name: one.value for one in found.items}

    async def _write(self, call: Call, wanted: Mapping[str, str]) -> None:
        """Makes what is stored equal to what was sent."""
        held = {
            one.metadata.name: one.value for one in (await call.client.list(PREFERENCES, call.user)).items
        }
        changed = {name: value for name, value in wanted.items() if held.get(name) != value}
        if not held and changed:
            # the first of all: its namespace may not be there yet
            name, value = changed.popitem()
            await self._first(call, name, value)
        await gather(partial(self._store, call, name, value) for name, value in changed.items())
        gone = held.keys() - wanted.keys()
        await gather(partial(call.client.delete_if_exists, PREFERENCES, name, call.user) for name in gone)

    async def _first(self, call: Call, name: str, value: str) -> None:
        try:
            await self._store(call, name, value)
        except NotFound:
            await self._make_namespace(call.user)
            await self._store(call, name, value)

    async def _make_namespace(self, user: str) -> None:
        owner = await self._client.get(USERS, user)
        reference = {
            "apiVersion": USERS.api_version,
            "kind": USERS.kind,
            "name": user,
            "uid": owner.metadata.uid,
        }
        namespace = {"metadata": {"name": user, "ownerReferences": [reference]}}
        try:
            await self._client.create(NAMESPACES, namespace)
        except AlreadyExists:
            return

    async def _store(self, call: Call, name: str, value: str) -> None:
        made = {"metadata": {"name": name, "namespace": call.user}, "value": value}
        try:
            await call.client.create(PREFERENCES, made)
        except AlreadyExists:
            await call.client.patch(PREFERENCES, name, {"value": value}, call.user)


def _choices(body: Json) -> dict[str, str]:
    """What was sent. Raises NormanError (422)."""
    data = body.get("data")
    if not isinstance(data, dict) or any(not isinstance(value, str) for value in data.values()):
        raise NormanError(422, "data takes an object of texts", code="InvalidFormat", field="data")
    if len(data) > MOST:
        raise NormanError(422, f"data takes {MOST} entries at most", code="MaxLimitExceeded", field="data")
    return data
