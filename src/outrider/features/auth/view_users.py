"""Users and their passwords in `/v3` (contract, auth-and-rbac §1.14).

Users are listed, created, changed and deleted as the caller, so that RBAC decides; everybody sees themselves.
Passwords are written with the server's own identity, after asking RBAC whether the caller may update that user.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from outrider.apis.management.user import USERS, User
from outrider.apis.norman import NormanError, retry_later
from outrider.apis.views.call import Call
from outrider.apis.views.view import Access, Action, Field, Hooks, Invocation, Json, Need, Proceed, View
from outrider.features.auth.access import AccessReviews
from outrider.features.auth.access import Action as Right
from outrider.features.auth.arrival import Arrival
from outrider.features.auth.errors import AuthenticationFailed, Busy, PasswordRefused, TooManyAttempts
from outrider.features.auth.login import LocalPasswords
from outrider.kube.builtin import plain
from outrider.kube.client import Client
from outrider.kube.errors import Forbidden, KubeError, NotFound
from outrider.kube.identity import Identity
from outrider.kube.meta import ObjectKey
from outrider.runtime.store import Lister

T = TypeVar("T")

_PLAIN = plain(USERS)
_READ = Field(access=Access.READ)


class PasswordChange(msgspec.Struct, rename="camel"):
    """An old and a new password."""

    current_password: str = ""
    new_password: str = ""

    def __repr__(self) -> str:
        return "PasswordChange(…)"


class VisibleUsers:
    """The users that somebody may see: those that RBAC lets them, and themselves. `client` is the server's own."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def list(self, call: Call) -> Sequence[Json]:
        """What the caller may list; at least the caller."""
        try:
            return (await call.client.list(_PLAIN)).items
        except Forbidden:
            return [await self._client.get(_PLAIN, call.user)]

    async def get(self, call: Call, key: ObjectKey) -> Json:
        """One user; somebody else's is answered as if it were not there. Raises NormanError 404."""
        client = self._client if key.name == call.user else call.client
        try:
            return await client.get(_PLAIN, key.name)
        except (Forbidden, NotFound, ValueError):
            raise NormanError(404, f"user {key.name} not found") from None

    async def create(self, call: Call, draft: Json) -> Json:
        """As the caller."""
        return await call.client.create(_PLAIN, draft)

    async def update(self, call: Call, old: Json, patch: Json) -> Json:
        """As the caller."""
        version = old["metadata"].get("resourceVersion")
        locked = {**patch, "metadata": {**patch.get("metadata", {}), "resourceVersion": version}}
        return await call.client.patch(_PLAIN, old["metadata"]["name"], locked)

    async def delete(self, call: Call, old: Json) -> Json | None:
        """As the caller."""
        name, uid = old["metadata"]["name"], old["metadata"]["uid"]
        await call.client.delete(_PLAIN, name, uid=uid)
        try:
            left = await call.client.get(_PLAIN, name)
        except (NotFound, Forbidden):
            return None
        return left if left["metadata"]["uid"] == uid else None

    def allows(self, call: Call, verb: str, key: ObjectKey | None) -> bool:
        """What the rights say, and reading oneself."""
        if verb in ("list", "get") and (key is None or key.name == call.user):
            return True
        if key is None:
            return call.rights.allows_some(verb, USERS.group, USERS.plural)
        return call.rights.allows(verb, USERS.group, USERS.plural, name=key.name)


