"""What people see of our kinds with a plain kubectl."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from outrider.apis.management import CLUSTERS, REGISTRATION_TOKENS
from outrider.kube.client import Client
from outrider.kube.transport import Request
from tests.integration.apis.conftest import Kubectl

pytestmark = pytest.mark.usefixtures("crds")

# A field that is nobody's at each level, as another version of a client may send it.
_UNKNOWN: dict[str, Any] = {"deep": [{"er": 1}], "text": "kept", "number": 0.5}


def _cluster(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "management.cattle.io/v3",
        "kind": "Cluster",
        "metadata": {"name": name},
        "spec": {"displayName": "Prod west"} | spec,
    }


async def test_get_shows_the_columns_people_look_for(
    run_kubectl: Kubectl, admin: Client, unique: str
) -> None:
    await admin.create(CLUSTERS, _cluster(unique))
    status = {
        "state": "active",
        "connected": True,
        "nodeCount": 3,
        "driver": "imported",
        "provider": "k3s",
        "version": {"gitVersion": "v1.34.2"},
    }
    await admin.patch(CLUSTERS, unique, {"status": status}, subresource="status")
    lines = run_kubectl("get", "clusters.management.cattle.io", unique).splitlines()
    head = ["NAME", "DISPLAY NAME", "STATE", "VERSION", "NODES", "CONNECTED", "AGE"]
    assert [cell.strip() for cell in lines[0].split("   ") if cell.strip()] == head
    assert lines[1].split()[:-1] == [unique, "Prod", "west", "active", "v1.34.2", "3", "true"]
    wide = run_kubectl("get", "clusters.management.cattle.io", unique, "-o", "wide")
    assert "imported" in wide
    assert "k3s" in wide


async def test_get_lists_registration_tokens_of_all_namespaces(
    run_kubectl: Kubectl, admin: Client, namespace: str
) -> None:
    body = {"metadata": {"name": "token-limited", "namespace": namespace}}
    await admin.create(REGISTRATION_TOKENS, body | {"spec": {"clusterName": namespace, "ttl": 86400}})
    assert "token-limited" in run_kubectl("get", "clusterregistrationtokens", "--all-namespaces")
    run_kubectl("delete", "clusterregistrationtoken", "token-limited", "-n", namespace)


def test_categories_list_everything(run_kubectl: Kubectl) -> None:
    assert "users.management.cattle.io" in run_kubectl("api-resources", "--categories=outrider", "-o", "name")


def test_explain_says_what_a_field_is(run_kubectl: Kubectl) -> None:
    text = _explain(run_kubectl, "clusters.management.cattle.io.spec.displayName")
    assert "FIELD: displayName <string>" in text
    assert "The name that people see; unique among all clusters, whatever its case." in text
    text = _explain(run_kubectl, "clusters.management.cattle.io.status.conditions")
    assert "True, False or Unknown." in text
    assert "-required-" in text


def _explain(run_kubectl: Kubectl, path: str) -> str:
    """`kubectl explain`, which works only once the OpenAPI document holds the kind, a moment after the CRD."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return run_kubectl("explain", path)
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


@pytest.mark.parametrize("how", [["--server-side"], [], ["--server-side", "--force-conflicts"]], ids=str)
def test_unknown_fields_survive_apply(run_kubectl: Kubectl, unique: str, how: list[str]) -> None:
    body = _cluster(unique, future=_UNKNOWN, k3sConfig={"future": _UNKNOWN}) | {"future": _UNKNOWN}
    run_kubectl("apply", *how, "-f", "-", manifest=json.dumps(body))
    body["spec"]["displayName"] = "Prod east"
    run_kubectl("apply", *how, "-f", "-", manifest=json.dumps(body))
    stored = json.loads(run_kubectl("get", "clusters.management.cattle.io", unique, "-o", "json"))
    assert stored["spec"] == body["spec"]
    assert stored["future"] == _UNKNOWN


def test_unknown_fields_survive_replace(run_kubectl: Kubectl, unique: str) -> None:
    body = _cluster(unique, future=_UNKNOWN)
    run_kubectl("create", "-f", "-", manifest=json.dumps(body))
    stored = json.loads(run_kubectl("get", "clusters.management.cattle.io", unique, "-o", "json"))
    stored["spec"]["description"] = "replaced"
    run_kubectl("replace", "-f", "-", manifest=json.dumps(stored))
    again = json.loads(run_kubectl("get", "clusters.management.cattle.io", unique, "-o", "json"))
    assert again["spec"] == body["spec"] | {"description": "replaced"}


async def test_put_with_a_status_is_accepted_and_its_status_ignored(admin: Client, unique: str) -> None:
    await admin.create(CLUSTERS, _cluster(unique))
    await admin.patch(CLUSTERS, unique, {"status": {"connected": True}}, subresource="status")
    path = CLUSTERS.path(unique)
    body = await admin.get_json(path)
    body["status"] = {"connected": False, "driver": "forged", "conditions": []}
    body["spec"]["description"] = "new"
    headers = [("Content-Type", "application/json")]
    answer = await admin.raw(
        Request(method="PUT", path=path, headers=headers, body=json.dumps(body).encode())
    )
    assert answer.status == 200, answer.body
    stored = await admin.get(CLUSTERS, unique)
    assert stored.spec.description == "new"
    assert stored.status.connected is True
    assert stored.status.driver == ""


def test_the_guide_for_the_agents_affinity_applies_to_an_existing_cluster(
    run_kubectl: Kubectl, unique: str
) -> None:
    term = {"labelSelector": {"matchLabels": {"app": "cattle-cluster-agent"}}}
    term["topologyKey"] = "kubernetes.io/hostname"  # type: ignore[assignment]
    affinity = {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 100, "podAffinityTerm": term}]}}  # fmt: skip
    run_kubectl("create", "-f", "-", manifest=json.dumps(_cluster(unique)))
    change = _cluster(unique)
    change["spec"] = {"clusterAgentDeploymentCustomization": {"overrideAffinity": affinity}}
    run_kubectl("apply", "-f", "-", manifest=json.dumps(change))
    stored = json.loads(run_kubectl("get", "clusters.management.cattle.io", unique, "-o", "json"))
    assert stored["spec"]["clusterAgentDeploymentCustomization"]["overrideAffinity"] == affinity
    assert stored["spec"]["displayName"] == "Prod west"
