"""Users and their passwords (contract, auth-and-rbac §1.14).

Users are listed, created and deleted as the caller, so that RBAC decides. Passwords are written with the
server's own identity, after asking RBAC whether the caller may update that user.
"""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from outrider.apis.management.user import USERS, User
from outrider.apis.norman import NormanError, retry_later
from outrider.features.auth.access import AccessReviews, Action
from outrider.features.auth.arrival import Arrival
from outrider.features.auth.errors import AuthenticationFailed, Busy, PasswordRefused, TooManyAttempts
from outrider.features.auth.login import LocalPasswords
from outrider.features.auth.requests import Caller, base_url, body_of, caller_of
from outrider.features.auth.views import CREATOR, answer, collection, matches, user_view
from outrider.kube.client import Client
from outrider.kube.errors import Forbidden, KubeError, NotFound
from outrider.kube.identity import Identity
from outrider.kube.meta import ObjectKey, ObjectMeta
from outrider.runtime.store import Lister


class NewUser(msgspec.Struct, rename="camel"):
    """What is asked of a new user."""

    username: str = ""
    password: str = ""
    name: str = ""
    description: str = ""
    enabled: bool | None = None
    must_change_password: bool = False

    def __repr__(self) -> str:
        return f"NewUser({self.username!r})"


class PasswordChange(msgspec.Struct, rename="camel"):
    """An old and a new password."""

    current_password: str = ""
    new_password: str = ""

    def __repr__(self) -> str:
        return "PasswordChange(…)"


