"""Registration tokens on a real API server: made, shown, rotated, revoked, deleted, migrated."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from outrider.apis.management.cluster import CLUSTERS
from outrider.apis.management.registration_token import REGISTRATION_TOKENS
from outrider.features.clusters.view import readable_token, readable_tokens
from outrider.kube.builtin import NAMESPACES, ROLES, SECRETS
from outrider.kube.client import Client
from outrider.kube.errors import NotFound
from outrider.link.messages import Admit, CloseSessions
from tests.integration.clusters.conftest import ADMIN, CA, NOBODY, Plane, eventually, running


async def make(plane: Plane, cluster: str, name: str, **spec: Any) -> str:
    """A registration; returns its token."""
    body = {"metadata": {"name": name, "namespace": cluster}, "spec": {"clusterName": cluster, **spec}}
    await plane.client.create(REGISTRATION_TOKENS, body)
    return await plane.token(cluster, name)


async def refused(plane: Plane, token: str) -> bool:
    answer = await plane.admit(token)
    return answer.status == 400 and answer.message == "cluster not found"


async def test_what_is_stored_holds_no_token(plane: Plane, unique: str) -> None:
    cluster = await plane.create(unique)
    token = await plane.token(cluster)
    assert re.fullmatch("[bcdfghjklmnpqrstvwxz2456789]{54}", token)
    stored = await plane.client.get(REGISTRATION_TOKENS, "default-token", cluster)
    assert stored.status.token == ""
    assert stored.status.token_secret_name == "crt-token-default-token"
    assert (
        stored.status.command == f"kubectl apply -f https://outrider.test/v3/import/{{token}}_{cluster}.yaml"
    )
    assert stored.status.expires_at
    secret = await plane.client.get(SECRETS, "crt-token-default-token", cluster)
    assert secret["metadata"]["ownerReferences"][0]["uid"] == stored.metadata.uid
    role = await plane.client.get(ROLES, "crt-token-reader", cluster)
    assert "crt-token-default-token" in role["rules"][0]["resourceNames"]
    assert role["rules"][0]["verbs"] == ["get"]
    marked = await plane.until(
        cluster, lambda c: "io.cattle.agent.registration-token-hash" in c.metadata.annotations
    )
    assert token[:10] not in str(marked.metadata.annotations)


async def test_the_api_shows_the_token_to_whoever_may_read_it(plane: Plane, unique: str) -> None:
    cluster = await plane.create(unique)
    token = await plane.token(cluster)
    shown = (await plane.call("GET", f"/v3/clusterregistrationtokens/{cluster}:default-token")).json()
    assert shown["token"] == token
    assert shown["command"] == f"kubectl apply -f https://outrider.test/v3/import/{token}_{cluster}.yaml"
    assert shown["nodeCommand"].count(token) == 1
    assert (shown["id"], shown["clusterId"]) == (f"{cluster}:default-token", cluster)
    assert shown["state"] == "active"

    listed = (await plane.call("GET", f"/v3/clusterRegistrationTokens?clusterId={cluster}")).json()
    assert sorted(one["name"] for one in listed["data"]) == ["default-token", "system"]
    assert next(one["token"] for one in listed["data"] if one["name"] == "default-token") == token
    everywhere = (await plane.call("GET", "/v3/clusterregistrationtokens")).json()["data"]
    assert token in {one["token"] for one in everywhere}
    assert (await plane.call("GET", f"/v3/clusterregistrationtokens/{cluster}:no-such")).status == 404
    assert (await plane.call("GET", "/v3/clusterregistrationtokens/..:x")).status == 404

    # Somebody who may read registrations but no Secrets sees neither token nor commands
    stored = await plane.client.get(REGISTRATION_TOKENS, "default-token", cluster)
    assert await readable_token(plane.client.as_user(NOBODY), stored) == ""
    assert await readable_token(plane.client.as_user(ADMIN), stored) == token
    assert await readable_tokens(plane.client.as_user(NOBODY), [stored], cluster) == [""]
    path = f"/v3/clusterregistrationtokens/{cluster}:default-token"
    assert (await plane.call("GET", path, who=NOBODY)).status == 403
    assert (await plane.call("GET", path, who=None)).status == 401


async def test_without_a_url_of_its_own_the_server_shows_the_clients(
    admin: Client, crds: None, unique: str
) -> None:
    async with running(admin, environ={"CATTLE_SERVER_URL": ""}) as plane:
        cluster = await plane.create(unique)
        token = await plane.token(cluster)
        assert (await plane.registration(cluster)).status.command == ""
        shown = (await plane.call("GET", f"/v3/clusterregistrationtokens/{cluster}:default-token")).json()
        assert shown["command"] == f"kubectl apply -f https://outrider.test/v3/import/{token}_{cluster}.yaml"
        manifest = (await plane.call("GET", f"/v3/import/{token}.yaml", who=None)).text
        assert 'value: "https://outrider.test"' in manifest


async def test_a_registration_is_created_with_its_commands(plane: Plane, unique: str) -> None:
    cluster = await plane.create(unique)
    body = {"type": "clusterRegistrationToken", "clusterId": cluster, "ttl": 3600}
    answer = await plane.call("POST", "/v3/clusterregistrationtokens", body=body)
    made = answer.json()
    assert answer.status == 201
    assert re.fullmatch(r"crt-[a-z0-9]{5}", made["name"])
    assert made["token"]
    assert made["token"] in made["command"]
    assert made["expiresAt"]
    assert (await plane.call("POST", "/v3/clusterregistrationtokens", body={})).status == 422
    missing = await plane.call("POST", "/v3/clusterregistrationtokens", body={"clusterId": "c-nope"})
    assert missing.status == 404


async def test_ttl_is_read_in_seconds_and_a_revoked_token_has_no_successor(plane: Plane, unique: str) -> None:
    cluster = await plane.create(unique)
    token = await make(plane, cluster, "token-limited", ttl=2)
    assert (await plane.admit(token)).status == 200

    async def expired() -> bool:
        return await refused(plane, token)

    await eventually(expired, within=5)
    secret = await plane.client.get(SECRETS, "crt-token-token-limited", cluster)
    await asyncio.sleep(0.3)
    again = await plane.client.get(SECRETS, "crt-token-token-limited", cluster)
    assert again["data"] == secret["data"]


async def test_rotation_hands_over_with_grace(plane: Plane, unique: str) -> None:
    cluster = await plane.create(unique)
    old = await make(plane, cluster, "rotated", ttl=3600)
    marked = {"metadata": {"annotations": {"crt.cattle.io/on-expiry": "rotate"}}}
    await plane.client.patch(REGISTRATION_TOKENS, "rotated", marked, cluster)
    # A token that was issued an hour ago
    past = {"metadata": {"annotations": {"crt.cattle.io/issued-at": "2020-01-01T00:00:00Z"}}, "data": None}
    secret = await plane.client.get(SECRETS, "crt-token-rotated", cluster)
    past["data"] = {**secret["data"], "expiresAt": "MjAyMC0wMS0wMVQwMTowMDowMFo="}
    await plane.client.patch(SECRETS, "crt-token-rotated", past, cluster)

    async def rotated() -> str | None:
        new = await plane.token(cluster, "rotated")
        return new if new != old else None

    new = await eventually(rotated)
    assert (await plane.admit(new)).status == 200
    assert (await plane.admit(old)).status == 200, "the old one is good within the grace"

    async def published() -> str:
        return (await plane.registration(cluster, "rotated")).status.grace_period_expires_at

    await eventually(published)
    stored = await plane.client.get(SECRETS, "crt-token-rotated", cluster)
    assert stored["metadata"]["annotations"]["outrider.io/former-credentials"].startswith(
        "cattle-credentials-"
    )
    ended = {"data": {"gracePeriodExpiresAt": "MjAyMC0wMS0wMVQwMTowMDowMFo="}}
    await plane.client.patch(SECRETS, "crt-token-rotated", ended, cluster)

    async def over() -> bool:
        return await refused(plane, old)

    await eventually(over)
    assert (await plane.admit(new)).status == 200


async def test_a_deleted_registration_admits_nobody_at_once(plane: Plane, unique: str) -> None:
    cluster = await plane.create(unique)
    token = await make(plane, cluster, "extra")
    assert (await plane.admit(token)).status == 200
    await plane.client.delete(REGISTRATION_TOKENS, "extra", cluster)
    assert await refused(plane, token), "no waiting for any informer"


def closed(plane: Plane, cluster: str) -> list[str]:
    return [m.registration for m in plane.sent if isinstance(m, CloseSessions) and m.cluster == cluster]


async def test_deleting_the_last_good_registration_closes_its_sessions(plane: Plane, unique: str) -> None:
    cluster = await plane.create(unique)
    await make(plane, cluster, "extra")
    await plane.connect(cluster, "extra")
    await plane.client.delete(REGISTRATION_TOKENS, "extra", cluster)
    await asyncio.sleep(0.3)
    assert closed(plane, cluster) == [], "another valid token of the cluster exists"

    await make(plane, cluster, "another")
    await plane.connect(cluster, "another")
    for name in ("default-token", "system"):
        await plane.client.patch(
            REGISTRATION_TOKENS,
            name,
            {"metadata": {"annotations": {"crt.cattle.io/on-expiry": "revoke"}}, "spec": {"ttl": 1}},
            cluster,
        )

    async def both_expired() -> bool:
        both = [await plane.registration(cluster, name) for name in ("default-token", "system")]
        return not any(plane.feature.registry.usable(one) for one in both)

    await eventually(both_expired)
    await plane.client.delete(REGISTRATION_TOKENS, "another", cluster)

    async def told() -> bool:
        return closed(plane, cluster).count("another") == 1

    await eventually(told)


async def test_default_registrations_come_back_with_new_tokens(plane: Plane, unique: str) -> None:
    cluster = await plane.create(unique)
    old = await plane.token(cluster)
    await plane.client.delete(REGISTRATION_TOKENS, "default-token", cluster)

    async def renewed() -> str | None:
        try:
            new = await plane.token(cluster)
        except NotFound:
            return None
        return new if new != old else None

    new = await eventually(renewed)
    assert (await plane.admit(new)).status == 200
    assert await refused(plane, old)


async def test_a_token_of_an_older_server_is_migrated(admin: Client, crds: None, unique: str) -> None:
    name, token = "from-backup", "g7xk2mq9plwc8th4vn5bzjdf6"
    made = await admin.create(CLUSTERS, {"metadata": {"generateName": "c-"}, "spec": {"displayName": unique}})
    cluster = made.metadata.name
    marked = {"management.cattle.io/system-namespace": "true"}
    await admin.create(NAMESPACES, {"metadata": {"name": cluster, "annotations": marked}})
    body = {"metadata": {"name": name, "namespace": cluster}, "spec": {"clusterName": cluster}}
    await admin.create(REGISTRATION_TOKENS, body)
    legacy = {"status": {"token": token, "command": f"kubectl apply -f https://old/{token}_{cluster}.yaml"}}
    await admin.patch(REGISTRATION_TOKENS, name, legacy, cluster, subresource="status")
    async with running(admin) as plane:
        assert await plane.token(cluster, name) == token
        stored = await plane.client.get(REGISTRATION_TOKENS, name, cluster)
        assert stored.status.token == ""
        assert "{token}" in stored.status.command
        assert (await plane.admit(token)).status == 200


async def test_a_deleted_token_secret_is_made_anew(plane: Plane, unique: str) -> None:
    cluster = await plane.create(unique)
    old = await plane.token(cluster)
    await plane.client.delete(SECRETS, "crt-token-default-token", cluster)

    async def renewed() -> bool:
        try:
            return (await plane.client.get(SECRETS, "crt-token-default-token", cluster)) is not None
        except NotFound:
            return False

    await eventually(renewed)
    new = await plane.token(cluster)
    assert new != old
    assert await refused(plane, old)


async def test_an_agent_of_another_cluster_cannot_take_a_connected_ones_place(
    plane: Plane, unique: str
) -> None:
    cluster = await plane.create(unique)
    token = await plane.token(cluster)
    assert (await plane.admit(token, uid="uid-a")).status == 200
    session = await plane.connect(cluster)
    await plane.until(cluster, lambda c: c.status.connected)
    answer = await plane.admit(token, uid="uid-b", address="10.9.9.9:443")
    assert answer.status == 400
    assert "another cluster" in answer.message
    assert (await plane.cluster(cluster)).status.api_endpoint == "https://10.43.0.1:443"
    assert (await plane.admit(token, uid="uid-a")).status == 200
    assert session


async def test_a_service_account_token_is_never_stored(plane: Plane, unique: str) -> None:
    cluster = await plane.create(unique)
    secret = "downstream-service-account-jwt"
    params = {"cluster": {"address": "10.43.0.1:443", "caCert": CA, "token": secret}}
    request = Admit(id=1, token=await plane.token(cluster), params=params)
    assert (await plane.feature.service.admit(request)).status == 200
    everything = [await plane.client.list(SECRETS), await plane.client.list(CLUSTERS)]
    assert secret not in str(everything)
