"""Impersonation accounts against a real API server, and everything that may be done to them."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from outrider.agent import accounts
from outrider.agent.credentials import ImpersonationAccounts, Timing
from outrider.agent.guard import AccountGuard
from outrider.agent.keeper import AccountKeeper
from outrider.kit.tasks import cancel_and_wait
from outrider.kube.builtin import CLUSTERROLEBINDINGS, CLUSTERROLES, SECRETS, SERVICEACCOUNTS
from outrider.kube.client import Client
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.errors import NotFound
from outrider.kube.identity import Identity
from outrider.kube.kubeconfig import ClusterAccess
from outrider.kube.transport import HttpTransport, Request
from outrider.tunnel.exchange import CredentialError

FAST = Timing(grace=0.3, trusted=0.0)


def claim(user: str, *groups: str, **extra: str) -> bytes:
    values = {key: (value,) for key, value in extra.items()}
    return msgspec.json.encode(Identity(user=user, groups=groups, extra=values))


@pytest.fixture
def user() -> str:
    return f"u-{uuid4().hex[:8]}"


@pytest.fixture
async def anonymous(api_server: EmbeddedCluster) -> AsyncIterator[HttpTransport]:
    access = api_server.access
    transport = HttpTransport(ClusterAccess(server=access.server, ca_pem=access.ca_pem))
    yield transport
    await transport.close()


@pytest.fixture
async def served(admin: Client, anonymous: HttpTransport) -> AsyncIterator[ImpersonationAccounts]:
    """Accounts with a guard that is already watching."""
    source = ImpersonationAccounts(
        AccountKeeper(admin), anonymous, now=asyncio.get_running_loop().time, timing=FAST
    )
    tasks = [asyncio.create_task(part) for part in (source.run(), AccountGuard(admin, source).run())]
    await asyncio.sleep(0.2)
    yield source
    await cancel_and_wait(*tasks)
    await source.close()


async def who_am_i(transport: HttpTransport, block: bytes) -> dict[str, Any]:
    headers = [tuple(line.split(": ", 1)) for line in block.decode().splitlines()]
    body = msgspec.json.encode({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"})
    response = await transport.request(
        Request(
            method="POST",
            path="/apis/authentication.k8s.io/v1/selfsubjectreviews",
            headers=[*headers, ("Content-Type", "application/json")],  # type: ignore[list-item]
            body=body,
        ),
        timeout=5,
    )
    answer: dict[str, Any] = msgspec.json.decode(response.body)
    return answer["status"]["userInfo"] if response.status == 201 else answer


async def eventually_doubted(source: ImpersonationAccounts, blob: bytes) -> None:
    async with asyncio.timeout(5):
        while source.header_block(blob) is not None:
            await asyncio.sleep(0.01)


async def test_a_request_with_the_credential_is_the_user(
    served: ImpersonationAccounts, anonymous: HttpTransport, user: str
) -> None:
    blob = claim(user, "okta_group://Ops, Europe", "système", principalid="local://" + user, username="ada")

    assert served.header_block(blob) is None
    block = await served.prepare(blob)
    assert served.header_block(blob) == block

    info = await who_am_i(anonymous, block)
    assert info["username"] == user
    assert set(info["groups"]) == {"okta_group://Ops, Europe", "système", "system:authenticated"}
    assert info["extra"] == {"principalid": ["local://" + user], "username": ["ada"]}


async def test_the_five_objects_are_as_the_contract_says(
    served: ImpersonationAccounts, admin: Client, user: str
) -> None:
    await served.prepare(claim(user, "dev", principalid="local://x", username="ada", requesttokenid="t-1"))

    name = f"cattle-impersonation-{user}"
    role = await admin.get(CLUSTERROLES, name)
    binding = await admin.get(CLUSTERROLEBINDINGS, name)
    account = await admin.get(SERVICEACCOUNTS, name, "cattle-impersonation-system")
    secret = await admin.get(SECRETS, accounts.secret_name(user), "cattle-impersonation-system")
    for obj in (role, binding, account, secret):
        assert obj["metadata"]["labels"]["authz.cluster.cattle.io/impersonator"] == "true"
    named = {r["resources"][0]: r.get("resourceNames") for r in role["rules"]}
    assert named == {
        "users": [user],
        "groups": ["dev", "system:authenticated", "system:cattle:authenticated"],
        "userextras/principalid": ["local://x"],
        "userextras/username": ["ada"],
        "userextras/requesttokenid": None,
    }
    assert all(rule["verbs"] == ["impersonate"] for rule in role["rules"])
    assert account["metadata"]["ownerReferences"][0]["uid"] == role["metadata"]["uid"]
    assert secret["type"] == "kubernetes.io/service-account-token"


async def test_the_account_may_impersonate_nobody_else(
    served: ImpersonationAccounts, anonymous: HttpTransport, user: str
) -> None:
    block = await served.prepare(claim(user, "dev"))
    token = block.split(b"\r\n", 1)[0] + b"\r\n"

    for forged in (
        b"Impersonate-User: admin\r\n",
        b"Impersonate-User: " + user.encode() + b"\r\nImpersonate-Group: system:masters\r\n",
        b"Impersonate-User: " + user.encode() + b"\r\nImpersonate-Group: other\r\n",
        b"Impersonate-User: " + user.encode() + b"\r\nImpersonate-Extra-username: root\r\n",
    ):
        assert (await who_am_i(anonymous, token + forged))["code"] == 403


async def test_another_token_of_the_same_user_costs_no_request(
    served: ImpersonationAccounts, user: str, admin: Client
) -> None:
    await served.prepare(claim(user, "dev", requesttokenid="t-1"))
    before = (await admin.get(CLUSTERROLES, accounts.account_name(user)))["metadata"]["resourceVersion"]
    await served.prepare(claim(user, "dev", requesttokenid="t-2"))
    after = (await admin.get(CLUSTERROLES, accounts.account_name(user)))["metadata"]["resourceVersion"]
    assert before == after


async def test_concurrent_first_requests_share_one_account(
    served: ImpersonationAccounts, user: str, admin: Client
) -> None:
    blobs = [claim(user, "dev", requesttokenid=f"t-{n % 5}") for n in range(50)]
    blocks = await asyncio.gather(*(served.prepare(blob) for blob in blobs))
    assert len({block.split(b"\r\n", 1)[0] for block in blocks}) == 1
    secrets = await admin.list(SECRETS, accounts.NAMESPACE, labels=accounts.SELECTOR)
    assert [user in s["metadata"]["name"] for s in secrets.items].count(True) == 1


async def test_a_change_of_groups_changes_the_role_and_narrows_it_later(
    served: ImpersonationAccounts, anonymous: HttpTransport, admin: Client, user: str
) -> None:
    old, new = claim(user, "dev"), claim(user, "ops")
    first = await served.prepare(old)
    second = await served.prepare(new)
    assert (await who_am_i(anonymous, second))["groups"] == ["ops", "system:authenticated"]
    # a request under way with the claim from before is not refused
    assert (await who_am_i(anonymous, first))["username"] == user

    async with asyncio.timeout(5):
        while (await admin.get(CLUSTERROLES, accounts.account_name(user)))["rules"][1]["resourceNames"] != [
            "ops",
            "system:authenticated",
            "system:cattle:authenticated",
        ]:
            await asyncio.sleep(0.1)
            served.header_block(new)
    assert served.header_block(old) is None


async def test_a_widened_role_is_repaired_before_its_next_use(
    served: ImpersonationAccounts, admin: Client, user: str
) -> None:
    blob = claim(user, "dev")
    await served.prepare(blob)
    name = accounts.account_name(user)
    wide = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    await admin.patch(CLUSTERROLES, name, {"rules": wide})
    await eventually_doubted(served, blob)

    await served.prepare(blob)
    assert (await admin.get(CLUSTERROLES, name))["rules"] == accounts.rules(
        user, accounts.grant_for([Identity(user=user, groups=("dev",))])
    )


async def test_an_aggregated_role_is_replaced(
    served: ImpersonationAccounts, admin: Client, user: str
) -> None:
    blob = claim(user, "dev")
    await served.prepare(blob)
    name = accounts.account_name(user)
    rule = {"clusterRoleSelectors": [{"matchLabels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}]}
    await admin.patch(CLUSTERROLES, name, {"aggregationRule": rule})
    await eventually_doubted(served, blob)

    await served.prepare(blob)
    role = await admin.get(CLUSTERROLES, name)
    assert "aggregationRule" not in role
    assert role["rules"][0]["resources"] == ["users"]


async def test_a_binding_to_another_role_is_replaced(
    served: ImpersonationAccounts, admin: Client, user: str
) -> None:
    blob = claim(user, "dev")
    await served.prepare(blob)
    name = accounts.account_name(user)
    await admin.delete(CLUSTERROLEBINDINGS, name)
    foreign = accounts.cluster_role_binding(user, "x")
    foreign["metadata"]["ownerReferences"] = []
    foreign["roleRef"]["name"] = "cluster-admin"
    await admin.apply(CLUSTERROLEBINDINGS, foreign)
    await eventually_doubted(served, blob)

    await served.prepare(blob)
    assert (await admin.get(CLUSTERROLEBINDINGS, name))["roleRef"]["name"] == name


@pytest.mark.parametrize("victim", ["role", "binding", "account", "secret"])
async def test_what_was_deleted_comes_back(
    served: ImpersonationAccounts, admin: Client, anonymous: HttpTransport, user: str, victim: str
) -> None:
    blob = claim(user, "dev")
    await served.prepare(blob)
    name, inside = accounts.account_name(user), accounts.NAMESPACE
    match victim:
        case "role":
            await admin.delete(CLUSTERROLES, name)
        case "binding":
            await admin.delete(CLUSTERROLEBINDINGS, name)
        case "account":
            await admin.delete(SERVICEACCOUNTS, name, inside)
        case _:
            await admin.delete(SECRETS, accounts.secret_name(user), inside)

    # Nobody asks for the account meanwhile: it is repaired all the same.
    async with asyncio.timeout(10):
        while True:
            await asyncio.sleep(0.3)
            block = served.header_block(blob)
            if block and (await who_am_i(anonymous, block)).get("username") == user:
                break


async def test_a_refused_token_is_replaced(admin: Client, anonymous: HttpTransport, user: str) -> None:
    source = ImpersonationAccounts(
        AccountKeeper(admin), anonymous, now=asyncio.get_running_loop().time, timing=FAST
    )
    blob = claim(user, "dev")
    await source.prepare(blob)
    # Somebody puts another token into the Secret, as a restore from a backup of another cluster does.
    stale = base64.b64encode(b"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl").decode()
    name = accounts.secret_name(user)
    await admin.patch(SECRETS, name, {"data": {"token": stale}}, accounts.NAMESPACE)
    assert source.rejected(blob)
    assert source.header_block(blob) is None

    block = await source.prepare(blob)
    assert (await who_am_i(anonymous, block))["username"] == user


async def test_a_secret_of_another_type_is_replaced(
    served: ImpersonationAccounts, admin: Client, anonymous: HttpTransport, user: str
) -> None:
    await served.prepare(claim("u-first"))
    squatter = {
        "metadata": {"name": accounts.secret_name(user), "namespace": accounts.NAMESPACE},
        "type": "Opaque",
        "data": {"token": base64.b64encode(b"x" * 40).decode()},
    }
    await admin.create(SECRETS, squatter)
    block = await served.prepare(claim(user, "dev"))
    assert (await who_am_i(anonymous, block))["username"] == user


async def test_removing_an_account_removes_every_object(
    served: ImpersonationAccounts, admin: Client, user: str
) -> None:
    blob = claim(user, "dev")
    await served.prepare(blob)
    await served.remove(user)
    assert served.header_block(blob) is None
    await asyncio.sleep(0.5)
    for kind, name, inside in (
        (CLUSTERROLES, accounts.account_name(user), ""),
        (CLUSTERROLEBINDINGS, accounts.account_name(user), ""),
        (SERVICEACCOUNTS, accounts.account_name(user), accounts.NAMESPACE),
        (SECRETS, accounts.secret_name(user), accounts.NAMESPACE),
    ):
        with pytest.raises(NotFound):
            await admin.get(kind, name, inside)


async def test_hundreds_of_groups_all_travel(
    served: ImpersonationAccounts, anonymous: HttpTransport, user: str
) -> None:
    groups = [f"ldap://cn=team-{n},ou=groups,dc=example,dc=org" for n in range(600)]
    block = await served.prepare(claim(user, *groups))
    assert set((await who_am_i(anonymous, block))["groups"]) == {*groups, "system:authenticated"}


async def test_a_foreign_group_is_never_granted(served: ImpersonationAccounts, user: str) -> None:
    with pytest.raises(CredentialError, match="system:masters"):
        await served.prepare(claim(user, "system:masters"))
