"""Verdicts against the API server's own authorizer, and how fast they end (architecture, decision 4)."""

from __future__ import annotations

import asyncio
import hashlib
import time
from base64 import b64encode
from typing import Any
from uuid import uuid4

import pytest

from outrider.apis.management.cluster import CLUSTERS
from outrider.apis.management.token import TOKENS
from outrider.apis.management.user import USERS
from outrider.apis.management.user_attribute import USER_ATTRIBUTES
from outrider.features.auth.bootstrap import find_admin
from outrider.features.auth.passwords import NAMESPACE as PASSWORDS
from outrider.kube.builtin import CLUSTERROLEBINDINGS, CLUSTERROLES, SECRETS
from outrider.kube.client import Client
from tests.integration.auth.conftest import BOOTSTRAP, Plane, basic, eventually


@pytest.fixture
async def cluster(admin: Client, plane: Plane) -> str:
    name = f"c-{uuid4().hex[:8]}"
    await admin.create(CLUSTERS, {"metadata": {"name": name}, "spec": {"displayName": name}})
    return name


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid4().hex[:8]}"


async def grant(client: Client, user: str, cluster: str) -> str:
    name = unique("test-grant")
    rule = {
        "apiGroups": ["management.cattle.io"],
        "resources": ["clusters"],
        "resourceNames": [cluster],
        "verbs": ["get"],
    }
    await client.create(CLUSTERROLES, {"metadata": {"name": name}, "rules": [rule]})
    await client.create(
        CLUSTERROLEBINDINGS,
        {
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        },
    )
    return name


async def status(plane: Plane, credential: str, cluster: str = "") -> int:
    return (await plane.verdict(credential, cluster)).status


async def reaches(plane: Plane, credential: str, cluster: str) -> None:
    async def yes() -> bool:
        return await status(plane, credential, cluster) == 200

    await eventually(yes)


async def ends(plane: Plane, credential: str, cluster: str = "", *, within: float = 2.0) -> float:
    """Wait until the verdict is no longer 200 and an invalidation has gone out; the seconds that took."""
    start = time.monotonic()

    async def over() -> bool:
        return await status(plane, credential, cluster) != 200 and bool(plane.invalidations)

    await eventually(over, seconds=within)
    return time.monotonic() - start


async def test_the_administrator_reaches_everything_another_user_nothing(plane, cluster):
    admin_session = await plane.login("admin", BOOTSTRAP)
    name = unique("jane")
    await plane.user(name)
    jane = await plane.login(name, "a good password")
    assert await status(plane, admin_session, cluster) == 200
    assert await status(plane, admin_session) == 200
    assert await status(plane, jane) == 200
    forbidden = await plane.verdict(jane, cluster)
    unknown = await plane.verdict(jane, "c-nowhere")
    assert forbidden.status == unknown.status == 404
    assert (forbidden.code, forbidden.message) == (unknown.code, unknown.message)
    nowhere = await plane.verdict(admin_session, "c-nowhere")
    assert (nowhere.status, nowhere.code, nowhere.message) == (404, unknown.code, unknown.message)


async def test_the_identity_is_the_contracts(plane, cluster):
    session = await plane.login("admin", BOOTSTRAP)
    verdict = await plane.verdict(session, cluster)
    user = await find_admin(plane.client)
    assert verdict.identity.user == user.metadata.name == verdict.user
    assert verdict.identity.groups == ("system:authenticated", "system:cattle:authenticated")
    assert verdict.identity.extra["requesttokenid"] == (verdict.token,)
    assert verdict.identity.extra["username"] == ("admin",)


async def test_a_granted_cluster_is_reached_and_a_withdrawn_grant_is_noticed(plane, cluster, admin):
    name = unique("jane")
    user = await plane.user(name)
    jane = await plane.login(name, "a good password")
    binding = await grant(admin, user.metadata.name, cluster)
    await reaches(plane, jane, cluster)
    plane.invalidations.clear()
    await admin.delete(CLUSTERROLEBINDINGS, binding)
    assert await ends(plane, jane, cluster) < 2
    verdict = await plane.verdict(jane, cluster)
    assert verdict.ttl <= 1
    assert any(user.metadata.name in message.users for message in plane.invalidations)


async def test_a_verdict_soon_after_a_role_change_lives_one_second(plane, cluster, admin):
    session = await plane.login("admin", BOOTSTRAP)
    await asyncio.sleep(2.1)
    assert (await plane.verdict(session, cluster)).ttl == 30
    plane.invalidations.clear()
    await admin.create(CLUSTERROLES, {"metadata": {"name": unique("test-role")}, "rules": []})
    await eventually(lambda: bool([m for m in plane.invalidations if m.everything]))
    assert (await plane.verdict(session, cluster)).ttl == 1


async def test_a_role_that_loses_a_rule_is_noticed(plane, cluster, admin):
    name = unique("jane")
    user = await plane.user(name)
    jane = await plane.login(name, "a good password")
    role = await grant(admin, user.metadata.name, cluster)
    await reaches(plane, jane, cluster)
    plane.invalidations.clear()
    await admin.patch(CLUSTERROLES, role, {"rules": []})
    assert await ends(plane, jane, cluster) < 2
    assert any(message.everything for message in plane.invalidations)


async def revoke_token(plane: Plane, user: Any, token: str) -> None:
    await plane.client.delete(TOKENS, token)


async def disable_token(plane: Plane, user: Any, token: str) -> None:
    await plane.client.patch(TOKENS, token, {"enabled": False})


async def disable_user(plane: Plane, user: Any, token: str) -> None:
    await plane.client.patch(USERS, user.metadata.name, {"enabled": False})


