"""The routes of `/v3`: a path becomes a view and an object, a method becomes one call of the edge."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from outrider.apis.norman import NormanError
from outrider.apis.views.form import Form
from outrider.apis.views.view import Context
from outrider.facade.changes import Watches
from outrider.facade.v3 import target as targets
from outrider.facade.v3.calls import Calls
from outrider.facade.v3.exchange import method_of, path_of
from outrider.facade.v3.listing import Collections
from outrider.facade.v3.registry import Registry
from outrider.facade.v3.rendering import Renderer
from outrider.facade.v3.resources import Resources
from outrider.facade.v3.roots import SCHEMAS, Roots
from outrider.facade.v3.subscribe import Subscriptions
from outrider.facade.v3.target import Target
from outrider.kit.clock import Clock

_METHODS: Final = ("GET", "POST", "PUT", "DELETE")


class NormanApi:
    """Serves all views."""

    def __init__(self, registry: Registry, calls: Calls, watches: Watches, clock: Clock) -> None:
        """`watches` tell of what subscribers then read as themselves."""
        renderer = Renderer(registry, clock)
        self.subscriptions = Subscriptions(registry, calls, renderer, watches)
        self._registry = registry
        self._collections = Collections(calls, renderer)
        self._resources = Resources(calls, renderer)
        self._roots = Roots(registry, calls, self._resources)

    def routes(self) -> list[BaseRoute]:
        """The routes; they come last, for they take every path."""
        return [
            *self.subscriptions.routes(),
            Route("/v3", self.answer, methods=list(_METHODS)),
            Route("/v3/{path:path}", self.answer, methods=list(_METHODS)),
        ]

    async def answer(self, request: Request) -> Response:
        """One request."""
        target = targets.parse(path_of(request))
        if target is None:
            raise NormanError(404, "no such path")
        return await self._at(request, target)

    async def _at(self, request: Request, target: Target) -> Response:
        if target.plural in ("", SCHEMAS):
            return await self._roots.describe(request, target)
        form = self._registry.find(target.context, target.plural)
        if form is None:
            return await self._roots.unknown(request, target)
        if target.rest:
            return await self._linked(request, target, form)
        if target.id:
            return await self._resource(request, target, form)
        return await self._collection(request, target, form)

    async def _collection(self, request: Request, target: Target, form: Form) -> Response:
        method = method_of(request)
        if method == "GET":
            return await self._collections.list(request, target, form)
        if method == "POST":
            acting = "action" in request.query_params
            run = self._collections.act if acting else self._collections.create
            return await run(request, target, form)
        raise NormanError(405, f"{form.view.plural} do not take {method}")

    async def _resource(self, request: Request, target: Target, form: Form) -> Response:
        method = method_of(request)
        if method == "POST" and "action" in request.query_params:
            return await self._resources.act(request, target, form)
        handlers = {
            "GET": self._resources.get,
            "PUT": self._resources.update,
            "DELETE": self._resources.delete,
        }
        if method not in handlers:
            raise NormanError(405, f"one of the {form.view.plural} does not take {method} without an action")
        return await handlers[method](request, target, form)

    async def _linked(self, request: Request, target: Target, form: Form) -> Response:
        """`/v3/clusters/<id>/<rest>`: a collection of the root that the object is, or of those that belong to it."""
        opens = form.view.opens
        if opens is not None and (
            target.rest == SCHEMAS or self._registry.find(opens, target.rest) is not None
        ):
            return await self._at(request, Target(context=opens, root=target.id, plural=target.rest))
        linked = self._registry.find(Context.MANAGEMENT, target.rest)
        if linked is None:
            return await self._roots.unknown(request, Target(plural=target.rest))
        if method_of(request) != "GET":
            raise NormanError(405, "a link can only be read")
        further = [(f"{form.view.type}Id", target.id)]
        return await self._collections.list(request, Target(plural=target.rest), linked, further)
