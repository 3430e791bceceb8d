"""Roots and their schemas; collections that are no more."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from outrider.apis.norman import NormanError
from outrider.apis.views.call import Call
from outrider.apis.views.form import Form
from outrider.apis.views.rights import Methods
from outrider.apis.views.schema import schema, version
from outrider.apis.views.show import root
from outrider.apis.views.view import Context, Json
from outrider.facade.v3.calls import Calls
from outrider.facade.v3.exchange import answer, method_of
from outrider.facade.v3.registry import RETIRED, Registry
from outrider.facade.v3.resources import Resources
from outrider.facade.v3.target import Target

SCHEMAS: Final = "schemas"


class Roots:
    """Requests to a root, to its schemas, and to what is not there."""

    def __init__(self, registry: Registry, calls: Calls, resources: Resources) -> None:
        self._registry = registry
        self._calls = calls
        self._resources = resources

    async def describe(self, request: Request, target: Target) -> Response:
        """GET of a root or of its schemas."""
        if method_of(request) != "GET":
            raise NormanError(405, "this can only be read")
        call = await self._calls.at(request, target)
        base = root(call)
        if not target.plural:
            return await self._root(request, target, call)
        call = await self._calls.everywhere(call)
        if target.id:
            form = self._registry.of_type(target.context, target.id)
            if form is None:
                raise NormanError(404, f"no type is called {target.id}")
            return answer(self._schema(form, call, base))
        rows = [self._schema(form, call, base) for form in self._registry.all(target.context)]
        link = f"{base}/{SCHEMAS}"
        return answer(
            {
                "type": "collection",
                "resourceType": "schema",
                "links": {"self": link},
                "createTypes": {},
                "actions": {},
                "data": rows,
            },
            headers={"X-API-Schemas": link},
        )

    async def _root(self, request: Request, target: Target, call: Call) -> Response:
        base = root(call)
        if target.root:
            forms = self._registry.all(Context.MANAGEMENT)
            opener = next((form for form in forms if form.view.opens is target.context), None)
            if opener is None:
                raise NormanError(404, "no such path")
            plain = Target(plural=opener.view.plural.lower(), id=target.root)
            return await self._resources.get(request, plain, opener)
        links = {
            form.view.plural: f"{base}/{form.view.plural}"
            for form in self._registry.all(target.context)
            if "GET" in Methods(form.view, call).collection()
        }
        body = {
            "type": "apiRoot",
            "baseType": "apiRoot",
            "apiVersion": version(target.context),
            "links": {"self": base, "root": base, SCHEMAS: f"{base}/{SCHEMAS}", **links},
            "actions": {},
        }
        return answer(body, headers={"X-API-Schemas": f"{base}/{SCHEMAS}"})

    def _schema(self, form: Form, call: Call, base: str) -> Json:
        methods = Methods(form.view, call)
        offered = {
            action.name for action in form.view.actions if methods.may(action.need) and methods.resource()
        }
        return schema(form, methods, base, offered=offered)

    async def unknown(self, request: Request, target: Target) -> Response:
        """A collection that no view declares: empty where there once was one."""
        plural = RETIRED.get(target.plural)
        if plural is None or target.id or method_of(request) != "GET":
            raise NormanError(404, f"no type is called {target.plural}")
        call = await self._calls.at(request, target)
        link = f"{root(call)}/{plural}"
        return answer(
            {
                "type": "collection",
                "resourceType": plural.removesuffix("s"),
                "links": {"self": link},
                "createTypes": {},
                "actions": {},
                "pagination": {"limit": -1, "total": 0},
                "sort": {"order": "asc", "reverse": f"{link}?order=desc"},
                "filters": {},
                "data": [],
            }
        )
