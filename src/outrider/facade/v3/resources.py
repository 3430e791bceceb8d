"""Single resources: read, changed, removed, acted on."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from outrider.apis.norman import NormanError
from outrider.apis.views.call import Call
from outrider.apis.views.form import Form
from outrider.apis.views.rights import Methods
from outrider.apis.views.show import key_of
from outrider.apis.views.take import changes
from outrider.apis.views.view import Invocation, Json, View
from outrider.facade.v3.calls import Calls
from outrider.facade.v3.edge import Edge, not_found, retried
from outrider.facade.v3.exchange import (
    answer,
    body_of,
    check_method,
    find_action,
    no_right,
    result,
    unavailable,
)
from outrider.facade.v3.rendering import Renderer
from outrider.facade.v3.target import Target
from outrider.kube.meta import ObjectKey


class Resources:
    """Requests to one resource."""

    def __init__(self, calls: Calls, renderer: Renderer) -> None:
        self._calls = calls
        self._renderer = renderer

    async def get(self, request: Request, target: Target, form: Form) -> Response:
        """GET: the resource; with the address of its schemas where it is a root."""
        view = form.view
        check_method(view, "GET")
        call, key = await self._calls.at(request, target, form), _key(view, target.id)
        call, _ = await self._calls.within(call, view, key.namespace)
        found = await Edge(view, call).get(key)
        headers = {}
        if view.opens is not None:
            headers["X-API-Schemas"] = f"{call.base}/v3/{view.opens.value}/{target.id}/schemas"
        return answer(await self._renderer.one(form, call, found), headers=headers)

    async def update(self, request: Request, target: Target, form: Form) -> Response:
        """PUT: the fields that were sent, or with `_replace` all."""
        view = form.view
        check_method(view, "PUT")
        call, key = await self._calls.at(request, target, form), _key(view, target.id)
        call, _ = await self._calls.within(call, view, key.namespace)
        body, edge = await body_of(request), Edge(view, call)
        replace = request.query_params.get("_replace") == "true"

        async def attempt() -> Json:
            old = await edge.get_or_new(key) if view.upserts else await edge.get(key)
            patch = changes(form, old, body, replace=replace)
            hook = view.hooks.update
            if hook is None:
                return await edge.update(old, patch)
            return await hook(call, old, patch, body, partial(edge.update, old))

        return answer(await self._renderer.one(form, call, await retried(attempt)))

    async def delete(self, request: Request, target: Target, form: Form) -> Response:
        """DELETE: 204, or what is left while finalizers run."""
        view = form.view
        check_method(view, "DELETE")
        call, key = await self._calls.at(request, target, form), _key(view, target.id)
        return await self._remove(call, form, key)

    async def _remove(self, call: Call, form: Form, key: ObjectKey) -> Response:
        view = form.view
        call, _ = await self._calls.within(call, view, key.namespace)
        edge = Edge(view, call)
        old = await edge.get(key)
        if not view.removable(old):
            raise NormanError(405, f"{view.type} {key.name} cannot be removed")
        hook, proceed = view.hooks.delete, partial(edge.delete, old)
        left = await (proceed() if hook is None else hook(call, old, proceed))
        if left is None:
            return Response(status_code=204)
        return answer(await self._renderer.one(form, call, left))

    async def act(self, request: Request, target: Target, form: Form) -> Response:
        """POST with an action."""
        view = form.view
        call, key = await self._calls.at(request, target, form), _key(view, target.id)
        if request.query_params["action"].lower() == "remove" and "DELETE" in view.methods:
            return await self._remove(call, form, key)
        action = find_action(view.actions, request)
        call, _ = await self._calls.within(call, view, key.namespace)
        found = await Edge(view, call).get(key)
        if not action.offered(found):
            raise unavailable(view.actions)
        if not Methods(view, call).may(action.need, key_of(found)):
            raise no_right(view, action)
        done = await action.run(Invocation(call=call, body=await body_of(request), object=found))
        shown = (
            {} if done is not None else await self._renderer.one(form, call, await Edge(view, call).get(key))
        )
        return result(done, shown)


def _key(view: View, identifier: str) -> ObjectKey:
    if not view.kind.namespaced or view.store is not None:
        return ObjectKey("", identifier)
    namespace, colon, name = identifier.partition(":")
    if not colon or not namespace or not name:
        raise not_found(view, ObjectKey("", identifier))
    return ObjectKey(namespace, name)
