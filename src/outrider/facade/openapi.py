"""`/v3/openapi.json`: what this server serves of its own, for everybody to read."""

from __future__ import annotations

from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from outrider.apis.views import openapi
from outrider.apis.views.openapi import answers, body
from outrider.apis.views.view import Context, Json
from outrider.facade.v3.registry import Registry

PATH: Final = "/v3/openapi.json"

_TEXT: Final[Json] = {"type": "string"}
_NOBODY: Final[Json] = {"security": [{}]}
_CREDENTIALS: Final[Json] = {
    "type": "object",
    "properties": {
        "username": _TEXT,
        "password": {"type": "string", "format": "password"},
        "description": _TEXT,
        "responseType": {
            "type": "string",
            "description": "json, cookie, kubeconfig or kubeconfig_<cluster>.",
        },
    },
    "required": ["username", "password"],
}
_ISSUED: Final[Json] = {
    "type": "object",
    "properties": {"id": _TEXT, "token": _TEXT, "expiresAt": _TEXT},
    "required": ["id", "token"],
}
_PROVIDERS: Final[Json] = {
    "type": "object",
    "properties": {"data": {"type": "array", "items": {"type": "object"}}},
    "required": ["data"],
}


def sign_in() -> Json:
    """The paths of sign-in, which are no views (contract: auth-and-rbac §1.1, §1.2, §1.7, §1.8)."""
    signed_in = answers(201, "A token.", _ISSUED) | {"200": {"description": "A cookie."}}
    typed = _CREDENTIALS | {
        "properties": {**_CREDENTIALS["properties"], "type": {"type": "string", "enum": ["localProvider"]}},
        "required": ["username", "password", "type"],
    }
    action = {
        "name": "action",
        "in": "query",
        "required": True,
        "schema": {"type": "string", "enum": ["login"]},
    }
    review = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"token": _TEXT}}}}
    listed = {"get": _named("providers", answers(200, "Identity providers.", _PROVIDERS))}
    return {
        "/v3-public/authProviders": listed,
        "/v1-public/authproviders": {"get": {**listed["get"], "operationId": "providers_v1"}},
        "/v3-public/localProviders/local": {
            "get": _named("local_provider", answers(200, "The local provider.", {"type": "object"})),
            "post": _named("login", signed_in) | {"parameters": [action], "requestBody": body(_CREDENTIALS)},
        },
        "/v1-public/login": {"post": _named("login_v1", signed_in) | {"requestBody": body(typed)}},
        "/v3/tokenreview": {
            "post": {
                "operationId": "review",
                "tags": ["sign-in"],
                "requestBody": body(review),
                "responses": answers(201, "Whether the token is good.", {"type": "object"}),
            }
        },
        "/rancherversion": {
            "get": _named("version", answers(200, "The version.", {"type": "object"}, errors=False))
        },
    }


def document(registry: Registry, version: str) -> Json:
    """The whole document."""
    forms = [form for context in Context for form in registry.all(context)]
    return openapi.document(forms, version=version, further=sign_in())


def openapi_route(registry: Registry, version: str) -> Route:
    """The route; it comes before those of `/v3`."""
    content = msgspec.json.encode(document(registry, version))

    async def endpoint(request: Request) -> Response:
        return Response(content, media_type="application/json")

    return Route(PATH, endpoint, methods=["GET"])


def _named(name: str, responses: Json) -> Json:
    return {"operationId": name, "tags": ["sign-in"], "responses": responses, **_NOBODY}
