"""`/v3/settings`: read and written as the user (contract, auth-and-rbac §6.1)."""

import re
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from outrider.apis.management.setting import SETTINGS, Setting
from outrider.apis.management.settings import BY_NAME, PUBLIC_NAMES
from outrider.apis.norman import NormanError
from outrider.features.auth.requests import base_url, body_of, caller_of
from outrider.features.auth.settings import AuthSettings
from outrider.features.auth.views import answer, collection, matches, resource_view
from outrider.kube.client import Client
from outrider.kube.errors import Forbidden, NotFound
from outrider.kube.meta import ObjectMeta
from outrider.link.claims import claim_of

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


class SettingBody(msgspec.Struct):
    """What is written: a value, and for a new setting its name."""

    value: str | None = None
    name: str = ""
    id: str = ""


class SettingRoutes:
    """The settings. A name that this server does not know may be written too: clients keep their own here."""

    def __init__(self, client: Client, settings: AuthSettings) -> None:
        self._client = client
        self._settings = settings

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route("/v3/settings", self.list_all, methods=["GET"]),
            Route("/v3/settings", self.create, methods=["POST"]),
            Route("/v3/settings/{name}", self.get, methods=["GET"]),
            Route("/v3/settings/{name}", self.put, methods=["PUT"]),
            Route("/v3/settings/{name}", self.reset, methods=["DELETE"]),
        ]

    async def list_all(self, request: Request) -> Response:
        """GET /v3/settings: what the user may see; the public ones without sign-in."""
        rows = [self._view(request, setting) for setting in await self._visible(request)]
        kept = [row for row in rows if matches(row, request.query_params.multi_items())]
        return answer(collection("setting", "settings", kept, base=base_url(request)))

    async def _visible(self, request: Request) -> list[Setting]:
        identity = claim_of(request.scope).identity
        if identity is not None:
            try:
                return (await self._client.as_user(identity).list(SETTINGS)).items
            except Forbidden:
                pass
        stored = (await self._client.list(SETTINGS)).items
        return [setting for setting in stored if setting.metadata.name in PUBLIC_NAMES]

    async def get(self, request: Request) -> Response:
        """GET /v3/settings/<name>"""
        name = _name(request.path_params["name"])
        client = self._client if name in PUBLIC_NAMES else self._as_caller(request)
        setting = await client.get_or_none(SETTINGS, name)
        if setting is None:
            if name not in BY_NAME:
                raise NormanError(404, f"setting {name} not found")
            setting = Setting(metadata=ObjectMeta(name=name))
        return answer(self._view(request, setting))

    async def put(self, request: Request) -> Response:
        """PUT /v3/settings/<name>: creates the setting where there is none."""
        client, name = self._as_caller(request), _name(request.path_params["name"])
        body = await body_of(request, SettingBody)
        if body.value is None:
            raise NormanError(422, "a setting needs a value", code="MissingRequired", field="value")
        self._check_writable(name)
        change = {"value": body.value, "customized": body.value != ""}
        try:
            setting = await client.patch(SETTINGS, name, change)
        except NotFound:
            setting = await client.create(SETTINGS, {"metadata": {"name": name}, **change})
        return answer(self._view(request, setting, written=body.value))

    async def create(self, request: Request) -> Response:
        """POST /v3/settings"""
        client, body = self._as_caller(request), await body_of(request, SettingBody)
        name, value = _name(body.name or body.id), body.value or ""
        self._check_writable(name)
        setting = await client.create(
            SETTINGS, {"metadata": {"name": name}, "value": value, "customized": value != ""}
        )
        return answer(self._view(request, setting, written=value), 201)

    async def reset(self, request: Request) -> Response:
        """DELETE /v3/settings/<name>: back to the default; a setting that has none goes."""
        client, name = self._as_caller(request), _name(request.path_params["name"])
        self._check_writable(name)
        if name in BY_NAME:
            await client.patch(SETTINGS, name, {"value": "", "customized": False})
        else:
            await client.delete(SETTINGS, name)
        return Response(status_code=204)

    def _as_caller(self, request: Request) -> Client:
        return self._client.as_user(caller_of(request).identity)

    def _check_writable(self, name: str) -> None:
        if self._settings.is_locked(name):
            raise NormanError(
                403, f"setting {name} is set by the server's environment: change it there", field="value"
            )
        if name in BY_NAME and BY_NAME[name].computed:
            raise NormanError(403, f"setting {name} is computed by the server", field="value")

    def _view(self, request: Request, setting: Setting, *, written: str | None = None) -> dict[str, Any]:
        name = setting.metadata.name
        known = BY_NAME.get(name)
        default = setting.default or (known.default if known is not None else "")
        if self._settings.is_locked(name):
            value, source = self._settings.text(name), "env"
        else:
            chosen = setting.value if written is None else written
            value, source = chosen or default, "db" if chosen else "default"
        return resource_view(setting, "setting", "settings", base_url(request)) | {
            "value": value,
            "default": default,
            "customized": source == "db",
            "source": source,
        }


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise NormanError(422, "this is no name of a setting", code="InvalidCharacters", field="name")
    return name
