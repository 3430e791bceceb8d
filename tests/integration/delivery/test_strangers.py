"""What others do to delivered objects: what is ours comes back, what is theirs stays theirs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from outrider.delivery.hand import Hand
from outrider.delivery.index import Extra
from outrider.kube.builtin import CONFIGMAPS, NAMESPACES
from outrider.kube.client import Client
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.transport import HttpTransport
from tests.integration.delivery.conftest import Running, config, entry, until

Start = Callable[..., Running]
PROJECT = "field.cattle.io/projectId"


@pytest.fixture
async def stranger(api_server: EmbeddedCluster) -> AsyncIterator[Client]:
    """Somebody else who applies."""
    transport = HttpTransport(api_server.access)
    yield Client(transport, field_manager="stranger")
    await transport.close()


async def found(client: Client, name: str, namespace: str) -> dict[str, Any]:
    obj: dict[str, Any] | None = await client.get_or_none(CONFIGMAPS, name, namespace)
    return obj or {"data": {}, "metadata": {}}


async def test_a_field_that_another_took_comes_back_and_theirs_stays(
    start: Start, stranger: Client, namespace: str
) -> None:
    running = start()
    await running.apply(1, entry(config("a", namespace, ours="1", more="1")))
    await asyncio.sleep(0.5)  # the watch is up
    # The client forces its fields, as `kubectl apply --server-side --force-conflicts` does.
    await stranger.apply(CONFIGMAPS, config("a", namespace, ours="2", theirs="2"))

    async def healed() -> bool:
        return (await found(stranger, "a", namespace))["data"] == {"ours": "1", "more": "1", "theirs": "2"}

    await until(healed, 5)
    obj = await found(stranger, "a", namespace)
    owned = {
        one["manager"]: one["fieldsV1"].get("f:data", {}).keys() for one in obj["metadata"]["managedFields"]
    }
    assert owned["stranger"] == {"f:theirs"}
    # A field that we want no longer goes; theirs stays.
    report = await running.apply(2, entry(config("a", namespace, more="1")))
    assert report.failed == 0
    assert (await found(stranger, "a", namespace))["data"] == {"more": "1", "theirs": "2"}


async def test_a_value_that_both_want_is_not_fought_over(
    start: Start, stranger: Client, namespace: str
) -> None:
    running = start()
    await running.apply(1, entry(config("a", namespace, k="1")))
    await asyncio.sleep(0.3)
    await stranger.apply(CONFIGMAPS, config("a", namespace, k="1"))
    version = (await found(stranger, "a", namespace))["metadata"]["resourceVersion"]
    await asyncio.sleep(0.5)
    assert (await found(stranger, "a", namespace))["metadata"]["resourceVersion"] == version


async def test_a_late_write_of_an_applier_that_stood_still_is_taken_back(
    start: Start, downstream: Client, namespace: str
) -> None:
    """It has the same manager's name; what it wrote is told by the digest of the entry alone."""
    running = start()
    await running.apply(1, entry(config("a", namespace, k="1")))
    await running.apply(2, entry(config("a", namespace, k="2")), entry(config("b", namespace, k="2")))
    await asyncio.sleep(0.5)
    late = Hand(downstream)
    await late.apply(entry(config("a", namespace, k="1")))
    await late.remove(entry(config("b", namespace)).ref, Extra("v1", False))

    async def healed() -> bool:
        return [(await found(downstream, name, namespace))["data"] for name in "ab"] == [{"k": "2"}] * 2

    await until(healed, 5)


