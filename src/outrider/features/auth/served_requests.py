"""Requests of ext.cattle.io/v1 that are answered at once and kept nowhere (contract, auth-and-rbac §1.13)."""

from __future__ import annotations

from typing import Any

import msgspec

from outrider.apis.ext.requests import (
    COMPLETED,
    EVERYBODY,
    GROUP_MEMBERSHIP_REFRESH_REQUESTS,
    PASSWORD_CHANGE_REQUESTS,
    SELF_USERS,
    GroupMembershipRefreshRequest,
    PasswordChangeRequest,
    PasswordChangeRequestSpec,
)
from outrider.apis.ext.served import Caller, Json, Served
from outrider.apis.management.user import USERS, User
from outrider.apis.management.user_attribute import USER_ATTRIBUTES
from outrider.features.auth.access import EVERYTHING, Action
from outrider.features.auth.errors import AuthenticationFailed, Busy, PasswordRefused, TooManyAttempts
from outrider.features.auth.login import LocalPasswords
from outrider.features.auth.passwords import NAMESPACE
from outrider.features.auth.served_access import Gatekeeper
from outrider.features.auth.views import rfc3339
from outrider.kit.clock import Clock
from outrider.kube.builtin import SECRETS
from outrider.kube.client import Client
from outrider.kube.errors import (
    ApiError,
    BadRequest,
    Forbidden,
    NotFound,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from outrider.kube.identity import Identity
from outrider.kube.kind import Kind

_NOT_AUTHORIZED = "not authorized to update password"
_CREATE_USERS = Action(verb="create", group=USERS.group, resource=USERS.plural)
_SET_PASSWORDS = Action(verb="update", group="", resource=SECRETS.plural, namespace=NAMESPACE)


class ServedRequests:
    """Who am I, change a password, read groups again."""

    def __init__(
        self, *, client: Client, gatekeeper: Gatekeeper, passwords: LocalPasswords, clock: Clock
    ) -> None:
        self._client = client
        self._gatekeeper = gatekeeper
        self._passwords = passwords
        self._clock = clock

    def served(self) -> list[Served]:
        """The declarations."""
        return [
            Served(kind=SELF_USERS, create=self._self_user),
            Served(kind=PASSWORD_CHANGE_REQUESTS, create=self._change_password),
            Served(kind=GROUP_MEMBERSHIP_REFRESH_REQUESTS, create=self._refresh),
        ]

    async def _self_user(self, caller: Caller, sent: Json, *, dry_run: bool) -> Json:
        return _answer(SELF_USERS, sent) | {"status": {"userID": caller.user}}

    # Passwords

    async def _change_password(self, caller: Caller, sent: Json, *, dry_run: bool) -> Json:
        wanted = msgspec.convert(sent, PasswordChangeRequest).spec
        if not wanted.user_id:
            raise BadRequest("userID is required")
        may_set = await self._may_set(caller, wanted.user_id)
        own = wanted.user_id == caller.user
        if not own and not may_set:
            raise Unauthorized(_NOT_AUTHORIZED)
        user = await self._gatekeeper.find_user(wanted.user_id)
        if user is None:
            raise BadRequest(f"user {wanted.user_id} not found")
        try:
            self._passwords.check(wanted.new_password, username=user.username)
            if not dry_run:
                await self._set(
                    caller, user, wanted, proven=not may_set or (own and bool(wanted.current_password))
                )
        except (PasswordRefused, AuthenticationFailed, TooManyAttempts, Busy) as error:
            raise _refusal(error) from None
        answer = _answer(PASSWORD_CHANGE_REQUESTS, sent)
        answer["spec"] = {"userID": wanted.user_id}
        return answer | {"status": self._done("PasswordUpdated")}

    async def _set(
        self, caller: Caller, user: User, wanted: PasswordChangeRequestSpec, *, proven: bool
    ) -> None:
        if proven:
            await self._passwords.change(
                user, current=wanted.current_password, new=wanted.new_password, remote=caller.user
            )
            return
        await self._guard_administrator(caller, user)
        await self._passwords.set(user, wanted.new_password)

    async def _may_set(self, caller: Caller, user: str) -> bool:
        update = Action(verb="update", group=USERS.group, resource=USERS.plural, name=user)
        return await self._gatekeeper.may(caller, update) and await self._gatekeeper.may(
            caller, _SET_PASSWORDS
        )

    async def _guard_administrator(self, caller: Caller, user: User) -> None:
        # else whoever manages users could take over an administrator (CVE-2025-23391)
        name = user.metadata.name
        if name == caller.user or await self._gatekeeper.may(caller, EVERYTHING):
            return
        if await self._gatekeeper.may(Caller(Identity(user=name)), EVERYTHING):
            raise Forbidden("only an administrator may change an administrator")

    # Groups

    async def _refresh(self, caller: Caller, sent: Json, *, dry_run: bool) -> Json:
        wanted = msgspec.convert(sent, GroupMembershipRefreshRequest).spec.user_id
        if not wanted:
            raise BadRequest("spec.userId is required")
        if not await self._gatekeeper.may(caller, _CREATE_USERS):
            raise Forbidden("not authorized to refresh group memberships")
        if wanted != EVERYBODY and await self._gatekeeper.find_user(wanted) is None:
            raise BadRequest(f"user {wanted} not found")
        if not dry_run:
            await self._mark(wanted)
        return _answer(GROUP_MEMBERSHIP_REFRESH_REQUESTS, sent) | {
            "status": self._done("UserRefreshInitiated")
        }

    async def _mark(self, wanted: str) -> None:
        """Has whoever reads groups from providers do so; a user without attributes has none to read again."""
        fields = "" if wanted == EVERYBODY else f"metadata.name={wanted}"
        for attribute in (await self._client.list(USER_ATTRIBUTES, fields=fields)).items:
            try:
                await self._client.patch(USER_ATTRIBUTES, attribute.metadata.name, {"NeedsRefresh": True})
            except NotFound:
                continue

    def _done(self, condition: str) -> Json:
        now = rfc3339(self._clock.now())
        entry = {"type": condition, "status": "True", "lastUpdateTime": now, "lastTransitionTime": now}
        return {"conditions": [entry], "summary": COMPLETED}


def _answer(kind: Kind[Any], sent: Json) -> Json:
    answer = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {}}
    return answer | ({"spec": sent["spec"]} if sent.get("spec") else {})


def _refusal(error: Exception) -> ApiError:
    if isinstance(error, TooManyAttempts):
        return TooManyRequests(str(error), retry_after=error.retry_after)
    if isinstance(error, Busy):
        return Unavailable(str(error), retry_after=2.0)
    if isinstance(error, AuthenticationFailed):
        return Unauthorized(_NOT_AUTHORIZED)
    text = str(error)
    return BadRequest(text[:1].lower() + text[1:])
