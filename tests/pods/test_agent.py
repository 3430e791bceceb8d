"""The agent as a pod, made by the imported manifest."""

from __future__ import annotations

from tests.support.imported import Imported
from tests.support.kubectl import Kubectl


def test_the_cluster_becomes_active(imported: Imported, management: Kubectl) -> None:
    cluster = management.json("get", "clusters.management.cattle.io", imported.id)
    assert cluster["status"]["connected"] is True
    assert imported.seconds < 60
    print(f"kubectl apply to Active: {imported.seconds:.1f} s")
