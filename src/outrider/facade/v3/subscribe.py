"""`/v3/subscribe`: a WebSocket that says what changes among the resources that the user may see.

Frames out are `{name, resourceType, data}` with the names `resource.change`, `resource.remove` and `ping`. The
parameters are `resourceTypes` (repeated, or with commas; without one, all) and `eventNames`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

import msgspec
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from outrider.apis.norman import NormanError
from outrider.apis.views.form import Form
from outrider.apis.views.show import identifier, root
from outrider.apis.views.view import Json
from outrider.facade.changes import Change, Changes, Watches
from outrider.facade.norman import error_response, from_kubernetes
from outrider.facade.v3 import target as targets
from outrider.facade.v3.calls import Calls
from outrider.facade.v3.edge import Edge
from outrider.facade.v3.exchange import path_of
from outrider.facade.v3.registry import Registry
from outrider.facade.v3.rendering import Renderer
from outrider.facade.v3.target import Target
from outrider.kit.tasks import cancel_and_wait
from outrider.kube.errors import ApiError, KubeError
from outrider.kube.meta import ObjectKey

PING_SECONDS: Final = 15.0

Changed = dict[tuple[Form, ObjectKey], bool]
"""What changed since it was last looked at → whether it is gone."""


class Subscriptions:
    """Serves subscribers. `pause` is how long changes gather before they are told, in seconds."""

    def __init__(
        self, registry: Registry, calls: Calls, renderer: Renderer, watches: Watches, *, pause: float = 0.2
    ) -> None:
        self._registry = registry
        self._calls = calls
        self._renderer = renderer
        self._watches = watches
        self._pause = pause

    def routes(self) -> list[WebSocketRoute]:
        """The routes: of all roots, singular and plural."""
        paths = ("/v3/subscribe", "/v3/{root}/{id}/subscribe")
        return [WebSocketRoute(path, self.answer) for path in paths]

    @property
    def watches(self) -> int:
        """How many kinds are watched for all subscribers together."""
        return self._watches.watches

    async def answer(self, websocket: WebSocket) -> None:
        """One subscriber, until it goes."""
        try:
            target = self._target(websocket)
            call = await self._calls.make(websocket, cluster=target.cluster, project=target.project)
            forms = self._forms(websocket, target)
        except (NormanError, KubeError) as error:
            refusal = error if isinstance(error, NormanError) else from_kubernetes(error)
            await websocket.send_denial_response(error_response(refusal))
            return
        await websocket.accept()
        await self._serve(
            websocket, target, forms, self._watches.of(call.cluster, call.identity, call.client)
        )

    def _target(self, websocket: WebSocket) -> Target:
        target = targets.parse(path_of(websocket).rpartition("/")[0])
        if target is None:
            raise NormanError(404, "no such path")
        if target.plural:
            opener = self._registry.find(target.context, target.plural)
            if opener is None or opener.view.opens is None or not target.id:
                raise NormanError(404, "no such path")
            return Target(context=opener.view.opens, root=target.id)
        return target

    def _forms(self, websocket: WebSocket, target: Target) -> Sequence[Form]:
        asked = [
            name.strip().lower()
            for value in websocket.query_params.getlist("resourceTypes")
            for name in value.split(",")
            if name.strip()
        ]
        offered = [form for form in self._registry.all(target.context) if form.view.watchable]
        if not asked:
            return offered
        return [form for form in offered if form.view.type.lower() in asked]

    async def _serve(
        self, websocket: WebSocket, target: Target, forms: Iterable[Form], changes: Changes
    ) -> None:
        pending: Changed = {}
        there = asyncio.Event()

        def tell(form: Form, change: Change) -> None:
            if change.event != "lost":
                pending[form, change.key] = change.gone
                there.set()

        async with contextlib.AsyncExitStack() as stack:
            for form in forms:
                await stack.enter_async_context(changes.told(form.view.kind, partial(tell, form)))
            tasks = [
                asyncio.create_task(self._report(websocket, target, pending, there)),
                asyncio.create_task(_ping(websocket)),
                asyncio.create_task(_listen(websocket)),
            ]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await cancel_and_wait(*tasks)

    async def _report(
        self, websocket: WebSocket, target: Target, pending: Changed, there: asyncio.Event
    ) -> None:
        while True:
            await there.wait()
            await asyncio.sleep(self._pause)
            there.clear()
            taken, left = list(pending.items()), len(pending)
            pending.clear()
            if left:
                await self._tell_all(websocket, target, taken)

    async def _tell_all(
        self, websocket: WebSocket, target: Target, taken: Iterable[tuple[tuple[Form, ObjectKey], bool]]
    ) -> None:
        # anew each time: rights change too
        call = await self._calls.make(websocket, cluster=target.cluster, project=target.project)
        for (form, key), gone in taken:
            view = form.view
            now, _ = await self._calls.within(call, view, key.namespace)
            if not now.rights.allows(
                "get", view.kind.group, view.kind.plural, name=key.name, namespace=key.namespace
            ):
                continue
            if gone:
                name = identifier(key)
                removed = {
                    "id": name,
                    "type": view.type,
                    "links": {"self": f"{root(now)}/{view.plural}/{name}"},
                }
                await _send(websocket, "resource.remove", view.type, removed)
                continue
            try:
                shown = await self._renderer.one(form, now, await Edge(view, now).get(key))
            except (ApiError, NormanError):
                continue  # gone again, or not theirs
            await _send(websocket, "resource.change", view.type, shown)


async def _send(websocket: WebSocket, name: str, kind: str, data: Json) -> None:
    content = {"name": name, "resourceType": kind, "data": data}
    await websocket.send_text(msgspec.json.encode(content).decode())


async def _ping(websocket: WebSocket) -> None:
    while True:
        await websocket.send_text('{"name":"ping","data":{}}')
        await asyncio.sleep(PING_SECONDS)


async def _listen(websocket: WebSocket) -> None:
    """What subscribers send means nothing here; that they go does."""
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            await websocket.receive_text()
