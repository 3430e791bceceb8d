"""The root of `/v1`, its schemas, and what every root has beside kinds."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from outrider.apis.views.call import Call
from outrider.facade.v1.asked import Asking
from outrider.facade.v1.columns import ColumnBook
from outrider.facade.v1.counts import Counts
from outrider.facade.v1.definitions import Definitions
from outrider.facade.v1.errors import no_type
from outrider.facade.v1.kinds import OPEN_LISTS
from outrider.facade.v1.place import Place, Target
from outrider.facade.v1.rendering import json_answer
from outrider.facade.v1.schemas import OWN, Json, Permissions, own, schema, schemas

SCHEMAS_HEADER = "X-API-Schemas"


class Roots:
    """Answers for a root and its schemas."""

    def __init__(self, asking: Asking, columns: ColumnBook, definitions: Definitions, counts: Counts) -> None:
        self._asking = asking
        self._columns = columns
        self._definitions = definitions
        self._counts = counts

    async def root(self, request: Request, target: Target) -> Response:
        """GET of the root: where its schemas are."""
        _, place = await self._asking.call(request, target)
        links = {
            name: f"{place.root}/{said['pluralName']}"
            for name, said in OWN.items()
            if "collectionMethods" in said
        }
        body = {
            "id": "v1",
            "type": "apiRoot",
            "apiVersion": {"group": "", "version": "v1", "path": f"{place.prefix}/v1"},
            "links": {"self": place.root, "root": place.root, "schemas": f"{place.root}/schemas", **links},
            "actions": {},
        }
        return _with_header(json_answer(body), place)

    async def schemas(self, request: Request, target: Target) -> Response:
        """GET of all schemas, or of one."""
        call, place = await self._asking.call(request, target)
        catalogue = await self._asking.catalogue(call)
        call, namespaces = await self._asking.everywhere(call)
        may = _permissions(call, namespaces)
        if target.parts:
            name = target.parts[0]
            if name in OWN:
                return json_answer(own(name, place))
            resource = catalogue.find(name)
            if resource is None or not may.any(resource):
                raise no_type(name)
            columns = await self._columns.read(call.cluster, call.client, [resource], may.lists_all)
            held = columns.get((resource.kind.group, resource.kind.plural))
            return json_answer(schema(resource, may, place, held))
        known = await self._columns.read(call.cluster, call.client, catalogue, may.lists_all)
        return _with_header(
            json_answer(collection("schema", place, schemas(catalogue, may, place, known))), place
        )

    async def definition(self, request: Request, target: Target) -> Response:
        """GET of `schemaDefinitions/<type>`: the fields of a kind, and of what its fields hold."""
        call, place = await self._asking.call(request, target)
        catalogue = await self._asking.catalogue(call)
        name = target.parts[0] if target.parts else ""
        resource = catalogue.find(name)
        call, namespaces = await self._asking.everywhere(call)
        if resource is None or not _permissions(call, namespaces).any(resource):
            raise no_type(name)
        found = await self._definitions.read(call.client, resource.kind)
        links = {"self": f"{place.root}/schemaDefinitions/{resource.id}"}
        own_fields = {"id": resource.id, "type": "schemaDefinition", "links": links}
        return json_answer(own_fields | found)

    async def counts(self, request: Request, target: Target) -> Response:
        """GET of `counts`, which is one resource."""
        call, place = await self._asking.call(request, target)
        shown = {
            "id": "count",
            "type": "count",
            "links": {"self": f"{place.root}/counts/count"},
            "actions": {},
            "counts": await self._counts.read(call),
        }
        return json_answer(shown if target.parts else collection("count", place, [shown]))


def collection(kind: str, place: Place, rows: list[Json]) -> Json:
    """A collection of a type that is no kind."""
    return {
        "type": "collection",
        "resourceType": kind,
        "links": {"self": f"{place.root}/{OWN[kind]['pluralName']}"},
        "createTypes": {},
        "actions": {},
        "count": len(rows),
        "data": rows,
    }


def _permissions(call: Call, namespaces: Sequence[str]) -> Permissions:
    return Permissions(call.rights, namespaces, open_lists=() if call.cluster else OPEN_LISTS)


def _with_header(response: Response, place: Place) -> Response:
    response.headers[SCHEMAS_HEADER] = f"{place.root}/schemas"
    return response
