"""Collections: lists, creations, and actions on all."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from outrider.apis.norman import NormanError
from outrider.apis.views.call import Call
from outrider.apis.views.form import Form
from outrider.apis.views.query import Query, parse
from outrider.apis.views.rights import Methods
from outrider.apis.views.schema import collection
from outrider.apis.views.show import root
from outrider.apis.views.take import draft
from outrider.apis.views.view import InCluster, InNamespace, Invocation, Json, View
from outrider.facade.v3.calls import Calls
from outrider.facade.v3.edge import Edge
from outrider.facade.v3.exchange import answer, body_of, check_method, find_action, no_right, result
from outrider.facade.v3.rendering import Renderer
from outrider.facade.v3.target import Target
from outrider.link.claims import claim_of


class Collections:
    """Requests to a collection."""

    def __init__(self, calls: Calls, renderer: Renderer) -> None:
        self._calls = calls
        self._renderer = renderer

    async def list(
        self, request: Request, target: Target, form: Form, further: Sequence[tuple[str, str]] = ()
    ) -> Response:
        """GET: what the user may see of it; `further` are filters beside those of the query."""
        view = form.view
        check_method(view, "GET")
        call = await self._calls.at(request, target, form)
        pairs = request.query_params.multi_items()
        query = parse([*pairs, *further], form.columns)
        namespace = _namespace(view, query)
        call, namespaces = await self._calls.within(call, view, namespace)
        edge = Edge(view, call, namespaces)
        if call.project and view.kind.namespaced and view.store is None:
            objects = await edge.list_within(namespaces)
        else:
            objects = await edge.list(namespace)
        page = await self._renderer.page(form, call, await view.prepare(call, objects), query)
        link = f"{root(call)}/{view.plural}"
        return answer(collection(view, link, page, query, Methods(view, call)))

    async def create(self, request: Request, target: Target, form: Form) -> Response:
        """POST: a new resource."""
        view = form.view
        check_method(view, "POST")
        call = await self._calls.at(request, target, form)
        body = await body_of(request)
        namespace = await _placed(view, call, body)
        new = draft(form, body, namespace=namespace, creator=call.user)
        call, _ = await self._calls.within(call, view, namespace)
        edge, hook = Edge(view, call), view.hooks.create
        made = await (edge.create(new) if hook is None else hook(call, new, body, edge.create))
        return answer(await self._renderer.one(form, call, made), 201)

    async def act(self, request: Request, target: Target, form: Form) -> Response:
        """POST with an action."""
        action = find_action(form.view.collection_actions, request)
        if action.open and claim_of(request.scope).identity is None:
            call = self._calls.anonymous(request)
        else:
            call = await self._calls.at(request, target, form)
        if not Methods(form.view, call).may(action.need):
            raise no_right(form.view, action)
        done = await action.run(Invocation(call=call, body=await body_of(request)))
        return result(done, {})


def _namespace(view: View, query: Query) -> str:
    """The one namespace that a list is narrowed to, if its filters say so."""
    if isinstance(view.placement, InNamespace):
        return view.placement.name
    if not isinstance(view.placement, InCluster):
        return ""
    field = view.placement.field
    named = {one.value for one in query.filters if one.modifier == "eq" and one.field == field}
    return named.pop() if len(named) == 1 else ""


async def _placed(view: View, call: Call, body: Json) -> str:
    placement = view.placement
    if not view.kind.namespaced or placement is None:
        return ""
    value = body.get(placement.field) if placement.field else ""
    if placement.field and (not isinstance(value, str) or not value):
        raise NormanError(422, f"{placement.field} is missing", code="MissingRequired", field=placement.field)
    return await placement.namespace(call, value or "")
