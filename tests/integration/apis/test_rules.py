"""Every rule of every CRD, kept and broken, as the real API server judges it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pytest

from outrider.apis.crd import custom_resource_definition
from outrider.apis.kinds import KINDS
from outrider.apis.management import (
    CLUSTERS,
    FEATURES,
    NODES,
    PROJECTS,
    REGISTRATION_TOKENS,
    SETTINGS,
    TOKENS,
    USERS,
)
from outrider.apis.management.settings import DEFINITIONS, Check
from outrider.apis.provisioning import PROVISIONING_CLUSTERS
from outrider.kube.client import Client
from outrider.kube.errors import AlreadyExists, Forbidden, Invalid
from outrider.kube.kind import Kind
from tests.integration.apis.role_cases import CASES as ROLE_CASES
from tests.integration.apis.role_cases import NAMESPACE

pytestmark = pytest.mark.usefixtures("crds")

Json = dict[str, Any]


@dataclass
class Case:
    """An object, optionally with a status, and a merge patch on it; `refused` is a part of the error."""

    kind: Kind[Any]
    body: Json
    patch: Json | None = None
    refused: str = ""
    name: str = ""
    status: Json = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.kind.kind} {self.patch or self.name or self.body}"


def cluster(*, refused: str = "", **spec: Any) -> Case:
    return Case(CLUSTERS, {"spec": {"displayName": "one"} | spec}, refused=refused)


def cluster_change(
    before: Json, patch: Json, *, refused: str = "", status: Json | None = None, name: str = ""
) -> Case:
    body = {"spec": {"displayName": "one"} | before}
    return Case(CLUSTERS, body, {"spec": patch}, refused, name, status or {})


def budget(**fields: Any) -> Json:
    return {
        "clusterAgentDeploymentCustomization": {"schedulingCustomization": {"podDisruptionBudget": fields}}
    }


def priority(**fields: Any) -> Json:
    return {"clusterAgentDeploymentCustomization": {"schedulingCustomization": {"priorityClass": fields}}}


def token(*, refused: str = "", patch: Json | None = None, **fields: Any) -> Case:
    return Case(TOKENS, {"userId": "user-abcde", "authProvider": "local"} | fields, patch, refused)


EMPTY_NAME = "the display name must not be empty"
CONTROL = "must not contain control characters"
LABEL = "metadata.name becomes a namespace: at most 63"
SYSTEM = "this one belongs to the system"
ONE_PROVIDER = "exclude each other: a cluster has one provider"
NO_PROXY = "NO_PROXY must not contain spaces"
CA_CERTS = "caCerts needs fqdn"
EXCLUSIVE = "minAvailable and maxUnavailable exclude each other"
ENDPOINT = "Can only enable LocalClusterAuthEndpoint with RKE2, or K3s"
POLICY = "enableNetworkPolicy cannot be turned on for an imported k3s or rke2 cluster"
LOCKED = "the feature is locked to status.lockedValue"
RKE = "rkeConfig can neither be added to a cluster nor removed from it"
K3S = {"driver": "k3s"}
ON = {"localClusterAuthEndpoint": {"enabled": True}}
OFF = {"localClusterAuthEndpoint": {"enabled": False}}

CLUSTER_CASES = [
    cluster(),
    cluster(displayName="Ünï 'quoted' \"name\" $(id) {{x}}"),
    cluster(displayName="x" * 253),
    cluster(displayName="x" * 254, refused="Too long"),
    cluster(displayName="", refused=EMPTY_NAME),
    cluster(displayName=" \t", refused=EMPTY_NAME),
    cluster(displayName="a\nb", refused=CONTROL),
    cluster(displayName="a\x7fb", refused=CONTROL),
    Case(CLUSTERS, {"spec": {}}, refused="spec.displayName: Required value"),
    Case(CLUSTERS, {}, refused="spec: Required value"),
    Case(CLUSTERS, {"spec": {"displayName": "one"}}, name="downstream-cluster"),
    Case(CLUSTERS, {"spec": {"displayName": "one"}}, name="with.dots", refused=LABEL),
    Case(CLUSTERS, {"spec": {"displayName": "one"}}, name="x" * 63),
    Case(CLUSTERS, {"spec": {"displayName": "one"}}, name="x" * 64, refused=LABEL),
    Case(CLUSTERS, {"spec": {"displayName": "one"}}, name="kube-system", refused=SYSTEM),
    Case(CLUSTERS, {"spec": {"displayName": "one"}}, name="cattle-system", refused=SYSTEM),
    Case(CLUSTERS, {"spec": {"displayName": "one"}}, name="default", refused=SYSTEM),
    Case(CLUSTERS, {"spec": {"displayName": "one"}}, name="kubernetes"),
    cluster(internal=True, refused="internal is reserved for the cluster named 'local'"),
    Case(CLUSTERS, {"spec": {"displayName": "local", "internal": True}}, name="local"),
    cluster_change({}, {"internal": True}, refused="internal cannot be changed"),
    cluster_change(
        {"internal": True}, {"internal": False}, name="local", refused="internal cannot be changed"
    ),
    cluster_change(
        {"internal": True}, {"internal": None}, name="local", refused="internal cannot be changed"
    ),
    cluster_change({}, {"internal": False}),
    cluster_change({}, {"windowsPreferedCluster": True}, refused="windowsPreferedCluster cannot be changed"),
    cluster_change({"windowsPreferedCluster": True}, {"description": "same"}),
    cluster(eksConfig={"region": "eu-central-1"}, gkeConfig=None, aksConfig=None),
    cluster(eksConfig={}, gkeConfig={}, refused=ONE_PROVIDER),
    cluster(aksConfig={}, aliConfig={}, refused=ONE_PROVIDER),
    cluster(agentEnvVars=[{"name": "NO_PROXY", "value": "10.0.0.0/8,.svc"}, {"name": "X", "value": "a b"}]),
    cluster(agentEnvVars=[{"name": "NO_PROXY", "value": "10.0.0.0/8, .svc"}], refused=NO_PROXY),
    cluster(agentEnvVars=[{"value": "x"}], refused="agentEnvVars[0].name: Required value"),
    cluster(localClusterAuthEndpoint={"enabled": True, "fqdn": "api.example.com", "caCerts": "PEM"}),
    cluster(localClusterAuthEndpoint={"enabled": True, "caCerts": "PEM"}, refused=CA_CERTS),
    cluster(**budget(minAvailable="1", maxUnavailable="0")),
    cluster(**budget(minAvailable=1)),
    cluster(**budget(maxUnavailable="100%", minAvailable=None)),
    cluster(**budget(minAvailable="0", maxUnavailable="0")),
    cluster(**budget(minAvailable=1, maxUnavailable="50%"), refused=EXCLUSIVE),
    cluster(**budget(minAvailable="101%"), refused="minAvailable must be a number of pods"),
    cluster(**budget(minAvailable=-1), refused="minAvailable must be a number of pods"),
    cluster(**budget(maxUnavailable="few"), refused="maxUnavailable must be a number of pods"),
    cluster(**priority(value=1_000_000_000, preemptionPolicy="Never")),
    cluster(**priority(value=1_000_000_001), refused="less than or equal to 1000000000"),
    cluster(**priority(value=-1_000_000_001), refused="greater than or equal to -1000000000"),
    cluster(**priority(value=1, preemptionPolicy="Always"), refused="Unsupported value"),
    cluster(webhookDeploymentCustomization={"replicaCount": 1}),
    cluster(webhookDeploymentCustomization={"replicaCount": 0}, refused="greater than or equal to 1"),
    cluster_change({}, {"enableNetworkPolicy": True}, status={"driver": "imported"}),
    cluster_change({}, {"enableNetworkPolicy": True}, status=K3S, refused=POLICY),
    cluster_change({"enableNetworkPolicy": None}, {"enableNetworkPolicy": True}, status=K3S, refused=POLICY),
    cluster_change({"enableNetworkPolicy": True}, {"description": "kept"}, status=K3S),
    cluster_change(OFF, ON, status=K3S),
    cluster_change(OFF, ON),
    cluster_change({}, ON, status={"driver": "EKS"}, refused=ENDPOINT),
    cluster_change(OFF, ON, status={"driver": "EKS"}, refused=ENDPOINT),
    cluster_change(ON, {"description": "stays on"}, status={"driver": "EKS"}),
]


def project(*, refused: str = "", **spec: Any) -> Case:
    return Case(PROJECTS, {"spec": {"clusterName": NAMESPACE, "displayName": "one"} | spec}, refused=refused)


def quota(limit: str, default: str, *, used: str = "", refused: str = "") -> Case:
    """A project with amounts of memory: all together, for each namespace, and given away."""
    given = {"usedLimit": {"limitsMemory": used}} if used else {}
    return project(
        resourceQuota={"limit": {"limitsMemory": limit}} | given,
        namespaceDefaultResourceQuota={"limit": {"limitsMemory": default}},
        refused=refused,
    )


def container(refused: str = "", **amounts: str) -> Case:
    """What a container of the project gets that asks for nothing."""
    return project(containerDefaultResourceLimit=amounts, refused=refused)


QUANTITY = "takes a quantity such as 500m, 2 or 1Gi"
PROJECT_CASES = [
    quota("2Gi", "512Mi", used="1Gi"),
    quota("much", "512Mi", refused="limit takes quantities such as 500m, 2 or 1Gi"),
    quota("2Gi", "512Mi", used="much", refused="usedLimit takes quantities such as 500m, 2 or 1Gi"),
    quota("2Gi", "3Gi", refused="namespaceDefaultResourceQuota needs an amount, and no larger one"),
    quota("2Gi", "512Mi", used="3Gi", refused="resourceQuota must not be less than what is in use"),
    container(requestsCpu="100m", limitsCpu="1", requestsMemory="64Mi", limitsMemory="1Gi"),
    *(container(f"{name} {QUANTITY}", **{name: "much"}) for name in ("requestsCpu", "requestsMemory")),
    *(container(f"{name} {QUANTITY}", **{name: "much"}) for name in ("limitsCpu", "limitsMemory")),
    container("requestsCpu must not be more than limitsCpu", requestsCpu="2", limitsCpu="1"),
    container("requestsMemory must not be more than limitsMemory", requestsMemory="2Gi", limitsMemory="1Gi"),
]
OTHER_CASES = [
    *PROJECT_CASES,
    Case(REGISTRATION_TOKENS, {"spec": {"clusterName": "c-abcde", "ttl": 86400}}),
    Case(REGISTRATION_TOKENS, {"spec": {"clusterName": "c-abcde", "ttl": 0, "gracePeriod": None}}),
    Case(REGISTRATION_TOKENS, {"spec": {"clusterName": "c-abcde", "ttl": -1}}),
    Case(REGISTRATION_TOKENS, {"spec": {"clusterName": "c-abcde", "ttl": 10**12}}, refused="spec.ttl"),
    Case(REGISTRATION_TOKENS, {"spec": {"clusterName": "c-abcde", "ttl": "1d"}}, refused="spec.ttl"),
    Case(REGISTRATION_TOKENS, {"spec": {"ttl": 60}}, refused="spec.clusterName: Required value"),
    Case(REGISTRATION_TOKENS, {"spec": {"clusterName": ""}}, refused="spec.clusterName"),
    Case(
        REGISTRATION_TOKENS,
        {"spec": {"clusterName": "c-abcde"}},
        {"spec": {"clusterName": "c-other"}},
        "clusterName cannot be changed once it is set: make a token in the other cluster's namespace",
    ),
    token(ttl=0, enabled=False, groupPrincipals=None),
    token(patch={"ttl": 60_000, "enabled": False}),
    token(patch={"userId": "user-other"}, refused="userId cannot be changed"),
    token(clusterName="c-abcde", patch={"clusterName": ""}, refused="clusterName cannot be changed"),
    token(clusterName="c-abcde", patch={"clusterName": None}, refused="a token must not reach more"),
    token(patch={"clusterName": "c-abcde"}, refused="clusterName cannot be changed"),
    token(patch={"authProvider": "github"}, refused="authProvider cannot be changed"),
    Case(TOKENS, {"authProvider": "local"}, refused="userId: Required value"),
    Case(USERS, {"displayName": "Ann"}, {"username": "ann"}),
    Case(USERS, {"username": "ann"}, {"displayName": "Ann", "enabled": False}),
    Case(USERS, {"username": "ann"}, {"username": "bob"}, "username cannot be changed once it is set"),
    Case(USERS, {"username": "ann"}, {"username": None}, "username cannot be changed once it is set"),
    Case(FEATURES, {"spec": {"value": True}}, {"spec": {"value": False}}),
    Case(
        FEATURES, {"spec": {"value": True}}, {"spec": {"value": False}}, LOCKED, status={"lockedValue": True}
    ),
    Case(FEATURES, {"spec": {"value": True}}, {"spec": {"value": None}}, status={"lockedValue": True}),
    Case(FEATURES, {"spec": {}}, {"spec": {"value": True}}, status={"lockedValue": True}),
    Case(NODES, {"spec": {"desiredNodeUnschedulable": "drain", "nodeDrainInput": {"timeout": 10800}}}),
    Case(NODES, {"spec": {"desiredNodeUnschedulable": "maybe"}}, refused="Unsupported value"),
    Case(NODES, {"spec": {"nodeDrainInput": {"timeout": 10801}}}, refused="less than or equal to 10800"),
    Case(PROVISIONING_CLUSTERS, {"spec": {"rkeConfig": {}}}, {"spec": {"kubernetesVersion": "v1.33.4+k3s1"}}),
    Case(PROVISIONING_CLUSTERS, {"spec": {}}, {"spec": {"rkeConfig": {}}}, RKE),
    Case(PROVISIONING_CLUSTERS, {"spec": {"rkeConfig": {}}}, {"spec": {"rkeConfig": None}}, RKE),
    Case(PROVISIONING_CLUSTERS, {"spec": {}}, {"spec": {"rkeConfig": {}}}, name="local"),
    Case(PROVISIONING_CLUSTERS, {"spec": {"cloudCredentialSecretName": "x" * 318}}, refused="Too long"),
    *(Case(*one) for one in ROLE_CASES),
    Case(
        PROVISIONING_CLUSTERS,
        {"spec": {"eksConfig": {"nodeGroups": [{"instanceType": "t3.large"}], "logging": {"audit": True}}}},
    ),
]

VALUES: dict[Check, tuple[list[str], list[str]]] = {
    Check.BOOLEAN: (["true", "false"], ["yes", "True", " true"]),
    Check.NUMBER: (["0", "43200"], ["-1", "1.5", "1h", "10000000000"]),
    Check.POSITIVE: (["1", "960"], ["0", "-5", "x"]),
    Check.LENGTH: (["2", "12", "299"], ["1", "0", "300", "12a"]),
    Check.DURATION: (["300s", "1h30m"], ["300", "5 minutes", "-5s"]),
    Check.SIZE: (["1Mi", "1024"], ["1 Mi", "1Zi", "-1"]),
    Check.URL: (
        ["https://a.example.com", "https://[::1]:8443", "http://10.0.0.1:80/sub/path"],
        ["a.example.com", "https://", "https://a b", "https://a/$(reboot)", "https://u:p@a", "https://a?x=1", "ftp://a"],
    ),
    Check.TTL_UNIT: (["seconds", "minutes"], ["hours"]),
    Check.TLS_MODE: (["strict", "system-store"], ["none"]),
    Check.OBJECT: (["{}", '{\n "a": {"b": 1}}\n'], ["[]", "x", "{"]),
}  # fmt: skip


def _in_its_namespace(case: Case, name: str, namespace: str) -> Json:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    body = case.body | {"metadata": metadata}
    if body.get("spec", {}).get("clusterName"):
        body["spec"] = body["spec"] | {"clusterName": namespace}
    return body


async def _remove(client: Client, case: Case, name: str, namespace: str) -> None:
    """The cluster `local` stays: nobody may delete it."""
    try:
        await client.delete_if_exists(case.kind, name, namespace)
    except Forbidden:
        if (case.kind, name) != (CLUSTERS, "local"):
            raise


async def _create(client: Client, case: Case, body: Json) -> None:
    try:
        await client.create(case.kind, body)
    except AlreadyExists:
        if (case.kind, case.name) != (CLUSTERS, "local"):
            raise


async def _write(client: Client, case: Case, namespace: str, unique: str) -> None:
    name = case.name or unique
    await _remove(client, case, name, namespace)
    body = _in_its_namespace(case, name, namespace)
    try:
        if case.patch is None and case.refused:
            with pytest.raises(Invalid) as refused:
                await client.create(case.kind, body)
            assert case.refused in refused.value.message
            return
        await _create(client, case, body)
        if case.status:
            await client.patch(case.kind, name, {"status": case.status}, namespace, subresource="status")
        if case.patch is not None and case.refused:
            with pytest.raises(Invalid) as refused:
                await client.patch(case.kind, name, case.patch, namespace)
            assert case.refused in refused.value.message
        elif case.patch is not None:
            await client.patch(case.kind, name, case.patch, namespace)
    finally:
        await _remove(client, case, name, namespace)


@pytest.mark.parametrize("case", CLUSTER_CASES, ids=str)
async def test_cluster_rule(case: Case, admin: Client, unique: str) -> None:
    await _write(admin, case, "", unique)


@pytest.mark.parametrize("case", OTHER_CASES, ids=str)
async def test_rule(case: Case, admin: Client, namespace: str, unique: str) -> None:
    body = msgspec.json.decode(msgspec.json.encode(case.body).replace(NAMESPACE.encode(), namespace.encode()))
    await _write(admin, replace(case, body=body), namespace if case.kind.namespaced else "", unique)


@pytest.mark.parametrize("check", VALUES, ids=str)
async def test_setting_takes_only_values_that_make_sense(check: Check, admin: Client) -> None:
    name = next(one.name for one in DEFINITIONS if one.check is check)
    good, bad = VALUES[check]
    for value in ["", *good]:
        await _write(admin, Case(SETTINGS, {"value": value}, name=name), "", "")
    for value in bad:
        await _write(admin, Case(SETTINGS, {"value": value}, name=name, refused=check.demand), "", "")


async def test_unknown_setting_takes_any_text(admin: Client, unique: str) -> None:
    await _write(admin, Case(SETTINGS, {"value": "yes, 5 of them"}), "", unique)


def test_every_rule_is_broken_by_a_case() -> None:
    refusals = [case.refused for case in CLUSTER_CASES + OTHER_CASES if case.refused]
    refusals += [check.demand for check in VALUES]
    messages = {message for kind in KINDS for message in _messages(custom_resource_definition(kind))}
    assert messages
    untested = {message for message in messages if not any(refusal in message for refusal in refusals)}
    assert untested == set()


def _messages(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _messages(item)
    elif isinstance(node, dict):
        if "rule" in node and "message" in node:
            yield node["message"]
        for value in node.values():
            yield from _messages(value)