async def test_a_deletion_that_a_finalizer_holds_up(start: Start, admin: Client, namespace: str) -> None:
    running = start()
    await running.apply(1, entry(config("a", namespace, k="1")))
    uid = (await found(admin, "a", namespace))["metadata"]["uid"]
    hold = {"metadata": {"finalizers": ["example.org/hold"]}}
    await admin.patch(CONFIGMAPS, "a", hold, namespace)
    await admin.delete(CONFIGMAPS, "a", namespace)
    await asyncio.sleep(0.5)
    assert (await found(admin, "a", namespace))["metadata"]["deletionTimestamp"]
    await admin.patch(CONFIGMAPS, "a", {"metadata": {"finalizers": None}}, namespace)

    async def made_anew() -> bool:
        return (await found(admin, "a", namespace))["metadata"].get("uid", uid) != uid

    await until(made_anew, 5)


async def test_what_templates_made_comes_back(start: Start, admin: Client, namespace: str) -> None:
    project = f"c-test:{namespace}"
    await admin.patch(NAMESPACES, namespace, {"metadata": {"annotations": {PROJECT: project}}})
    running = start()
    limits = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "any", "labels": {"psa": "high"}, "annotations": {"ours": "1"}},
    }
    report = await running.apply(
        1,
        entry(config("quota", k="1"), project=project),
        entry(config("role", k="1"), project=project),
        entry(limits, project=project),
    )
    await until(lambda: running.reports[-1].applied == 3)
    await asyncio.sleep(0.5)  # the watches are up

    began = time.monotonic()
    await admin.delete(CONFIGMAPS, "quota", namespace)
    await admin.patch(CONFIGMAPS, "role", {"data": {"k": "edited", "theirs": "x"}}, namespace)
    theirs = {"labels": {"psa": "low", "team": "blue"}, "annotations": {"ours": None, "note": "theirs"}}
    await admin.patch(NAMESPACES, namespace, {"metadata": theirs})

    async def healed() -> bool:
        quota, role = [await found(admin, name, namespace) for name in ("quota", "role")]
        metadata = (await admin.get(NAMESPACES, namespace))["metadata"]
        labels, annotations = metadata["labels"], metadata["annotations"]
        return (
            quota["data"] == {"k": "1"}
            and role["data"] == {"k": "1", "theirs": "x"}
            and (labels["psa"], labels["team"]) == ("high", "blue")
            and (annotations.get("ours"), annotations["note"]) == ("1", "theirs")
        )

    await until(healed, 5)
    assert time.monotonic() - began < 3
    # Without the templates, what they brought goes; the namespace and what is others' in it stay.
    report = await running.apply(2)
    assert report.failed == 0

    async def gone() -> bool:
        metadata = (await admin.get(NAMESPACES, namespace))["metadata"]
        left = [await found(admin, name, namespace) for name in ("quota", "role")]
        return "psa" not in metadata["labels"] and not any(one["metadata"] for one in left)

    await until(gone, 5)
    metadata = (await admin.get(NAMESPACES, namespace))["metadata"]
    assert metadata["labels"]["team"] == "blue"
    assert metadata["annotations"]["note"] == "theirs"
    assert "deletionTimestamp" not in metadata


async def test_a_namespace_of_a_project_that_is_deleted_and_made_again(
    start: Start, admin: Client, namespace: str
) -> None:
    """An object of a namespace that is on its way out cannot be made: no harm, and the next one has it."""
    project, place = f"c-test:{namespace}", f"{namespace}-again"
    draft = {"metadata": {"name": place, "annotations": {PROJECT: project}}}
    await admin.create(NAMESPACES, draft)
    running = start()
    await running.apply(
        1, entry(config("quota", k="1"), project=project), entry(config("a", namespace, k="1"))
    )
    await until(lambda: running.reports[-1].applied == 2)
    await admin.delete(NAMESPACES, place)

    async def gone() -> bool:
        return await admin.get_or_none(NAMESPACES, place) is None

    await until(gone, 20)
    await until(lambda: (running.reports[-1].applied, running.reports[-1].failed) == (1, 0))
    await admin.create(NAMESPACES, draft)

    async def there() -> bool:
        return (await found(admin, "quota", place))["data"] == {"k": "1"}

    await until(there, 5)
