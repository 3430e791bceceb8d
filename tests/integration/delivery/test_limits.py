"""What is too large for a cluster's API server or its etcd: said clearly, and nothing else suffers."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from outrider.kube.builtin import CONFIGMAPS, CRDS
from outrider.kube.client import Client
from tests.integration.delivery.conftest import Running, config, entry, until

Start = Callable[..., Running]


def definition(group: str) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"blobs.{group}"},
        "spec": {
            "group": group,
            "scope": "Cluster",
            "names": {"plural": "blobs", "singular": "blob", "kind": "Blob"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


async def test_objects_that_are_too_large(
    start: Start, admin: Client, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    group = f"{namespace}.example.org"

    def blob(size: int) -> dict[str, Any]:
        return {
            "apiVersion": f"{group}/v1",
            "kind": "Blob",
            "metadata": {"name": "one"},
            "text": "x" * size,
        }

    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "secret", "namespace": namespace},
        "data": {"k": base64.b64encode(b"hunter2" * 200_000).decode()},
    }
    small = [entry(config(f"o{n}", namespace, k="1"), owner="small") for n in range(20)]
    running = start()
    report = await running.apply(
        1,
        *small,
        entry(definition(group), owner="small"),
        entry(blob(2_000_000), owner="etcd"),
        entry(config("huge", namespace, k="x" * 4_000_000), owner="server"),
        entry(config("wordy", namespace, k="x" * 1_100_000), owner="kind"),
        entry(secret, owner="hidden"),
    )
    await until(lambda: running.reports[-1].applied == 21)
    report = running.reports[-1]
    owners = {one.name: (one.applied, one.failed, one.message) for one in report.owners}
    assert owners["small"] == (21, 0, "")
    assert owners["etcd"][:2] == (0, 1)
    assert "too large" in owners["etcd"][2]
    assert owners["server"][:2] == (0, 1)
    assert "too large" in owners["server"][2]
    assert owners["kind"][:2] == (0, 1)
    assert "not be more than 1048576 bytes" in owners["kind"][2]
    assert owners["hidden"][:2] == (0, 1)
    assert "hunter2" not in str(report)
    for name in ("huge", "wordy", "one"):
        assert caplog.text.count(f" {name}: ") == 1, "a failure is logged once, not with each report"

    # a restart says the same, and goes on
    await running.stop()
    again = start()
    await until(lambda: again.reports and not again.reports[-1].pending)
    await until(lambda: (again.reports[-1].applied, again.reports[-1].failed) == (21, 4))
    assert {one.name: one.message for one in again.reports[-1].owners} == {
        name: message for name, (_, _, message) in owners.items()
    }

    # who becomes smaller is applied
    report = await again.apply(
        2, *small, entry(definition(group), owner="small"), entry(blob(1000), owner="etcd")
    )
    await until(lambda: again.reports[-1].applied == 22)
    assert again.reports[-1].failed == 0
    assert (await admin.get(CONFIGMAPS, "o0", namespace))["data"] == {"k": "1"}
    await admin.delete(CRDS, f"blobs.{group}")