async def delete_user(plane: Plane, user: Any, token: str) -> None:
    await plane.client.delete(USERS, user.metadata.name)


@pytest.mark.parametrize("revoke", [revoke_token, disable_token, disable_user, delete_user])
async def test_revocation_is_effective_in_under_two_seconds(plane, revoke):
    name = unique("jane")
    user = await plane.user(name)
    jane = await plane.login(name, "a good password")
    token = jane.removeprefix("Bearer ").partition(":")[0]
    before = await plane.verdict(jane)
    await asyncio.sleep(0.1)
    plane.invalidations.clear()
    await revoke(plane, user, token)
    assert await ends(plane, jane) < 2
    concerned = [m for m in plane.invalidations if token in m.tokens or user.metadata.name in m.users]
    assert concerned
    assert before.generation < concerned[0].generation


async def test_logout_ends_the_token(plane):
    name = unique("jane")
    await plane.user(name)
    jane = await plane.login(name, "a good password")
    plane.invalidations.clear()
    assert (await plane.request("POST", "/v1/logout", credential=jane)).status == 200
    assert await ends(plane, jane) < 2


async def test_a_changed_password_ends_basic_access(plane, admin):
    name = unique("jane")
    user = await plane.user(name)
    old = basic(name, "a good password")
    assert await status(plane, old) == 200
    plane.invalidations.clear()
    await plane.feature.passwords.set(user, "quite another one")
    assert await status(plane, old) == 401
    await eventually(lambda: any(user.metadata.name in m.users for m in plane.invalidations), seconds=2)
    assert await status(plane, basic(name, "quite another one")) == 200


async def test_new_groups_are_in_the_next_verdict_and_reserved_ones_never(plane, admin):
    name = unique("jane")
    user = await plane.user(name)
    jane = await plane.login(name, "a good password")
    items = [{"metadata": {"name": group}} for group in ("okta_group://devs", "system:masters")]
    await admin.create(
        USER_ATTRIBUTES,
        {"metadata": {"name": user.metadata.name}, "GroupPrincipals": {"okta": {"Items": items}}},
    )

    async def grown() -> bool:
        verdict = await plane.verdict(jane)
        return verdict.identity is not None and "okta_group://devs" in verdict.identity.groups

    await eventually(grown)
    verdict = await plane.verdict(jane)
    assert "system:masters" not in verdict.identity.groups
    assert any(user.metadata.name in message.users for message in plane.invalidations)


async def test_a_group_grants_what_is_bound_to_it(plane, cluster, admin):
    name = unique("jane")
    user = await plane.user(name)
    jane = await plane.login(name, "a good password")
    group = unique("okta_group://devs")
    role = await grant(admin, "nobody", cluster)
    await admin.create(
        CLUSTERROLEBINDINGS,
        {
            "metadata": {"name": unique("test-group")},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}],
        },
    )
    assert await status(plane, jane, cluster) == 404
    await admin.create(
        USER_ATTRIBUTES,
        {
            "metadata": {"name": user.metadata.name},
            "GroupPrincipals": {"okta": {"Items": [{"metadata": {"name": group}}]}},
        },
    )
    await reaches(plane, jane, cluster)


async def test_the_references_password_hash_is_replaced_at_login(plane, admin):
    name = unique("old")
    user = await plane.user(name)
    salt = bytes(32)
    key = hashlib.pbkdf2_hmac("sha3_512", b"imported password", salt, 210_000, 32)
    await admin.patch(
        SECRETS,
        user.metadata.name,
        {
            "metadata": {"annotations": {"cattle.io/password-hash": "pbkdf2sha3512"}},
            "data": {
                "password": b64encode(key).decode(),
                "salt": b64encode(salt).decode(),
                "parameters": None,
            },
        },
        PASSWORDS,
    )
    await plane.login(name, "imported password")
    secret = await admin.get(SECRETS, user.metadata.name, PASSWORDS)
    assert secret["metadata"]["annotations"]["cattle.io/password-hash"] == "argon2id"
    await plane.login(name, "imported password")


async def test_tokens_of_a_deleted_user_go_and_keys_of_a_disabled_one_are_disabled(plane, admin):
    name = unique("jane")
    user = await plane.user(name)
    session = await plane.login(name, "a good password")
    key = (await plane.request("POST", "/v3/tokens", {}, credential=session)).json()["id"]
    session_name = session.removeprefix("Bearer ").partition(":")[0]
    await admin.patch(USERS, user.metadata.name, {"enabled": False})

    async def session_gone_key_disabled() -> bool:
        stored = await admin.get(TOKENS, key)
        return await admin.get_or_none(TOKENS, session_name) is None and stored.enabled is False

    await eventually(session_gone_key_disabled)
    await admin.delete(USERS, user.metadata.name)

    async def all_gone() -> bool:
        password = await admin.get_or_none(SECRETS, user.metadata.name, PASSWORDS)
        return await admin.get_or_none(TOKENS, key) is None and password is None

    await eventually(all_gone, seconds=15)


async def test_an_ended_token_is_deleted(plane, admin):
    name = unique("jane")
    await plane.user(name)
    session = await plane.login(name, "a good password")
    made = await plane.request("POST", "/v3/tokens", {"ttl": 1000}, credential=session)
    key = made.json()
    assert await status(plane, f"Bearer {key['token']}") == 200

    async def gone() -> bool:
        return await admin.get_or_none(TOKENS, key["id"]) is None

    await eventually(gone)
    assert await status(plane, f"Bearer {key['token']}") == 401
