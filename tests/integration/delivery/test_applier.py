"""The applier against a real API server, without a tunnel."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from outrider.delivery.entries import EXISTING, LABEL, UNCLAIMED
from outrider.delivery.ledger import HEAD, NAMESPACE
from outrider.delivery.ledger import LABEL as KEPT
from outrider.kube.builtin import CLUSTERROLEBINDINGS, CONFIGMAPS, CRDS, NAMESPACES, SECRETS
from outrider.kube.client import Client
from tests.integration.delivery.conftest import Running, config, entry, until

Start = Callable[..., Running]


async def value(client: Client, name: str, namespace: str) -> str | None:
    found = await client.get_or_none(CONFIGMAPS, name, namespace)
    return found["data"].get("k", "") if found else None


async def test_applies_changes_and_prunes(start: Start, admin: Client, namespace: str) -> None:
    running = start()
    a, b, c = (entry(config(name, namespace, k="1")) for name in "abc")
    report = await running.apply(1, a, b, c)
    assert (report.applied, report.failed, report.failures) == (3, 0, [])
    assert [(one.name, one.applied) for one in report.owners] == [("tests", 3)]
    report = await running.apply(2, entry(config("a", namespace, k="2")), b)
    await until(lambda: running.reports[-1].pruned == 1)
    assert [await value(admin, name, namespace) for name in "abc"] == ["2", "1", None]
    found = await admin.get(CONFIGMAPS, "a", namespace)
    assert found["metadata"]["labels"] == {LABEL: "true"}


async def test_heals_at_once(start: Start, admin: Client, namespace: str) -> None:
    running = start()
    await running.apply(1, *(entry(config(name, namespace, k="1")) for name in "abc"))
    await asyncio.sleep(0.5)  # the watch is up

    begun = time.monotonic()
    await admin.patch(CONFIGMAPS, "a", {"data": {"k": "edited", "theirs": "x"}}, namespace)
    await admin.delete(CONFIGMAPS, "b", namespace)
    await admin.patch(CONFIGMAPS, "c", {"metadata": {"labels": {LABEL: None}}}, namespace)

    async def healed() -> bool:
        label = (await admin.get(CONFIGMAPS, "c", namespace))["metadata"].get("labels")
        return [await value(admin, name, namespace) for name in "abc"] == ["1"] * 3 and bool(label)

    await until(healed)
    assert time.monotonic() - begun < 2
    # what is not ours stays
    assert (await admin.get(CONFIGMAPS, "a", namespace))["data"]["theirs"] == "x"


async def test_unchanged_means_no_writes(start: Start, admin: Client, namespace: str) -> None:
    objects = [entry(config(f"o{n}", namespace, k="1")) for n in range(20)]
    running = start()
    await running.apply(1, *objects)

    async def versions() -> dict[str, str]:
        found = [*(await admin.list(CONFIGMAPS, namespace)).items]
        found += (await admin.list(SECRETS, NAMESPACE, labels=f"{KEPT}=true")).items
        return {one["metadata"]["name"]: one["metadata"]["resourceVersion"] for one in found}

    before = await versions()
    count = len(running.reports)
    running.offer(1, *objects)
    # foreign changes beside our fields are no drift
    await admin.patch(CONFIGMAPS, "o0", {"data": {"theirs": "x"}}, namespace)
    before["o0"] = (await admin.get(CONFIGMAPS, "o0", namespace))["metadata"]["resourceVersion"]
    await asyncio.sleep(0.5)
    assert await versions() == before
    assert len(running.reports) == count
    # a restart applies all of it, and writes none of it
    await running.stop()
    again = start()
    await until(lambda: again.reports and not again.reports[-1].pending)
    assert await versions() == before


async def test_namespaces_and_definitions_come_first(start: Start, admin: Client, namespace: str) -> None:
    made, group = f"{namespace}-made", f"{namespace}.example.org"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"things.{group}"},
        "spec": {
            "group": group,
            "scope": "Cluster",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }
    running = start()
    await running.apply(
        1,
        entry(config("x", made)),
        entry({"apiVersion": f"{group}/v1", "kind": "Thing", "metadata": {"name": "one"}}),
        entry({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": made}}),
        entry(definition),
    )
    await until(lambda: running.reports[-1].applied == 4, 20)
    assert running.reports[-1].failed == 0
    await running.apply(2)
    await until(lambda: running.reports[-1].pruned == 4, 20)

    async def gone() -> bool:
        return await admin.get_or_none(CRDS, f"things.{group}") is None

    await until(gone, 20)  # the API server first deletes a definition's objects


async def test_a_state_that_shrank_prunes_only_when_it_is_complete(
    start: Start, admin: Client, namespace: str
) -> None:
    running = start()
    a, b, c = (entry(config(name, namespace, k="1")) for name in "abc")
    await running.apply(1, a, b, c)
    report = await running.apply(2, a, complete=False)
    assert "2 of 3" in report.failures[0].message
    # and not after a restart, or with another that is not complete, either
    await running.stop()
    running = start()
    await running.apply(3, a, complete=False)
    await asyncio.sleep(0.2)
    assert [await value(admin, name, namespace) for name in "abc"] == ["1"] * 3
    report = await running.apply(4, a)
    assert report.failures == []
    await until(lambda: running.reports[-1].pruned == 2)
    assert [await value(admin, name, namespace) for name in "abc"] == ["1", None, None]


async def test_older_and_contradicting_states_are_refused(
    start: Start, admin: Client, namespace: str
) -> None:
    running = start()
    await running.apply(5, entry(config("a", namespace, k="new")), epoch=2)
    for epoch, counter in ((1, 9), (2, 4), (2, 5)):
        running.offer(counter, entry(config("a", namespace, k="old")), epoch=epoch)
    await asyncio.sleep(0.3)
    assert await value(admin, "a", namespace) == "new"
    await running.stop()
    again = start()
    await until(lambda: again.applier.active)
    assert again.applier.kept.version == (2, 5)
    again.offer(9, entry(config("a", namespace, k="old")), epoch=1)
    await asyncio.sleep(0.3)
    assert await value(admin, "a", namespace) == "new"


async def test_templates_follow_the_namespaces_of_a_project(
    start: Start, admin: Client, namespace: str
) -> None:
    project = f"c-test:{namespace}"

    async def annotate(name: str, wanted: str | None) -> None:
        await admin.patch(
            NAMESPACES, name, {"metadata": {"annotations": {"field.cattle.io/projectId": wanted}}}
        )

    await annotate(namespace, project)
    running = start()
    template = entry(config("quota", k="1"), project=project)
    labels = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "any", "labels": {"psa": "high"}}}
    await running.apply(1, template, entry(labels, project=project))
    await until(lambda: running.reports[-1].applied == 2)
    assert await value(admin, "quota", namespace) == "1"
    assert (await admin.get(NAMESPACES, namespace))["metadata"]["labels"]["psa"] == "high"

    # a new namespace has it at once
    other = f"{namespace}-other"
    begun = time.monotonic()
    await admin.create(
        NAMESPACES, {"metadata": {"name": other, "annotations": {"field.cattle.io/projectId": project}}}
    )
    await until(lambda: value(admin, "quota", other))
    assert time.monotonic() - begun < 2

    # one that left the project, even while nobody looked, loses what it had, and only that
    await running.stop()
    await annotate(namespace, None)
    running = start()

    async def gone() -> bool:
        labels = (await admin.get(NAMESPACES, namespace))["metadata"].get("labels") or {}
        return await value(admin, "quota", namespace) is None and "psa" not in labels

    await until(gone)
    assert await value(admin, "quota", other) == "1"

    # with the template, all go
    await running.apply(2)

    async def all_gone() -> bool:
        return await value(admin, "quota", other) is None

    await until(all_gone)
    assert not (await admin.get(NAMESPACES, other))["metadata"].get("deletionTimestamp")


async def test_a_binding_whose_role_changed_is_made_anew(start: Start, admin: Client, namespace: str) -> None:
    def binding(role: str) -> dict[str, Any]:
        group = "rbac.authorization.k8s.io"
        return {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": namespace},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
            "subjects": [],
        }

    running = start()
    await running.apply(1, entry(binding("view")))
    report = await running.apply(2, entry(binding("edit")))
    assert report.failed == 0
    assert (await admin.get(CLUSTERROLEBINDINGS, namespace))["roleRef"]["name"] == "edit"


async def test_what_cannot_be_applied_harms_nothing_else(start: Start, admin: Client, namespace: str) -> None:
    running = start()
    hidden = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": namespace},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": base64.b64encode(b"hunter2").decode()},
    }
    report = await running.apply(
        1,
        entry(config("a", namespace, k="1"), owner="good"),
        entry({"apiVersion": "v1", "kind": "Nothing", "metadata": {"name": "x"}}, owner="bad"),
        entry(config("future", namespace), owner="new", requires=("telepathy",)),
        entry(hidden, owner="bad"),
    )
    failures = {failure.name: failure.message for failure in report.failures}
    assert "no kind Nothing" in failures["x"]
    assert "telepathy" in failures["future"]
    assert failures["s"] == "the API server answered 422 Invalid"
    assert {one.name: (one.applied, one.failed) for one in report.owners} == {
        "good": (1, 0),
        "bad": (0, 2),
        "new": (0, 1),
    }


async def test_an_object_larger_than_a_part(start: Start, admin: Client, namespace: str) -> None:
    running = start()
    big = "".join(uuid4().hex for _ in range(20_000))
    await running.apply(1, entry(config("big", namespace, k=big)), entry(config("a", namespace, k="1")))
    await running.stop()
    kept = (await admin.list(SECRETS, NAMESPACE, labels=f"{KEPT}=true")).items
    assert len(kept) >= 4
    assert max(sum(map(len, one["data"].values())) for one in kept) < 512 << 10
    await admin.delete(CONFIGMAPS, "big", namespace)
    start()
    await until(lambda: value(admin, "big", namespace))
    assert await value(admin, "big", namespace) == big


async def test_a_damaged_head_stops_everything_and_says_so(
    start: Start, admin: Client, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    nonsense = {"head": base64.b64encode(b"nonsense").decode()}
    metadata = {"name": HEAD, "namespace": NAMESPACE, "labels": {KEPT: "true"}}
    await admin.apply(SECRETS, {"metadata": metadata, "data": nonsense})
    running = start()
    await until(lambda: running.reports)
    assert "is damaged" in running.reports[0].failures[0].message
    assert not running.applier.active
    await admin.delete(SECRETS, HEAD, NAMESPACE)
    await running.apply(1, entry(config("a", namespace, k="1")))


async def test_a_successor_ends_an_applier_that_lost_its_lease(
    start: Start, admin: Client, namespace: str
) -> None:
    old = start()
    await old.apply(1, entry(config("a", namespace, k="1")))
    new = start()
    await new.apply(2, entry(config("a", namespace, k="2")))
    # the old one still believes in itself, and does not get through
    old.offer(3, entry(config("a", namespace, k="3")), epoch=1)
    await until(lambda: old.applier.kept.version == (1, 2))
    assert await value(admin, "a", namespace) == "2"


async def test_what_is_expected_of_an_object(start: Start, admin: Client, namespace: str) -> None:
    """One is added to and never made; the other is made and never taken over."""
    added = entry(config("theirs", namespace, ours="1"), expects=EXISTING, release=True)
    made = entry(config("name", namespace, ours="1"), expects=UNCLAIMED)
    await admin.create(CONFIGMAPS, config("name", namespace, theirs="1"))
    running = start()
    report = await running.apply(1, added, made)
    assert (report.applied, report.failed) == (0, 2)
    told = " ".join(failure.message for failure in report.failures)
    assert "does not exist in this cluster" in told
    assert "belongs to somebody else" in told
    await admin.create(CONFIGMAPS, config("theirs", namespace, theirs="1"))
    await admin.delete(CONFIGMAPS, "name", namespace)
    await until(lambda: (running.reports[-1].applied, running.reports[-1].failed) == (2, 0))
    theirs = await admin.get(CONFIGMAPS, "theirs", namespace)
    assert theirs["data"] == {"ours": "1", "theirs": "1"}
    await running.apply(2)
    theirs = await admin.get(CONFIGMAPS, "theirs", namespace)
    assert theirs["data"] == {"theirs": "1"}
    assert await admin.get_or_none(CONFIGMAPS, "name", namespace) is None