class UserViews:
    """The view of users."""

    def __init__(
        self,
        *,
        client: Client,
        users: Lister[User],
        passwords: LocalPasswords,
        access: AccessReviews,
        arrival: Arrival,
    ) -> None:
        self._client = client
        self._users = users
        self._passwords = passwords
        self._access = access
        self._arrival = arrival

    def views(self) -> list[View]:
        """The view."""
        return [
            View(
                kind=USERS,
                type="user",
                plural="users",
                names={"displayName": "name"},
                hidden=frozenset({"password"}),
                fields={
                    "name": Field(absent=""),
                    "description": Field(absent=""),
                    "username": Field(access=Access.CREATE, absent=""),
                    "password": Field(access=Access.WRITE, type="password"),
                    "enabled": Field(default=True, absent=True),
                    "mustChangePassword": Field(absent=False),
                    "me": _READ,
                    "principalIds": Field(access=Access.READ, type="array[reference[principal]]"),
                },
                generate_name="user-",
                store=VisibleUsers(self._client),
                compute=_compute,
                actions=(
                    Action(
                        name="setpassword",
                        run=self._set_password,
                        need=Need(verb="update"),
                        input="setPasswordInput",
                        output="user",
                    ),
                ),
                collection_actions=(
                    Action(name="changepassword", run=self._change_own, input="changePasswordInput"),
                ),
                hooks=Hooks(create=self._create, update=self._update, delete=self._delete),
                settles=False,
            )
        ]

    # Writing

    async def _create(self, call: Call, draft: Json, body: Json, proceed: Proceed) -> Json:
        password = body.get("password")
        password = password if isinstance(password, str) else ""
        self._check(draft.get("username"), password)
        made = await proceed(draft)
        user = msgspec.convert(made, User)
        try:
            await self._passwords.store(user, password)
            name = user.metadata.name
            complete = await self._client.patch(_PLAIN, name, {"principalIds": [f"local://{name}"]})
        except (KubeError, Busy):
            await self._client.delete_if_exists(USERS, user.metadata.name, uid=user.metadata.uid)
            raise
        await self._arrival.of(self._users, user.key)
        return complete

    def _check(self, username: object, password: str) -> None:
        if not isinstance(username, str) or not username.strip():
            raise NormanError(422, "a user needs a username", code="MissingRequired", field="username")
        if self._passwords.by_username(username) is not None:
            raise NormanError(422, "this username is taken", code="NotUnique", field="username")
        try:
            self._passwords.check(password, username=username)
        except PasswordRefused as error:
            raise refusal(error) from None

    async def _update(self, call: Call, old: Json, patch: Json, body: Json, proceed: Proceed) -> Json:
        if not patch:
            return old
        if old["metadata"]["name"] == call.user and patch.get("enabled") is False:
            raise NormanError(422, "you cannot disable yourself", code="InvalidAction", field="enabled")
        await self._guard_administrator(call, old)
        return await proceed(patch)

    async def _delete(
        self, call: Call, old: Json, proceed: Callable[[], Awaitable[Json | None]]
    ) -> Json | None:
        name = old["metadata"]["name"]
        if name == call.user:
            raise NormanError(422, "you cannot delete yourself", code="InvalidAction")
        await self._guard_administrator(call, old)
        left = await proceed()
        if left is None:
            await self._arrival.of_end(self._users, ObjectKey("", name))
        return left

    # Passwords

    async def _change_own(self, asked: Invocation) -> Json:
        call, change = asked.call, taken(asked.body, PasswordChange)
        user = await self._client.get(USERS, call.user)
        try:
            await self._passwords.change(
                user, current=change.current_password, new=change.new_password, remote=call.remote
            )
        except AuthenticationFailed:
            raise NormanError(422, "invalid current password", field="currentPassword") from None
        except (PasswordRefused, TooManyAttempts, Busy) as error:
            raise refusal(error) from None
        return {}

    async def _set_password(self, asked: Invocation) -> None:
        call, target = asked.call, asked.object or {}
        name = target["metadata"]["name"]
        if not await self._access.allows(call.identity, _update(name)):
            raise NormanError(403, "you may not update this user")
        await self._guard_administrator(call, target)
        change = taken(asked.body, PasswordChange)
        try:
            await self._passwords.set(msgspec.convert(target, User), change.new_password)
        except (PasswordRefused, Busy) as error:
            raise refusal(error) from None

    async def _guard_administrator(self, call: Call, target: Json) -> None:
        # else whoever manages users could take over an administrator (CVE-2025-23391)
        name = target["metadata"]["name"]
        if name == call.user or await self._access.is_administrator(call.identity):
            return
        if await self._access.is_administrator(Identity(user=name)):
            raise NormanError(403, "only an administrator may change an administrator")


def _compute(user: Json, call: Call) -> Json:
    name = user["metadata"]["name"]
    return {
        "me": name == call.user,
        "principalIds": sorted({f"local://{name}", *(user.get("principalIds") or ())}),
    }


def _update(user: str) -> Right:
    return Right(verb="update", group=USERS.group, resource=USERS.plural, name=user)


def taken(body: Json, kind: type[T]) -> T:
    """What an action takes, of a resource as sent; unknown fields are ignored. Raises NormanError (422)."""
    try:
        return msgspec.convert(body, kind, strict=False)
    except (msgspec.ValidationError, RecursionError):
        # msgspec's text may quote the body, which may hold a password
        raise NormanError(
            422, "the body is not the JSON that this action takes", code="InvalidBodyContent"
        ) from None


def refusal(error: PasswordRefused | TooManyAttempts | Busy) -> NormanError:
    """Why a password was not taken."""
    if isinstance(error, TooManyAttempts):
        return retry_later(429, str(error), error.retry_after)
    if isinstance(error, Busy):
        return retry_later(503, str(error), 2.0, code="ServerError")
    code = "MinLengthExceeded" if "at least" in str(error) else "InvalidBodyContent"
    return NormanError(422, str(error), code=code)
