"""The cluster is deleted while its agent runs as pods. Nothing of it may stay, so this comes last in the session."""

from __future__ import annotations

import json
import time

from tests.e2e.conftest import until
from tests.support.imported import Imported
from tests.support.kubectl import Kubectl

PATIENCE = 120.0
KINDS = (
    "namespaces,clusterroles,clusterrolebindings,priorityclasses,customresourcedefinitions,"
    "deployments,daemonsets,replicasets,pods,services,secrets,serviceaccounts,configmaps,poddisruptionbudgets"
)


def ours(direct: Kubectl) -> list[str]:
    """Every object in the cluster that Outrider made, or that lives in a namespace which it made."""
    found = []
    for item in direct.json("get", KINDS, "--all-namespaces")["items"]:
        metadata = item["metadata"]
        labels = metadata.get("labels") or {}
        place = metadata.get("namespace", "")
        marked = any(key.startswith(("outrider.", "authz.cluster.cattle.io")) for key in labels)
        named = metadata["name"].startswith(("cattle-", "globaladmin-", "proxy-"))
        if marked or place.startswith("cattle-") or (not place and named):
            found.append(f"{item['kind']} {place}/{metadata['name']}")
    return sorted(found)


def test_two_pods_of_the_agent_leave_nothing(
    imported: Imported, management: Kubectl, direct: Kubectl
) -> None:
    inside = "--namespace=cattle-system"
    direct(inside, "scale", "deployment/cattle-cluster-agent", "--replicas=2")
    direct(inside, "rollout", "status", "deployment/cattle-cluster-agent", "--timeout=90s")
    through = direct.at(imported.kubeconfig)
    assert "kube-system" in through("get", "namespaces")
    direct("create", "configmap", "theirs", "--from-literal=a=b")
    before = ours(direct)
    assert any(one.startswith("Pod cattle-system/cattle-cluster-agent") for one in before)
    assert any(one.startswith("ClusterRole /cattle-impersonation-") for one in before)

    began = time.monotonic()
    management("delete", "clusters.management.cattle.io", imported.id, f"--timeout={PATIENCE:.0f}s")
    record = time.monotonic() - began
    assert record < 60
    until(lambda: not ours(direct), PATIENCE, f"left: {ours(direct)}")
    print(
        f"record gone after {record:.1f} s, everything in the cluster after {time.monotonic() - began:.1f} s"
    )

    assert direct("get", "configmap", "theirs", "--output=name").strip() == "configmap/theirs"
    until(lambda: not management("get", "namespace", imported.id, "--ignore-not-found").strip(), 30)
    selector = f"--field-selector=involvedObject.name={imported.id}"
    events = management.json("get", "events", selector)["items"]
    assert [one["reason"] for one in events if one["reason"] == "LeftBehind"] == [], json.dumps(events)
    direct("delete", "configmap", "theirs")
