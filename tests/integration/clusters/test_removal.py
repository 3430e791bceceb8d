"""Deleting a cluster, against a real API server: with its agent, without it, and by force."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from outrider.apis.management.cluster import CLUSTERS, Cluster
from outrider.apis.management.group import LOCAL_CLUSTER
from outrider.apis.management.registration_token import REGISTRATION_TOKENS
from outrider.apis.management.token import TOKENS
from outrider.features.clusters.lifecycle import UID_ANNOTATION
from outrider.features.clusters.tombstones import NAMESPACE, SELECTOR
from outrider.kube.builtin import CONFIGMAPS, EVENTS, NAMESPACES, SECRETS
from outrider.kube.client import Client
from outrider.kube.errors import Forbidden
from outrider.link.messages import CloseSessions
from outrider.tunnel import farewell
from outrider.tunnel.reports import Removal, StateGone
from tests.integration.clusters.conftest import Plane, eventually, running

UNKNOWN = "bcdfghjklmnpqrstvwxz2456789bcdfghjklmnpqrstvwxz2456789"


@pytest.fixture
async def plane(admin: Client, crds: None) -> AsyncIterator[Plane]:
    """One that waits for agents no longer than a test should."""
    async with running(admin, removal_patience=2.0, collect_interval=0.3) as started:
        yield started


@pytest.fixture
async def patient(admin: Client, crds: None) -> AsyncIterator[Plane]:
    """One that gives no agent up within a test."""
    async with running(admin, removal_patience=120.0, collect_interval=0.3) as started:
        yield started


async def imported(plane: Plane, name: str) -> tuple[str, str, str]:
    """A cluster whose agent has registered: its id, a token of it, the uid of kube-system."""
    identifier, uid = await plane.create(name), uuid4().hex
    token = await plane.token(identifier)
    assert (await plane.admit(token, uid=uid)).status == 200
    return identifier, token, uid


async def gone(plane: Plane, name: str, within: float = 45.0) -> float:
    """Waits until record and namespace are gone; returns the seconds that it took."""
    began = time.monotonic()

    async def look() -> bool:
        record = await plane.client.get_or_none(CLUSTERS, name)
        return record is None and await plane.client.get_or_none(NAMESPACES, name) is None

    await eventually(look, within=within)
    return time.monotonic() - began


def removed(cluster: Cluster) -> tuple[str, str]:
    found = [one for one in cluster.status.conditions if one.type == "Removed"]
    return (found[0].reason, found[0].message) if found else ("", "")


async def events(plane: Plane, name: str) -> list[dict[str, Any]]:
    listed = await plane.client.list(EVENTS, "default", fields=f"involvedObject.name={name}")
    return listed.items


async def tombstone(plane: Plane, name: str) -> dict[str, Any] | None:
    listed = await plane.client.list(CONFIGMAPS, NAMESPACE, labels=SELECTOR)
    return next((one for one in listed.items if one["data"]["cluster"] == name), None)


async def test_the_agent_cleans_up_and_the_record_goes(patient: Plane, unique: str) -> None:
    name, token, uid = await imported(patient, unique)
    session = await patient.connect(name)
    await patient.until(name, lambda cluster: cluster.status.connected)
    await patient.client.delete(CLUSTERS, name)
    await patient.until(name, lambda cluster: removed(cluster)[0] == "CleaningUp")
    assert removed(await patient.cluster(name))[1].startswith("waiting for the agent to remove")
    assert any(isinstance(one, StateGone) for one in patient.told(name))
    assert not any(isinstance(one, CloseSessions) and one.cluster == name for one in patient.sent)

    # it is killed, comes back and is let in; no other cluster's agent is, and no manifest is given away
    assert (await patient.admit(token, uid=uid)).status == 200
    assert (await patient.admit(token, uid=uuid4().hex)).status == 400
    assert (await patient.call("GET", f"/v3/import/{token}_{name}.yaml", who=None)).status != 200

    await patient.report(name, session, Removal(remaining=7, left=["ConfigMap a/b: denied"]))
    cluster = await patient.until(name, lambda cluster: "7 objects" in removed(cluster)[1])
    assert "ConfigMap a/b: denied" in removed(cluster)[1]
    assert cluster.status.state == "removing"
    await patient.report(name, session, Removal(done=True))
    await gone(patient, name)
    assert any(isinstance(one, CloseSessions) and one.cluster == name for one in patient.sent)
    assert await events(patient, name) == []


async def test_a_deleted_clusters_agent_is_told_to_clean_up_and_no_other(plane: Plane, unique: str) -> None:
    name, token, uid = await imported(plane, unique)
    await plane.client.delete(CLUSTERS, name)
    await gone(plane, name)

    answer = await plane.admit(token, uid=uid)
    assert (answer.status, answer.cluster) == (410, "")
    assert farewell.is_order(answer.status, answer.message.encode(), token)
    assert token not in answer.message
    stone = await tombstone(plane, name)
    assert stone is not None
    assert token not in str(stone)
    for strange in (
        await plane.admit(UNKNOWN, uid=uid),
        await plane.admit(token, uid=uuid4().hex),
        await plane.admit(token),
    ):
        assert (strange.status, strange.message) == (400, "cluster not found")

    # the same cluster, imported once more: its old agents are not sent to take it apart
    again, _, _ = await imported(plane, f"{unique} again")
    await plane.client.patch(CLUSTERS, again, {"metadata": {"annotations": {UID_ANNOTATION: uid}}})

    async def refused() -> bool:
        return (await plane.admit(token, uid=uid)).status == 400

    await eventually(refused)


async def test_an_unreachable_cluster_holds_nobody_up(
    plane: Plane, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    name, _, _ = await imported(plane, unique)
    await plane.client.delete(CLUSTERS, name)
    seconds = await gone(plane, name)
    assert 1.5 < seconds < 40
    (event,) = await events(plane, name)
    assert (event["type"], event["reason"]) == ("Warning", "LeftBehind")
    for words in (unique, "not connected", "cattle-system", "cattle-impersonation-system"):
        assert words in event["message"]
    assert any(f"cluster {name} ({unique}) is removed" in one.getMessage() for one in caplog.records)


async def test_what_the_agent_had_to_leave_is_told(patient: Plane, unique: str) -> None:
    name, _, _ = await imported(patient, unique)
    session = await patient.connect(name)
    await patient.client.delete(CLUSTERS, name)
    await patient.until(name, lambda cluster: removed(cluster)[0] == "CleaningUp")
    left = ["Namespace cattle-system: it holds ConfigMap theirs"]
    await patient.report(name, session, Removal(left=left, done=True))
    await gone(patient, name)
    (event,) = await events(patient, name)
    assert left[0] in event["message"]


async def test_a_cluster_that_nobody_ever_joined_goes_at_once(plane: Plane, unique: str) -> None:
    name = await plane.create(unique)
    token = await plane.token(name)
    await plane.client.delete(CLUSTERS, name)
    await gone(plane, name)
    assert await events(plane, name) == []
    assert await tombstone(plane, name) is None
    assert (await plane.admit(token, uid="x")).status == 400


async def test_finalizers_cleared_by_hand_leave_nothing(patient: Plane, unique: str) -> None:
    name, token, uid = await imported(patient, unique)
    session = await patient.connect(name)
    scoped = {
        "metadata": {"generateName": "kubeconfig-"},
        "userId": "user-x",
        "authProvider": "local",
        "clusterName": name,
    }
    key = (await patient.client.create(TOKENS, scoped)).metadata.name
    await patient.client.delete(CLUSTERS, name)
    await patient.until(name, lambda cluster: removed(cluster)[0] == "CleaningUp")
    await patient.client.patch(CLUSTERS, name, {"metadata": {"finalizers": []}})
    await gone(patient, name)

    async def collected() -> bool:
        return await patient.client.get_or_none(TOKENS, key) is None

    await eventually(collected)
    listed = await patient.client.list(SECRETS, labels="management.cattle.io/registration-token=true")
    assert all(secret["metadata"]["namespace"] != name for secret in listed.items)
    assert any(isinstance(one, CloseSessions) and one.cluster == name for one in patient.sent)
    assert session
    # and its agent, which was never reached, is told when it comes back
    assert (await patient.admit(token, uid=uid)).status == 410


async def test_what_belongs_to_no_cluster_is_collected(plane: Plane, unique: str, namespace: str) -> None:
    """Without Kubernetes' own garbage collector, which knows nothing of these."""
    name = await plane.create(unique)
    stray = {"metadata": {"generateName": "crt-", "namespace": namespace}, "spec": {"clusterName": namespace}}
    strayed = (await plane.client.create(REGISTRATION_TOKENS, stray)).metadata.name

    async def collected() -> bool:
        return await plane.client.get_or_none(REGISTRATION_TOKENS, strayed, namespace) is None

    await eventually(collected)
    assert (await plane.registration(name)).metadata.deletion_timestamp is None
    assert await plane.client.get_or_none(NAMESPACES, name) is not None
    assert await plane.client.get_or_none(NAMESPACES, namespace) is not None


async def test_tombstones_are_forgotten(plane: Plane, unique: str) -> None:
    name, token, uid = await imported(plane, unique)
    await plane.client.delete(CLUSTERS, name)
    await gone(plane, name)
    assert (await plane.admit(token, uid=uid)).status == 410
    stone = await tombstone(plane, name)
    assert stone is not None
    long_ago = {"data": {"removedAt": "2026-01-01T00:00:00Z"}}
    await plane.client.patch(CONFIGMAPS, stone["metadata"]["name"], long_ago, NAMESPACE)

    async def forgotten() -> bool:
        return (await plane.admit(token, uid=uid)).status == 400

    await eventually(forgotten)
    assert await tombstone(plane, name) is None


async def test_the_local_cluster_cannot_be_deleted(plane: Plane) -> None:
    await plane.until(LOCAL_CLUSTER, lambda cluster: cluster.metadata.finalizers)
    with pytest.raises(Forbidden, match="this server's own and cannot be removed"):
        await plane.client.delete(CLUSTERS, LOCAL_CLUSTER)
    assert not (await plane.cluster(LOCAL_CLUSTER)).is_deleting
