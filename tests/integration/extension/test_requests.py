"""Activity, passwords, groups and oneself through a real API server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from outrider.apis.management.token import TOKENS
from outrider.apis.management.user import USERS
from outrider.apis.management.user_attribute import USER_ATTRIBUTES
from outrider.kube.builtin import untyped
from outrider.kube.errors import BadRequest, Forbidden, NotFound, Unauthorized
from tests.integration.extension.conftest import Person, Plane
from tests.support.proc import until

ACTIVITIES = untyped("ext.cattle.io", "v1", "useractivities", "UserActivity", namespaced=False)
NEW = "a much better password"


async def ask(person: Person, plural: str, kind: str, spec: dict[str, Any] | None = None) -> Any:
    body = {"apiVersion": "ext.cattle.io/v1", "kind": kind, **({"spec": spec} if spec else {})}
    return await person.client.post(f"/apis/ext.cattle.io/v1/{plural}", body)


async def change(person: Person, user: str, new: str, current: str = "") -> Any:
    spec = {"userID": user, "newPassword": new, "currentPassword": current}
    return await ask(person, "passwordchangerequests", "PasswordChangeRequest", spec)


async def test_who_am_i(jane: Person) -> None:
    assert (await ask(jane, "selfusers", "SelfUser"))["status"] == {"userID": jane.name}


async def test_activity_moves_a_sessions_end(plane: Plane, jane: Person) -> None:
    assert "seenAt" not in (await jane.client.get(ACTIVITIES, jane.token))["spec"]
    now = datetime.now(UTC).replace(microsecond=0)
    later = (now + timedelta(hours=5)).isoformat()
    seen = await jane.client.patch(ACTIVITIES, jane.token, {"spec": {"seenAt": later}})
    moment = datetime.fromisoformat(seen["spec"]["seenAt"])
    assert abs((moment - now).total_seconds()) < 60
    ends = datetime.fromisoformat(seen["status"]["expiresAt"])
    assert ends - moment == timedelta(minutes=960)

    async def written() -> bool:
        return (await plane.client.get(TOKENS, jane.token)).activity_last_seen_at is not None

    await until(written)
    earlier = (now - timedelta(hours=1)).isoformat()

    async def ignored() -> bool:
        shown = await jane.client.patch(ACTIVITIES, jane.token, {"spec": {"seenAt": earlier}})
        return bool(shown["spec"]["seenAt"] >= seen["spec"]["seenAt"])

    await until(ignored)
    joe = await plane.person()
    with pytest.raises(NotFound):
        await joe.client.get(ACTIVITIES, jane.token)
    derived = await plane.auth.issuer.derived(await plane.client.get(TOKENS, jane.token))
    with pytest.raises(Forbidden, match="not a session token"):
        await jane.client.get(ACTIVITIES, derived.token.metadata.name)
    with pytest.raises(BadRequest):
        await jane.client.patch(ACTIVITIES, jane.token, {"spec": {"seenAt": "yesterday"}})


async def test_passwords(plane: Plane, jane: Person) -> None:
    user = await plane.client.get(USERS, jane.name)
    await plane.auth.passwords.store(user, "correct horse battery")
    with pytest.raises(BadRequest, match="userID is required"):
        await change(jane, "", NEW)
    with pytest.raises(BadRequest, match="at least 12 characters"):
        await change(jane, jane.name, "short", "correct horse battery")
    with pytest.raises(Unauthorized, match="not authorized to update password"):
        await change(jane, jane.name, NEW, "wrong wrong wrong")
    done = await change(jane, jane.name, NEW, "correct horse battery")
    assert done["status"]["summary"] == "Completed"
    assert done["status"]["conditions"][0]["type"] == "PasswordUpdated"
    assert NEW not in str(done)
    assert await plane.auth.passwords.authenticate(jane.name, NEW, remote="192.0.2.1")


async def test_the_passwords_of_others(plane: Plane, jane: Person) -> None:
    manager, boss = await plane.person(), await plane.person()
    with pytest.raises(Unauthorized):
        await change(manager, jane.name, NEW)
    await plane.may(manager.name, ["update"], "management.cattle.io", "users")
    with pytest.raises(Unauthorized):
        await change(manager, jane.name, NEW)
    await plane.may(manager.name, ["update"], "", "secrets")
    await change(manager, jane.name, NEW)
    with pytest.raises(BadRequest, match="user user-none not found"):
        await change(manager, "user-none", NEW)
    await plane.may(boss.name, ["*"], "*", "*")
    with pytest.raises(Forbidden, match="only an administrator"):
        await change(manager, boss.name, NEW)
    assert await plane.auth.passwords.authenticate(jane.name, NEW, remote="192.0.2.1")


async def test_groups_are_read_again(plane: Plane, jane: Person) -> None:
    await plane.client.create(USER_ATTRIBUTES, {"metadata": {"name": jane.name}, "UserName": "jane"})
    refresh = ("groupmembershiprefreshrequests", "GroupMembershipRefreshRequest", {"userId": jane.name})
    with pytest.raises(Forbidden):
        await ask(jane, *refresh)
    await plane.may(jane.name, ["create"], "management.cattle.io", "users")
    done = await ask(jane, *refresh)
    assert done["status"]["conditions"][0]["type"] == "UserRefreshInitiated"
    assert (await plane.client.get(USER_ATTRIBUTES, jane.name)).needs_refresh
    with pytest.raises(BadRequest, match="not found"):
        await ask(jane, *refresh[:2], {"userId": "user-none"})
    await plane.client.delete(USER_ATTRIBUTES, jane.name)
