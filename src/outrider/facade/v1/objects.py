"""Single objects of `/v1`: read, created, replaced, patched, deleted, acted on, always as the user."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from outrider.apis.norman import NormanError
from outrider.apis.views.rights import Methods
from outrider.apis.views.show import key_of
from outrider.apis.views.view import Invocation, View
from outrider.facade.v1 import query as queries
from outrider.facade.v1.asked import Asked
from outrider.facade.v1.kinds import Kinds, stored_entry
from outrider.facade.v1.lists import Lists
from outrider.facade.v1.permissions import permissions
from outrider.facade.v1.rendering import Renderer, json_answer
from outrider.facade.v1.shape import unshaped
from outrider.facade.v1.values import Entry, entry_of
from outrider.facade.v3.exchange import body_of, find_action, no_right, result, unavailable
from outrider.kube.client import Client
from outrider.kube.errors import ApiError, Forbidden, NotFound
from outrider.kube.kind import Kind
from outrider.kube.meta import ObjectKey
from outrider.kube.table import Table, TableKind
from outrider.kube.transport import Request as KubeRequest

Json = dict[str, Any]
T = TypeVar("T")

DEFAULT_NAMESPACE: Final = "default"
"""Where an object goes that says no namespace."""

PATCHES: Final = frozenset(
    {
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
    }
)
_MERGE: Final = "application/merge-patch+json"
_PATCH_OPTIONS: Final = frozenset({"fieldManager", "force", "dryRun", "fieldValidation"})


class Objects:
    """Answers requests to single objects."""

    def __init__(self, renderer: Renderer, kinds: Kinds, lists: Lists) -> None:
        self._renderer = renderer
        self._kinds = kinds
        self._lists = lists

    async def get(self, request: Request, asked: Asked, key: ObjectKey) -> Response:
        """GET: the resource."""
        entry, query = await self._read(asked, key), queries.parse(request.query_params.multi_items())
        may = await permissions(asked, [entry], query.permissions)
        return json_answer(replace(self._renderer.shape(asked, query), permissions=may).show(entry))

    async def create(self, request: Request, asked: Asked, namespace: str) -> Response:
        """POST to a collection: a new object."""
        body = unshaped(await body_of(request))
        kind = asked.resource.kind
        metadata = body.setdefault("metadata", {})
        if not isinstance(metadata, dict):
            raise NormanError(422, "metadata takes an object", code="InvalidFormat", field="metadata")
        if kind.namespaced:
            metadata["namespace"] = namespace or metadata.get("namespace") or DEFAULT_NAMESPACE
        made = await _checked(asked.call.client.create(kind, body))
        return await self._written(request, asked, made, 201)

    async def replace(self, request: Request, asked: Asked, key: ObjectKey) -> Response:
        """PUT: the object in the place of the one with the version that it names."""
        body = unshaped(await body_of(request))
        metadata = body.get("metadata")
        if not isinstance(metadata, dict) or not metadata.get("resourceVersion"):
            raise NormanError(
                422,
                "metadata.resourceVersion is missing: send the version that you read",
                code="MissingRequired",
                field="metadata.resourceVersion",
            )
        body["metadata"] = (
            metadata | {"name": key.name} | ({"namespace": key.namespace} if key.namespace else {})
        )
        return await self._written(
            request, asked, await _checked(asked.call.client.replace(asked.resource.kind, body))
        )

    async def patch(self, request: Request, asked: Asked, key: ObjectKey) -> Response:
        """PATCH, in any of Kubernetes' ways; a merge patch where nothing else is said."""
        said = request.headers.get("content-type", "").partition(";")[0].strip()
        content_type = said if said in PATCHES else _MERGE
        kind = asked.resource.kind
        options = [
            (name, held) for name, held in request.query_params.multi_items() if name in _PATCH_OPTIONS
        ]
        if content_type == "application/apply-patch+yaml" and not request.query_params.get("fieldManager"):
            options.append(("fieldManager", "outrider-v1"))
        answered = await asked.call.client.raw(
            KubeRequest(
                method="PATCH",
                path=_path(kind, key) + (f"?{urlencode(options)}" if options else ""),
                headers=[("Content-Type", content_type), ("Accept", "application/json")],
                body=await request.body(),
            )
        )
        if answered.status >= 400:
            raise ApiError.from_response(answered.status, answered.body, answered.headers)
        return await self._written(request, asked, kind.decode(answered.body))

    async def delete(self, request: Request, asked: Asked, key: ObjectKey) -> Response:
        """DELETE: 204, or what is left while finalizers run."""
        client, kind = asked.call.client, asked.resource.kind
        await _checked(client.delete(kind, key.name, key.namespace))
        self._lists.wrote(asked.cluster, kind, key)
        try:
            left = await client.get(kind, key.name, key.namespace)
        except (NotFound, Forbidden):
            return Response(status_code=204)
        return self._shown(request, asked, stored_entry(left))

    async def act(self, request: Request, asked: Asked, key: ObjectKey) -> Response:
        """POST with an action: those that the kind's view in `/v3` has."""
        view = self._kinds.view(asked.resource.kind) if not asked.cluster else None
        if view is None:
            raise unavailable(())
        action = find_action(view.actions, request)
        found = await self._object(asked, view, key)
        if not action.offered(found):
            raise unavailable(view.actions)
        if not Methods(view, asked.call).may(action.need, key_of(found)):
            raise no_right(view, action)
        done = await action.run(Invocation(call=asked.call, body=await body_of(request), object=found))
        shown = (
            {}
            if done is not None
            else self._renderer.one(asked, await self._read(asked, key), queries.Query())
        )
        return result(done, shown)

    async def _object(self, asked: Asked, view: View, key: ObjectKey) -> Json:
        if view.store is not None:
            return await view.store.get(asked.call, key)
        return await _checked(asked.call.client.get(asked.resource.kind, key.name, key.namespace))

    async def _read(self, asked: Asked, key: ObjectKey) -> Entry:
        """One object, as the user; where they may not, as the store of the kind's view shows it to them."""
        try:
            return await read(asked.call.client, asked.resource.kind, key)
        except Forbidden:
            view = self._kinds.view(asked.resource.kind) if not asked.cluster else None
            if view is None or view.store is None or not view.store.allows(asked.call, "get", key):
                raise
            return stored_entry(await view.store.get(asked.call, key))

    async def _written(self, request: Request, asked: Asked, stored: Json, status: int = 200) -> Response:
        self._lists.wrote(asked.cluster, asked.resource.kind, asked.resource.kind.key(stored))
        return self._shown(request, asked, stored_entry(stored), status)

    def _shown(self, request: Request, asked: Asked, entry: Entry, status: int = 200) -> Response:
        query = queries.parse(request.query_params.multi_items())
        return json_answer(self._renderer.one(asked, entry, query), status)


async def read(client: Client, kind: Kind[Any], key: ObjectKey) -> Entry:
    """One object with its cells. Raises NotFound for a key that no object can have."""
    try:
        table: Table = await client.get(TableKind(kind), key.name, key.namespace)
    except ValueError:
        raise NotFound(f"{kind.plural} {key.name[:80]!r} not found") from None
    return entry_of(table.rows[0])


def _path(kind: Kind[Any], key: ObjectKey) -> str:
    try:
        return kind.path(key.name, key.namespace)
    except ValueError:
        raise NotFound(f"{kind.plural} {key.name[:80]!r} not found") from None


async def _checked(work: Awaitable[T]) -> T:
    """The outcome of a request; a name that no path can have is the client's mistake."""
    try:
        return await work
    except ValueError as error:
        raise NormanError(422, str(error), code="InvalidFormat") from None
