"""What `/v1` shows to somebody who has not signed in: the public settings, and that there are no extensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from outrider.apis.norman import NormanError
from outrider.apis.views.call import Call
from outrider.apis.views.view import View
from outrider.facade.v1 import query as queries
from outrider.facade.v1 import rendering
from outrider.facade.v1.asked import Asked
from outrider.facade.v1.catalogue import Catalogue, Resource
from outrider.facade.v1.kinds import Kinds, stored_entry
from outrider.facade.v1.place import Place, Target
from outrider.facade.v1.rendering import Renderer
from outrider.facade.v3.calls import Calls
from outrider.kube.builtin import plain
from outrider.kube.meta import ObjectKey
from outrider.link.claims import claim_of

Json = dict[str, Any]


class Open:
    """Answers of kinds whose view is public, for those who have not signed in."""

    def __init__(self, calls: Calls, kinds: Kinds, renderer: Renderer) -> None:
        self._calls = calls
        self._kinds = kinds
        self._renderer = renderer

    async def answer(self, request: Request, target: Target) -> Response | None:
        """The answer to somebody without a credential who reads what is public; None for all other requests."""
        claim = claim_of(request.scope)
        if claim.identity is not None or claim.code or request.method != "GET" or target.prefix:
            return None
        view = self._kinds.public(target.type)
        if view is None or view.store is None or len(target.parts) > 1:
            return None
        call = self._calls.anonymous(request)
        asked = self._asked(call, view)
        query = queries.parse(request.query_params.multi_items())
        shape = self._renderer.shape(asked, query)
        if target.parts:
            return rendering.json_answer(
                shape.show(stored_entry(await self._one(view, call, target.parts[0])))
            )
        entries = [stored_entry(one) for one in await view.store.list(call)]
        return await rendering.answer(
            {**_envelope(asked), "count": len(entries)}, entries, shape, len(entries)
        )

    async def _one(self, view: View, call: Call, name: str) -> Json:
        assert view.store is not None  # noqa: S101  the caller has looked
        found = await view.store.get(call, ObjectKey("", name))
        if not found["metadata"].get("uid"):
            raise NormanError(404, f"{view.plural} {name[:80]} not found", code="NotFound")
        return found

    def _asked(self, call: Call, view: View) -> Asked:
        resource = Resource(plain(view.kind), frozenset({"get", "list"}))
        return Asked(call, Place(call.base), "", Catalogue([resource]), resource)


async def extensions(request: Request, _: Target) -> Response:
    """GET `/v1/uiplugins`: no extensions of the dashboard are served."""
    if request.method != "GET":
        raise NormanError(405, "uiplugins can only be read", code="MethodNotAllowed")
    return rendering.json_answer(
        {"type": "collection", "resourceType": "uiplugin", "count": 0, "data": _NONE}
    )


_NONE: Sequence[Json] = ()


def _envelope(asked: Asked) -> Json:
    link = asked.place.collection(asked.resource)
    kind = asked.resource.id
    return {
        "type": "collection",
        "resourceType": kind,
        "links": {"self": link},
        "createTypes": {},
        "actions": {},
    }
