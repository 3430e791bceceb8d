"""The applier against a real API server, without a tunnel."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from outrider.agent.plan import LABEL
from outrider.agent.state import StateApplier
from outrider.kit.tasks import cancel_and_wait
from outrider.kube.builtin import CONFIGMAPS, CRDS, NAMESPACES, SECRETS
from outrider.kube.client import Client
from outrider.tunnel.reports import DesiredState, StateReport

NAME, INSIDE = "outrider-desired-state", "cattle-system"


@pytest.fixture
async def clean(admin: Client) -> AsyncIterator[Client]:
    await admin.apply(NAMESPACES, {"metadata": {"name": INSIDE}})
    await admin.delete_if_exists(SECRETS, NAME, INSIDE)
    yield admin
    await admin.delete_if_exists(SECRETS, NAME, INSIDE)


def state(counter: int, *objects: dict[str, Any], epoch: int = 1, complete: bool = False) -> DesiredState:
    return DesiredState(epoch=epoch, counter=counter, objects=list(objects), complete=complete)


def config(name: str, namespace: str, **data: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


class Applier:
    """An applier and what it reported."""

    def __init__(self, client: Client) -> None:
        self.reports: list[StateReport] = []
        self.applier = StateApplier(client, self.reports.append, every=0.2, retry=0.05)

    async def apply(self, wanted: DesiredState) -> StateReport:
        self.applier.offer(wanted)
        await self.applier.enforce()
        return self.reports[-1]


async def test_what_somebody_took_over_is_not_deleted(clean: Client, namespace: str) -> None:
    made = Applier(clean)
    await made.apply(state(1, config("mine", namespace), config("theirs", namespace)))
    await clean.patch(CONFIGMAPS, "theirs", {"metadata": {"labels": {LABEL: None}}}, namespace)
    report = await made.apply(state(2, complete=True))
    assert (report.applied, report.failures) == (0, [])
    assert await clean.get_or_none(CONFIGMAPS, "mine", namespace) is None
    assert await clean.get(CONFIGMAPS, "theirs", namespace)


async def test_a_namespace_and_what_is_in_it_come_in_any_order(clean: Client, namespace: str) -> None:
    name = f"{namespace}-made"
    report = await Applier(clean).apply(
        state(1, config("x", name), {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    )
    assert (report.applied, report.failures) == (2, [])


async def test_a_definition_and_its_object_settle(clean: Client, namespace: str) -> None:
    group = f"{namespace}.example.org"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    names = {"plural": "things", "singular": "thing", "kind": "Thing"}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"things.{group}"},
        "spec": {"group": group, "scope": "Cluster", "names": names, "versions": [version]},
    }
    thing = {"apiVersion": f"{group}/v1", "kind": "Thing", "metadata": {"name": "one"}}
    made = Applier(clean)
    made.applier.offer(state(1, thing, definition))
    task = asyncio.create_task(made.applier.run())
    async with asyncio.timeout(10):
        while not made.reports or made.reports[-1].failures:
            await asyncio.sleep(0.02)
    await cancel_and_wait(task)
    assert made.reports[-1].applied == 2
    await clean.delete(CRDS, f"things.{group}")


async def test_the_record_names_everything_before_it_is_made(clean: Client, namespace: str) -> None:
    """An agent that dies halfway through must still know what to delete."""
    made = Applier(clean)
    await made.apply(state(1, config("a", namespace)))
    restarted = Applier(clean)
    report = await restarted.apply(state(2, config("b", namespace), complete=True))
    assert report.pruned == 1
    assert await clean.get_or_none(CONFIGMAPS, "a", namespace) is None


async def test_an_older_state_is_refused_after_a_restart(clean: Client, namespace: str) -> None:
    await Applier(clean).apply(state(5, config("a", namespace, k="new"), epoch=2))
    restarted = Applier(clean)
    await restarted.apply(state(9, config("a", namespace, k="old"), epoch=1))
    assert (await clean.get(CONFIGMAPS, "a", namespace))["data"] == {"k": "new"}
    assert (restarted.reports[-1].epoch, restarted.reports[-1].counter) == (2, 5)


async def test_a_state_too_large_to_keep_is_applied_all_the_same(clean: Client, namespace: str) -> None:
    import secrets

    big = config("big", namespace, k=secrets.token_hex(500_000))
    assert (await Applier(clean).apply(state(1, big))).applied == 1
    stored = await clean.get(SECRETS, NAME, INSIDE)
    assert set(stored["data"]) == {"record"}
    # what is left of it is pruned by the next process all the same
    report = await Applier(clean).apply(state(2, complete=True))
    assert report.pruned == 1


async def test_a_damaged_record_stops_everything_and_says_so(
    clean: Client, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    nonsense = base64.b64encode(b"nonsense").decode()
    metadata = {"name": NAME, "namespace": INSIDE}
    await clean.apply(SECRETS, {"metadata": metadata, "data": {"record": nonsense}})
    made = Applier(clean)
    made.applier.offer(state(1, config("a", namespace)))
    task = asyncio.create_task(made.applier.run())
    await asyncio.sleep(0.3)
    assert [failure.name for report in made.reports for failure in report.failures] == [NAME]
    assert len(caplog.records) == 1
    assert await clean.get_or_none(CONFIGMAPS, "a", namespace) is None

    await clean.delete(SECRETS, NAME, INSIDE)
    async with asyncio.timeout(5):
        while await clean.get_or_none(CONFIGMAPS, "a", namespace) is None:
            await asyncio.sleep(0.02)
    await cancel_and_wait(task)


async def test_refused_secrets_are_not_quoted(clean: Client, namespace: str) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": namespace},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": base64.b64encode(b"hunter2").decode()},
    }
    report = await Applier(clean).apply(state(1, secret))
    assert report.failures[0].message == "the API server answered 422 Invalid"
