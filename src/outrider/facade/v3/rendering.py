"""From objects to the resources of an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from outrider.apis.views.call import Call
from outrider.apis.views.form import Form
from outrider.apis.views.query import Page, Query, select
from outrider.apis.views.rights import Methods
from outrider.apis.views.show import STATE, Linked, fields_of, finished, key_of, with_state
from outrider.apis.views.view import Context, InCluster, Json
from outrider.facade.v3.edge import not_found
from outrider.facade.v3.registry import RETIRED, Registry
from outrider.kit.clock import Clock
from outrider.kube.meta import ObjectKey

_CHUNK: Final = 100
_ALWAYS: Final = frozenset({"schemas", "subscribe"})


class Renderer:
    """Shows objects as a view says, with the links and actions that the user's rights back."""

    def __init__(self, registry: Registry, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock

    async def page(self, form: Form, call: Call, objects: Sequence[Json], query: Query) -> Page:
        """The page of the resources of objects that a query asks for; only what is on it is shown in full."""
        now, stateful = self._clock.now(), query.asks_for(STATE)
        sources: dict[int, Json] = {}
        rows: list[Json] = []
        for number, one in enumerate(objects):
            row = fields_of(form, one, call)
            row = with_state(form, one, row, now=now) if stateful else row
            rows.append(row)
            sources[id(row)] = one
            if number % _CHUNK == _CHUNK - 1:
                await asyncio.sleep(0)  # others have their turn
        found = select(query, rows)
        shown = await self._finished(form, call, [(sources[id(row)], row) for row in found.rows])
        return replace(found, rows=shown)

    async def _finished(self, form: Form, call: Call, rows: Sequence[tuple[Json, Json]]) -> list[Json]:
        methods, now, linked = Methods(form.view, call), self._clock.now(), self._linker(call)
        shown: list[Json] = []
        for number, (obj, row) in enumerate(rows):
            shown.append(finished(form, obj, row, call, methods=methods, linked=linked, now=now))
            if number % _CHUNK == _CHUNK - 1:
                await asyncio.sleep(0)
        return shown

    def _linker(self, call: Call) -> Linked:
        found: dict[tuple[str, str], bool] = {}

        def linked(name: str, key: ObjectKey) -> bool:
            asked = (name, key.name)
            if asked not in found:
                found[asked] = self._may_follow(call, name, key)
            return found[asked]

        return linked

    def _may_follow(self, call: Call, name: str, key: ObjectKey) -> bool:
        form = self._registry.find(Context.MANAGEMENT, name)
        if form is None:
            # of the root that the object is, where the other cluster knows the rights; or given up, and empty
            return name in _ALWAYS or name.lower() in RETIRED or self._registry.is_below(name)
        view = form.view
        if not isinstance(view.placement, InCluster):
            return "GET" in Methods(view, call).collection()
        group, plural = view.kind.group, view.kind.plural
        return call.rights.allows("list", group, plural, namespace=key.name) or bool(
            call.rights.names("get", group, plural, namespace=key.name)
        )

    async def one(self, form: Form, call: Call, obj: Json) -> Json:
        """The resource of one object as stored. Raises NormanError 404 for one that is not to be shown here."""
        ready = await form.view.prepare(call, [obj])
        if not ready:
            raise not_found(form.view, key_of(obj))
        (shown,) = await self._finished(form, call, [(ready[0], fields_of(form, ready[0], call))])
        return shown
