"""Settings and features in `/v3`, read and written as the user (contract, auth-and-rbac §6)."""

import re
from collections.abc import Sequence
from typing import Any

from outrider.apis.management.feature import FEATURES
from outrider.apis.management.setting import SETTINGS
from outrider.apis.management.settings import BY_NAME, PUBLIC_NAMES
from outrider.apis.norman import NormanError, Unauthenticated
from outrider.apis.views.call import Call
from outrider.apis.views.view import Access, Field, Hooks, Json, Proceed, View
from outrider.facade import default_role
from outrider.features.auth.settings import AuthSettings
from outrider.kube.builtin import plain
from outrider.kube.client import Client
from outrider.kube.errors import Forbidden, NotFound
from outrider.kube.meta import ObjectKey

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_READ = Field(access=Access.READ)
_PLAIN = plain(SETTINGS)


class VisibleSettings:
    """The settings as the user may see them, the public ones as everybody may.

    A name that this server does not know may be written too: clients keep their own here. Deleting one that it
    knows brings its default back. `client` is the server's own and reads nothing but public ones.
    """

    def __init__(self, client: Client, effective: AuthSettings) -> None:
        self._client = client
        self._effective = effective

    async def list(self, call: Call) -> Sequence[Json]:
        """What the user may see."""
        if call.user:
            try:
                return (await call.client.list(_PLAIN)).items
            except Forbidden:
                pass
        stored = (await self._client.list(_PLAIN)).items
        return [setting for setting in stored if setting["metadata"]["name"] in PUBLIC_NAMES]

    async def get(self, call: Call, key: ObjectKey) -> Json:
        """One setting; one that is known is there even when it is not stored."""
        name = _checked(key.name)
        if not call.user and name not in PUBLIC_NAMES:
            raise Unauthenticated
        held = None if call.user else self._effective.stored(name)
        if held is not None:
            # What a thousand agents that come back ask for before they dial is not worth a request each
            return SETTINGS.encode(held)
        if name == default_role.NAME:
            return await default_role.read(call)
        client = self._client if name in PUBLIC_NAMES else call.client
        stored = await client.get_or_none(_PLAIN, name)
        if stored is None and name not in BY_NAME:
            raise NormanError(404, f"setting {name} not found")
        return stored if stored is not None else {"metadata": {"name": name}}

    async def create(self, call: Call, draft: Json) -> Json:
        """A new setting."""
        name, value = _checked(draft["metadata"].get("name", "")), _text(draft.get("value") or "")
        self._check_writable(name)
        content = {"metadata": {"name": name}, "value": value, "customized": value != ""}
        return await call.client.create(_PLAIN, content)

    async def update(self, call: Call, old: Json, patch: Json) -> Json:
        """A new value; creates the setting where there is none."""
        name, value = _checked(old["metadata"]["name"]), _text(patch.get("value"))
        if name == default_role.NAME:
            return await default_role.write(call, value)
        self._check_writable(name)
        change = {"value": value, "customized": value != ""}
        try:
            return await call.client.patch(_PLAIN, name, change)
        except NotFound:
            return await call.client.create(_PLAIN, {"metadata": {"name": name}, **change})

    async def delete(self, call: Call, old: Json) -> Json | None:
        """Back to the default; a setting that has none goes."""
        name = old["metadata"]["name"]
        if name == default_role.NAME:
            await default_role.write(call, old["default"])
            return None
        self._check_writable(name)
        if name in BY_NAME:
            await call.client.patch(_PLAIN, name, {"value": "", "customized": False})
        else:
            await call.client.delete(_PLAIN, name)
        return None

    def allows(self, call: Call, verb: str, key: ObjectKey | None) -> bool:
        """Reading what is public, else what the rights say; nothing writes what is locked."""
        rights, group, plural = call.rights, SETTINGS.group, SETTINGS.plural
        if verb in ("get", "list") and (key is None or key.name in PUBLIC_NAMES):
            return True
        if key is None:
            return rights.allows_some(verb, group, plural)
        if verb not in ("get", "list") and self._refusal(key.name):
            return False
        # a reset is a change, for those that have a default
        needed = "patch" if verb == "delete" and key.name in BY_NAME else verb
        return rights.allows(needed, group, plural, name=key.name)

    def shown(self, setting: Json, _: Call) -> Json:
        """The value in effect and where it comes from."""
        name = setting["metadata"]["name"]
        known = BY_NAME.get(name)
        default = setting.get("default") or (known.default if known is not None else "")
        chosen = setting.get("value") or ""
        if self._effective.is_locked(name):
            value, source = self._effective.text(name), "env"
        else:
            value, source = chosen or default, "db" if chosen else "default"
        return {"value": value, "default": default, "customized": source == "db", "source": source}

    def _check_writable(self, name: str) -> None:
        refusal = self._refusal(name)
        if refusal:
            raise NormanError(403, f"readOnly: {refusal}", field="value")

    def _refusal(self, name: str) -> str:
        if self._effective.is_locked(name):
            return f"setting {name} is set by the server's environment: change it there"
        if name in BY_NAME and BY_NAME[name].computed:
            return f"setting {name} is computed by the server"
        return ""


def setting_views(client: Client, effective: AuthSettings) -> list[View]:
    """The views of settings and features. `client` is the server's own."""
    store = VisibleSettings(client, effective)
    return [
        View(
            kind=SETTINGS,
            type="setting",
            plural="settings",
            fields={
                "value": Field(required=False, absent=""),
                **dict.fromkeys(("default", "customized", "source"), _READ),
            },
            store=store,
            compute=store.shown,
            hooks=Hooks(update=_need_value),
            stateless=True,
            public=True,
            upserts=True,
        ),
        View(
            kind=FEATURES,
            type="feature",
            plural="features",
            fields={"value": Field(type="boolean"), "lockedValue": _READ},
            methods=frozenset({"GET", "PUT"}),
            stateless=True,
        ),
    ]


async def _need_value(_: Call, __: Json, ___: Json, body: Json, proceed: Proceed) -> Json:
    if body.get("value") is None:
        raise NormanError(422, "a setting needs a value", code="MissingRequired", field="value")
    return await proceed({"value": body["value"]})


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise NormanError(422, "the value of a setting is text", code="InvalidFormat", field="value")
    return value


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise NormanError(422, "this is no name of a setting", code="InvalidCharacters", field="name")
    return name
