"""Serves a group of kinds as the API server's aggregation layer expects it (Kubernetes API conventions).

Discovery, OpenAPI, and for each kind what its declaration allows: create, get, list and watch with selectors and
pages, update, patches (merge, JSON and apply), delete. Objects are answered whole, as rows or as metadata alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from outrider.apis.ext.served import Caller, Json, Served, offered
from outrider.facade.extension import arguments, discovery, openapi, tables, watching
from outrider.facade.extension.answers import answer
from outrider.facade.extension.changes import Writer
from outrider.facade.extension.entry import Endpoint, for_api_server
from outrider.kit.clock import Clock
from outrider.kube.errors import ApiError, NotFound

MAX_BODY = 3 * 1024 * 1024
"""Bytes of a body, as the API server bounds them."""

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


class ExtensionApi:
    """One group and version."""

    def __init__(self, served: Sequence[Served], clock: Clock) -> None:
        self._served = list(served)
        self._by_plural = {one.kind.plural: one for one in served}
        self._writers = {one.kind.plural: Writer(one) for one in served}
        self._clock = clock

    def routes(self) -> list[BaseRoute]:
        """The routes, for the door at which the API server calls."""
        kind = self._served[0].kind
        base = f"/apis/{kind.api_version}"
        documents: dict[str, Callable[[Sequence[Served]], Json]] = {
            "/apis": discovery.group_list,
            f"/apis/{kind.group}": discovery.group,
            base: discovery.resource_list,
            "/openapi/v2": openapi.version_2,
            "/openapi/v3": openapi.index,
            f"/openapi/v3{base}": openapi.version_3,
        }
        return [
            *(Route(path, for_api_server(_document(make(self._served)))) for path, make in documents.items()),
            Route(f"{base}/{{plural}}", for_api_server(self._collection), methods=_METHODS),
            Route(f"{base}/{{plural}}/{{name}}", for_api_server(self._object), methods=_METHODS),
            Route("/apis/{path:path}", for_api_server(_nothing), methods=_METHODS),
        ]

    async def _collection(self, request: Request, caller: Caller) -> Response:
        one = self._one(request)
        writer = self._writers[one.kind.plural]
        match request.method:
            case "GET" | "HEAD":
                if arguments.flag(request.query_params, "watch"):
                    return self._watch(one, caller, request)
                return await self._list(one, caller, request)
            case "POST":
                made, notes = await writer.create(caller, request.query_params, *await _body(request))
                return self._shown(one, request, made, 201, notes)
            case "DELETE":
                return answer(await writer.delete_all(caller, request.query_params))
        return offered(None)

    async def _object(self, request: Request, caller: Caller) -> Response:
        one = self._one(request)
        writer, name = self._writers[one.kind.plural], request.path_params["name"]
        query = request.query_params
        match request.method:
            case "GET" | "HEAD":
                return self._shown(one, request, await offered(one.get)(caller, name))
            case "PUT":
                made, notes = await writer.replace(caller, name, query, *await _body(request))
                return self._shown(one, request, made, 200, notes)
            case "PATCH":
                made, notes = await writer.patch(caller, name, query, *await _body(request))
                return self._shown(one, request, made, 200, notes)
            case _:
                return answer(await writer.delete(caller, name, query, *await _body(request)))

    def _one(self, request: Request) -> Served:
        one = self._by_plural.get(request.path_params["plural"])
        if one is None:
            raise NotFound("the server could not find the requested resource")
        return one

    async def _list(self, one: Served, caller: Caller, request: Request) -> Response:
        select = offered(one.select)
        form = arguments.wanted_form(request.headers.get("accept", ""))
        page = await select(caller, arguments.selection(request.query_params))
        metadata = {"resourceVersion": page.version} | (
            {"continue": page.following} if page.following else {}
        )
        if form == "table":
            return answer(self._table(one, request, page.items, metadata))
        if form == "metadata":
            return answer(tables.partial_list(page.items, metadata))
        kind = f"{one.kind.kind}List"
        return answer(
            {"kind": kind, "apiVersion": one.kind.api_version, "metadata": metadata, "items": page.items}
        )

    def _watch(self, one: Served, caller: Caller, request: Request) -> Response:
        watch = offered(one.watch)
        query = request.query_params
        arguments.check_watch(query)
        form = arguments.wanted_form(request.headers.get("accept", ""))
        changes = watch(
            caller,
            arguments.selection(query),
            version=query.get("resourceVersion", ""),
            timeout=arguments.watch_seconds(query),
        )

        def show(item: Json, first: bool) -> Json:
            if form == "table":
                return self._table(one, request, [item], {}, head=first)
            return tables.partial(item) if form == "metadata" else item

        blank = {"kind": one.kind.kind, "apiVersion": one.kind.api_version}
        if form == "table":
            blank = tables.table(one.kind, [], {}, self._clock.now(), head=False)
        elif form == "metadata":
            blank = tables.partial({"metadata": {}})
        bookmarks = arguments.flag(query, "allowWatchBookmarks")
        lines = watching.lines(changes, show, blank, bookmarks=bookmarks)
        return StreamingResponse(lines, media_type="application/json")

    def _shown(
        self, one: Served, request: Request, item: Json, status: int = 200, notes: Sequence[str] = ()
    ) -> Response:
        form = arguments.wanted_form(request.headers.get("accept", ""))
        headers = {"Warning": ", ".join(f'299 - "{note}"' for note in notes)} if notes else None
        if form == "table":
            version = {"resourceVersion": item["metadata"].get("resourceVersion", "")}
            return answer(self._table(one, request, [item], version), status, headers)
        return answer(tables.partial(item) if form == "metadata" else item, status, headers)

    def _table(
        self, one: Served, request: Request, items: Sequence[Json], metadata: Json, *, head: bool = True
    ) -> Json:
        include = request.query_params.get("includeObject", "Metadata")
        return tables.table(one.kind, items, metadata, self._clock.now(), head=head, include=include)


async def _body(request: Request) -> tuple[bytes, str]:
    """The body and its media type. Raises ApiError 413."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_BODY:
            raise ApiError(
                f"the body is larger than {MAX_BODY} bytes", code=413, reason="RequestEntityTooLarge"
            )
    return bytes(content), request.headers.get("content-type", "")


def _document(value: Json) -> Endpoint:
    async def endpoint(request: Request, caller: Caller) -> Response:
        return answer(value)

    return endpoint


async def _nothing(request: Request, caller: Caller) -> Response:
    raise NotFound("the server could not find the requested resource")
