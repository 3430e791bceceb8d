"""Principals and identity providers in `/v3` (contract, auth-and-rbac §2.1, §2.8, §2.9)."""

from collections.abc import Sequence
from typing import Any, Final

from outrider.apis.management.auth_config import AUTH_CONFIGS
from outrider.apis.management.group import GROUP, VERSION
from outrider.apis.management.user import User
from outrider.apis.norman import NormanError
from outrider.apis.views.call import Call
from outrider.apis.views.view import Access, Action, Field, Hooks, Invocation, Json, Proceed, View
from outrider.features.auth.judgement import AUTOMATIC_GROUPS
from outrider.features.auth.tokens import LOCAL_PROVIDER
from outrider.kube.builtin import untyped
from outrider.kube.meta import ObjectKey
from outrider.runtime.store import Lister

PRINCIPALS: Final = untyped(GROUP, VERSION, "principals", "Principal", namespaced=False)

MOST: Final = 200
"""Principals that a search finds, at most."""

_LOCAL: Final = "local://"
_READ: Final = Field(access=Access.READ)


class Principals:
    """Who there is, by the ids of their providers. Stored nowhere: users are shown as their provider knows them.

    Everybody who has signed in may look: whoever adds a member to something has to find them first. Nothing is
    shown of them but their names.
    """

    def __init__(self, users: Lister[User]) -> None:
        self._users = users

    async def list(self, call: Call) -> Sequence[Json]:
        """The caller, and the groups that the caller is in."""
        groups = [group for group in call.identity.groups if group not in AUTOMATIC_GROUPS]
        return [self._of_user(call, call.user), *(_of_group(group, member=True) for group in groups)]

    async def get(self, call: Call, key: ObjectKey) -> Json:
        """One principal by its id. Raises NormanError 404."""
        if key.name in call.identity.groups and key.name not in AUTOMATIC_GROUPS:
            return _of_group(key.name, member=True)
        name = key.name.removeprefix(_LOCAL)
        if name == key.name or self._users.get(ObjectKey("", name)) is None:
            raise NormanError(404, f"principal {key.name} not found")
        return self._of_user(call, name)

    async def create(self, call: Call, draft: Json) -> Json:
        """Never."""
        raise NormanError(405, "principals come from identity providers")

    async def update(self, call: Call, old: Json, patch: Json) -> Json:
        """Never."""
        raise NormanError(405, "principals come from identity providers")

    async def delete(self, call: Call, old: Json) -> Json | None:
        """Never."""
        raise NormanError(405, "principals come from identity providers")

    def allows(self, call: Call, verb: str, key: ObjectKey | None) -> bool:
        """Reading."""
        return verb in ("list", "get")

    def found(self, call: Call, text: str, kind: str) -> Sequence[Json]:
        """Local users whose name at sign-in or shown name begins with a text."""
        if kind == "group" or not text.strip():
            return []
        wanted = text.strip().casefold()
        hits = [
            user.metadata.name
            for user in self._users.list()
            if user.username.casefold().startswith(wanted) or user.display_name.casefold().startswith(wanted)
        ]
        return [self._of_user(call, name) for name in sorted(hits)[:MOST]]

    def _of_user(self, call: Call, name: str) -> Json:
        user = self._users.get(ObjectKey("", name))
        return {
            "metadata": {"name": f"{_LOCAL}{name}"},
            "displayName": user.display_name if user is not None else "",
            "loginName": user.username if user is not None else "",
            "principalType": "user",
            "provider": LOCAL_PROVIDER,
            "me": name == call.user,
            "memberOf": False,
        }


def _of_group(group: str, *, member: bool) -> Json:
    provider = group.partition("_")[0]
    return {
        "metadata": {"name": group},
        "displayName": group.partition("://")[2] or group,
        "loginName": group.partition("://")[2] or group,
        "principalType": "group",
        "provider": provider,
        "me": False,
        "memberOf": member,
    }


def principal_views(users: Lister[User]) -> list[View]:
    """The views of principals and of identity providers."""
    store = Principals(users)

    async def search(asked: Invocation) -> Json:
        name, kind = asked.body.get("name"), asked.body.get("principalType")
        if not isinstance(name, str) or not (kind is None or isinstance(kind, str)):
            raise NormanError(422, "name takes text", code="InvalidFormat", field="name")
        found = store.found(asked.call, name, kind or "")
        link = f"{asked.call.base}/v3/principals"
        return {
            "type": "collection",
            "resourceType": "principal",
            "links": {"self": link},
            "data": [_plain(principal) for principal in found],
        }

    return [
        View(
            kind=PRINCIPALS,
            type="principal",
            plural="principals",
            fields={
                **dict.fromkeys(
                    ("name", "displayName", "loginName", "principalType", "provider", "profilePicture",
                     "profileURL"),
                    _READ,
                ),
                "me": Field(access=Access.READ, type="boolean"),
                "memberOf": Field(access=Access.READ, type="boolean"),
                "extraInfo": Field(access=Access.READ, type="map[string]"),
            },
            methods=frozenset({"GET"}),
            collection_actions=(
                Action(name="search", run=search, input="searchPrincipalsInput", output="collection"),
            ),
            store=store,
            compute=_name,
            stateless=True,
        ),
        View(
            kind=AUTH_CONFIGS,
            type="authConfig",
            plural="authConfigs",
            fields={"type": _READ, "logoutAllSupported": _READ, "accessMode": Field(absent="unrestricted")},
            methods=frozenset({"GET", "PUT"}),
            compute=_kind_of_config,
            hooks=Hooks(update=_keep_local),
            stateless=True,
        ),
    ]  # fmt: skip


def _name(principal: Json, _: Call) -> Json:
    return {"name": principal["displayName"] or principal["loginName"]}


def _plain(principal: Json) -> Json:
    """A found principal as a resource; its link would be that of the principal itself."""
    fields: dict[str, Any] = {key: value for key, value in principal.items() if key != "metadata"}
    identifier = principal["metadata"]["name"]
    name = principal["displayName"] or principal["loginName"]
    return {
        **fields, "id": identifier, "type": "principal", "baseType": "principal", "name": name, "links": {},
        "actions": {},
    }  # fmt: skip


def _kind_of_config(config: Json, _: Call) -> Json:
    return {"type": config.get("type") or "authConfig"}


async def _keep_local(_: Call, old: Json, patch: Json, body: Json, proceed: Proceed) -> Json:
    if old["metadata"]["name"] == LOCAL_PROVIDER and body.get("enabled") is False:
        raise NormanError(
            422,
            "local sign-in cannot be disabled: no other enabled provider has a global administrator who has"
            " signed in through it",
            code="InvalidState",
            field="enabled",
        )
    return await proceed(patch)
