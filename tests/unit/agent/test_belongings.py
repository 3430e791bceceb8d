from __future__ import annotations

from typing import Any

import pytest

from outrider.agent.belongings import Metadata, Owner, carries_the_agent, is_foreign, is_ours, owned_by
from outrider.delivery.entries import Ref
from outrider.features.clusters.manifest import NAMESPACE, AgentManifest, PullSecret, objects

MANIFEST = objects(
    AgentManifest(
        server_url="https://s",
        token="bcdfghjklmnpqrstvwxz2456789",
        image="i",
        cacerts="PEM",
        auth_image="a",
        pull_secrets=(PullSecret(name="pull", config="e30="),),
    )
)


def metadata(obj: dict[str, Any]) -> Metadata:
    held = obj["metadata"]
    return Metadata(name=held["name"], labels=held.get("labels", {}), annotations=held.get("annotations", {}))


def test_the_whole_manifest_is_ours() -> None:
    inside = [obj for obj in MANIFEST if obj["metadata"].get("namespace") == NAMESPACE]
    assert len(inside) > 6
    for obj in inside:
        assert is_ours(obj["kind"], metadata(obj)), obj["metadata"]["name"]
        assert not is_foreign(obj["kind"], metadata(obj))


def test_what_the_agent_needs_to_work_goes_last() -> None:
    refs = [
        Ref(
            obj["apiVersion"].rpartition("/")[0],
            obj["kind"],
            obj["metadata"].get("namespace", ""),
            obj["metadata"]["name"],
        )
        for obj in MANIFEST
    ]
    early = {ref.name for ref in refs if not carries_the_agent(ref)}
    assert early == {"proxy-clusterrole-kubeapiserver", "proxy-role-binding-kubernetes-master"}
    assert not carries_the_agent(Ref("", "Namespace", "", "cattle-impersonation-system"))
    assert not carries_the_agent(Ref("", "ConfigMap", "default", "cattle-admin"))


@pytest.mark.parametrize(
    ("kind", "name", "annotations", "foreign"),
    [
        ("ConfigMap", "theirs", {}, True),
        ("Deployment", "rancher", {}, True),
        ("Secret", "cattle", {}, True),
        ("Service", "rancher-webhook", {}, True),
        ("ConfigMap", "kube-root-ca.crt", {}, False),
        ("ServiceAccount", "default", {}, False),
        ("Secret", "default-token-x", {"kubernetes.io/service-account.name": "default"}, False),
        ("Secret", "cattle-token-x", {"kubernetes.io/service-account.name": "cattle"}, False),
        ("Secret", "theirs-token-x", {"kubernetes.io/service-account.name": "theirs"}, True),
        ("Secret", "cattle-credentials-0123456789", {}, False),
        ("Lease", "whoever", {}, False),
    ],
)
def test_what_keeps_the_namespace(kind: str, name: str, annotations: dict[str, str], foreign: bool) -> None:
    assert is_foreign(kind, Metadata(name=name, annotations=annotations)) is foreign


def test_what_has_an_owner_is_looked_for_there() -> None:
    owner = Owner("apps/v1", "ReplicaSet", "x", "u")
    assert is_foreign("Pod", Metadata(name="x"))
    assert not is_foreign("Pod", Metadata(name="x", owner_references=[owner]))


def test_other_owners_stay() -> None:
    old, new = Owner("v1", "Namespace", "n", "u-1"), Owner("v1", "ClusterRole", "r", "u-2")
    assert owned_by(Metadata(owner_references=[old]), new) == [old, new]
    assert owned_by(Metadata(owner_references=[old, new]), new) == [old, new]
