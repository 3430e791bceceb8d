"""The routes of `/v1`: a path becomes a kind and an object, a method one request as the user."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from outrider.apis.norman import NormanError
from outrider.facade.changes import Watches
from outrider.facade.v1 import place as places
from outrider.facade.v1.asked import Asked, Asking
from outrider.facade.v1.collections import Collections
from outrider.facade.v1.columns import ColumnBook
from outrider.facade.v1.counts import Counts
from outrider.facade.v1.definitions import Definitions
from outrider.facade.v1.discovery import Discovery
from outrider.facade.v1.errors import no_method, refusal
from outrider.facade.v1.exchange import path_of
from outrider.facade.v1.kinds import Kinds
from outrider.facade.v1.lists import Lists
from outrider.facade.v1.objects import Objects
from outrider.facade.v1.open import Open, extensions
from outrider.facade.v1.place import Target
from outrider.facade.v1.preferences import Preferences
from outrider.facade.v1.rendering import Renderer
from outrider.facade.v1.roots import Roots
from outrider.facade.v1.subscribe import Subscribers
from outrider.facade.v3.calls import Calls
from outrider.facade.v3.registry import Registry
from outrider.kit.clock import Clock
from outrider.kube.client import Client
from outrider.kube.errors import KubeError
from outrider.kube.meta import ObjectKey

_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_READING: Final = ("GET", "HEAD")
_PREFIXES: Final = ("", "/k8s/clusters/{id}", "/k8s/proxy/{id}")

Handler = Callable[[Request, Target], Awaitable[Response]]


class SteveApi:
    """Serves `/v1`, at the management cluster and at every other."""

    def __init__(
        self,
        registry: Registry,
        calls: Calls,
        client: Client,
        watches: Watches,
        clock: Clock,
        *,
        lists: Lists | None = None,
        counting: float = 30.0,
    ) -> None:
        """`registry` holds the views of `/v3`, whose actions and stores hold for `/v1` as well.

        `client` is the server's own; `watches` tell of what subscribers then read as themselves. Every `counting`
        seconds it is looked for changes of counts, as long as somebody subscribes to them.
        """
        kinds = Kinds(registry)
        self.lists = lists if lists is not None else Lists(clock.now)
        self._asking = Asking(calls, Discovery())
        self._columns = ColumnBook()
        renderer = Renderer(kinds, clock.now)
        self._collections = Collections(self.lists, renderer, kinds, self._learn)
        self._objects = Objects(renderer, kinds, self.lists)
        self._counts = Counts(self._asking, clock.now)
        roots = Roots(self._asking, self._columns, Definitions(), self._counts)
        self._open = Open(calls, kinds, renderer)
        self.subscribers = Subscribers(self._asking, renderer, watches, self._counts, counting=counting)
        self._own: Mapping[str, Handler] = {
            "": roots.root,
            "schemas": roots.schemas,
            "schemaDefinitions": roots.definition,
            "counts": roots.counts,
            "userpreferences": Preferences(self._asking, client).answer,
            "uiplugins": extensions,
        }

    def routes(self) -> list[BaseRoute]:
        """The routes; they come last, for they take every path."""
        return [
            *self.subscribers.routes(_PREFIXES),
            *(
                Route(f"{prefix}{path}", self.answer, methods=list(_METHODS))
                for prefix in _PREFIXES
                for path in ("/v1", "/v1/{path:path}")
            ),
        ]

    async def close(self) -> None:
        """Lets go of what is kept for those who look at lists, and ends what is under way."""
        for one in (self.lists, self._counts, self.subscribers):
            await one.close()

    async def answer(self, request: Request) -> Response:
        """One request."""
        target = places.parse(path_of(request))
        if target is None:
            raise NormanError(404, "no such path")
        try:
            return await self._at(request, target)
        except KubeError as error:
            raise refusal(error) from None

    async def _at(self, request: Request, target: Target) -> Response:
        answered = await self._open.answer(request, target)
        if answered is not None:
            return answered
        own = self._own.get(target.type)
        if own is not None:
            return await own(request, target)
        asked = await self._asking.kind(request, target)
        namespaced = asked.resource.kind.namespaced
        if len(target.parts) > (2 if namespaced else 1):
            raise NormanError(404, "no such path")
        if len(target.parts) == (2 if namespaced else 1):
            namespace = target.parts[0] if namespaced else ""
            return await self._object(request, asked, ObjectKey(namespace, target.parts[-1]))
        return await self._collection(request, asked, target.parts[0] if target.parts else "")

    async def _collection(self, request: Request, asked: Asked, namespace: str) -> Response:
        if request.method in _READING:
            return await self._collections.list(request, asked, namespace)
        if request.method == "POST":
            return await self._objects.create(request, asked, namespace)
        raise no_method(f"the collection of {asked.resource.plural}", request.method)

    async def _object(self, request: Request, asked: Asked, key: ObjectKey) -> Response:
        if request.method == "POST":
            if "action" not in request.query_params:
                raise no_method(f"one of the {asked.resource.plural}, without an action,", "POST")
            return await self._objects.act(request, asked, key)
        handlers = {
            "GET": self._objects.get,
            "HEAD": self._objects.get,
            "PUT": self._objects.replace,
            "PATCH": self._objects.patch,
            "DELETE": self._objects.delete,
        }
        return await handlers[request.method](request, asked, key)

    def _learn(self, asked: Asked, columns: Sequence[Any]) -> None:
        self._columns.learn(asked.cluster, asked.resource.kind, columns)