class UserRoutes:
    """`/v3/users`."""

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

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route("/v3/users", self.list_all, methods=["GET"]),
            Route("/v3/users", self.act_on_all, methods=["POST"]),
            Route("/v3/users/{name}", self.get, methods=["GET"]),
            Route("/v3/users/{name}", self.delete, methods=["DELETE"]),
            Route("/v3/users/{name}", self.act_on_one, methods=["POST"]),
        ]

    async def list_all(self, request: Request) -> Response:
        """GET /v3/users: those that the caller may see, which includes the caller"""
        caller = caller_of(request)
        alone = request.query_params.get("me") == "true"
        users = [await self._self(caller)] if alone else await self._visible(caller)
        may = await self._access.allows(caller.identity, _update(""))
        base, query = base_url(request), request.query_params.multi_items()
        rows = [user_view(user, base=base, me=caller.user, may_set_password=may) for user in users]
        kept = [row for row in rows if matches(row, query)]
        return answer(collection("user", "users", kept, base=base, actions=("changepassword",)))

    async def _visible(self, caller: Caller) -> list[User]:
        try:
            return (await self._client.as_user(caller.identity).list(USERS)).items
        except Forbidden:
            return [await self._self(caller)]

    async def _self(self, caller: Caller) -> User:
        user = self._users.get(ObjectKey("", caller.user))
        return user if user is not None else await self._client.get(USERS, caller.user)

    async def get(self, request: Request) -> Response:
        """GET /v3/users/<name>"""
        caller = caller_of(request)
        return answer(
            await self._shown(request, caller, await self._one(caller, request.path_params["name"]))
        )

    async def _shown(self, request: Request, caller: Caller, user: User) -> dict[str, Any]:
        may = await self._access.allows(caller.identity, _update(user.metadata.name))
        return user_view(user, base=base_url(request), me=caller.user, may_set_password=may)

    async def _one(self, caller: Caller, name: str) -> User:
        if name == caller.user:
            return await self._self(caller)
        try:
            return await self._client.as_user(caller.identity).get(USERS, name)
        except (Forbidden, NotFound, ValueError):
            raise NormanError(404, f"user {name} not found") from None

    async def act_on_all(self, request: Request) -> Response:
        """POST /v3/users: create, or the action in the query"""
        action = request.query_params.get("action", "")
        if action == "changepassword":
            return await self._change_own(request)
        if action:
            raise NormanError(404, "users have the action changepassword", code="ActionNotAvailable")
        return await self._create(request)

    async def _change_own(self, request: Request) -> Response:
        caller = caller_of(request)
        change = await body_of(request, PasswordChange)
        user = await self._self(caller)
        try:
            await self._passwords.change(
                user, current=change.current_password, new=change.new_password, remote=caller.claim.remote
            )
        except AuthenticationFailed:
            raise NormanError(422, "invalid current password", field="currentPassword") from None
        except (PasswordRefused, TooManyAttempts, Busy) as error:
            raise _refusal(error) from None
        return answer({})

    async def _create(self, request: Request) -> Response:
        caller = caller_of(request)
        wanted = await body_of(request, NewUser)
        self._check(wanted)
        created = await self._client.as_user(caller.identity).create(USERS, _draft(wanted, caller.user))
        try:
            await self._complete(created, wanted)
        except (KubeError, Busy):
            await self._client.delete_if_exists(USERS, created.metadata.name, uid=created.metadata.uid)
            raise
        await self._arrival.of(self._users, created.key)
        return answer(await self._shown(request, caller, created), 201)

    def _check(self, wanted: NewUser) -> None:
        if not wanted.username or not wanted.username.strip():
            raise NormanError(422, "a user needs a username", code="MissingRequired", field="username")
        if self._passwords.by_username(wanted.username) is not None:
            raise NormanError(422, "this username is taken", code="NotUnique", field="username")
        try:
            self._passwords.check(wanted.password, username=wanted.username)
        except PasswordRefused as error:
            raise _refusal(error) from None

    async def _complete(self, user: User, wanted: NewUser) -> None:
        await self._passwords.store(user, wanted.password)
        name = user.metadata.name
        await self._client.patch(USERS, name, {"principalIds": [f"local://{name}"]})

    async def delete(self, request: Request) -> Response:
        """DELETE /v3/users/<name>"""
        caller = caller_of(request)
        user = await self._one(caller, request.path_params["name"])
        if user.metadata.name == caller.user:
            raise NormanError(422, "you cannot delete yourself", code="InvalidAction")
        await self._guard_administrator(caller, user)
        await self._client.as_user(caller.identity).delete(USERS, user.metadata.name, uid=user.metadata.uid)
        await self._arrival.of_end(self._users, user.key)
        return Response(status_code=204)

    async def act_on_one(self, request: Request) -> Response:
        """POST /v3/users/<name>?action=setpassword"""
        caller = caller_of(request)
        user = await self._one(caller, request.path_params["name"])
        if request.query_params.get("action") != "setpassword":
            raise NormanError(404, "a user has the action setpassword", code="ActionNotAvailable")
        if not await self._access.allows(caller.identity, _update(user.metadata.name)):
            raise NormanError(403, "you may not update this user")
        await self._guard_administrator(caller, user)
        change = await body_of(request, PasswordChange)
        try:
            await self._passwords.set(user, change.new_password)
        except (PasswordRefused, Busy) as error:
            raise _refusal(error) from None
        return answer(await self._shown(request, caller, await self._client.get(USERS, user.metadata.name)))

    async def _guard_administrator(self, caller: Caller, target: User) -> None:
        # else whoever manages users could take over an administrator (CVE-2025-23391)
        if target.metadata.name == caller.user or await self._access.is_administrator(caller.identity):
            return
        if await self._access.is_administrator(Identity(user=target.metadata.name)):
            raise NormanError(403, "only an administrator may change an administrator")


def _update(user: str) -> Action:
    return Action(verb="update", group="management.cattle.io", resource="users", name=user)


def _draft(wanted: NewUser, creator: str) -> User:
    return User(
        metadata=ObjectMeta(generate_name="user-", annotations={CREATOR: creator}),
        username=wanted.username,
        display_name=wanted.name,
        description=wanted.description,
        enabled=wanted.enabled is not False,
        must_change_password=wanted.must_change_password,
    )


def _refusal(error: PasswordRefused | TooManyAttempts | Busy) -> NormanError:
    if isinstance(error, TooManyAttempts):
        return retry_later(429, str(error), error.retry_after)
    if isinstance(error, Busy):
        return retry_later(503, str(error), 2.0, code="ServerError")
    code = "MinLengthExceeded" if "at least" in str(error) else "InvalidBodyContent"
    return NormanError(422, str(error), code=code)
