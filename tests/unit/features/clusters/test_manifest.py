"""The manifest against the contract's table: order, names, labels, environment, scheduling."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.apis.management.agent_deployment import (
    AgentDeploymentCustomization,
    EnvVar,
    PodDisruptionBudget,
    PriorityClass,
    SchedulingCustomization,
)
from outrider.features.clusters import manifest as m
from outrider.features.clusters.scheduling import DEFAULT_AFFINITY, DEFAULT_TOLERATIONS
from outrider.kit import yaml

URL, TOKEN = "https://rancher.example.com", "b" * 54
PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
PLAIN = m.AgentManifest(server_url=URL, token=TOKEN, image="rancher/rancher-agent:v1")


def names(manifest: m.AgentManifest) -> list[str]:
    return [f"{obj['kind']}/{obj['metadata']['name']}" for obj in m.objects(manifest)]


def find(manifest: m.AgentManifest, kind: str, name: str) -> dict[str, Any]:
    return next(o for o in m.objects(manifest) if (o["kind"], o["metadata"]["name"]) == (kind, name))


def pod(manifest: m.AgentManifest) -> dict[str, Any]:
    spec: dict[str, Any] = find(manifest, "Deployment", "cattle-cluster-agent")["spec"]["template"]["spec"]
    return spec


KEY = hashlib.sha256(f"{URL}.{TOKEN}.".encode()).hexdigest()[:10]


def test_order_and_names() -> None:
    assert names(PLAIN) == [
        "ClusterRole/proxy-clusterrole-kubeapiserver",
        "ClusterRoleBinding/proxy-role-binding-kubernetes-master",
        "Namespace/cattle-system",
        "ServiceAccount/cattle",
        "ClusterRoleBinding/cattle-admin-binding",
        f"Secret/cattle-credentials-{KEY}",
        "Secret/cattle-credentials",
        "ClusterRole/cattle-admin",
        "Deployment/cattle-cluster-agent",
        "Service/cattle-cluster-agent",
    ]


def test_everything_that_can_be_asked_for() -> None:
    custom = AgentDeploymentCustomization(
        scheduling_customization=SchedulingCustomization(
            priority_class=PriorityClass(value=1000),
            pod_disruption_budget=PodDisruptionBudget(min_available="1"),
        )
    )
    full = msgspec.structs.replace(
        PLAIN,
        cacerts=PEM,
        customization=custom,
        auth_image="auth:1",
        pull_secrets=(m.PullSecret(name="regcred", config="e30="),),
    )
    assert names(full)[6:] == [
        "Secret/cattle-credentials",
        "Secret/cattle-ca",
        "Secret/regcred",
        "ClusterRole/cattle-admin",
        "PriorityClass/cattle-cluster-agent-priority-class",
        "PodDisruptionBudget/cattle-cluster-agent-pod-disruption-budget",
        "Deployment/cattle-cluster-agent",
        "DaemonSet/kube-api-auth",
        "Service/cattle-cluster-agent",
    ]
    assert pod(full)["priorityClassName"] == "cattle-cluster-agent-priority-class"
    assert pod(full)["imagePullSecrets"] == [{"name": "regcred"}]
    budget = find(full, "PodDisruptionBudget", m.DISRUPTION_BUDGET)
    assert budget["spec"] == {"minAvailable": 1, "selector": {"matchLabels": {"app": "cattle-cluster-agent"}}}
    assert find(full, "Secret", "regcred")["metadata"]["labels"] == {m.PULL_SECRET_LABEL: "true"}


def test_credentials_and_their_alias() -> None:
    for name in (f"cattle-credentials-{KEY}", "cattle-credentials"):
        data = find(PLAIN, "Secret", name)["data"]
        assert {k: base64.b64decode(v).decode() for k, v in data.items()} == {
            "url": URL,
            "token": TOKEN,
            "namespace": "",
        }
    deployed = msgspec.structs.replace(PLAIN, credential_namespace="c-abcde")
    assert f"Secret/cattle-credentials-{KEY}" not in names(deployed)


@pytest.mark.parametrize("text", [PEM, PEM.rstrip("\n"), PEM + "\n\n", PEM.rstrip("\n") + "\r\n"])
def test_the_checksum_is_over_exactly_one_newline(text: str) -> None:
    assert m.ca_checksum(text) == hashlib.sha256(PEM.encode()).hexdigest()
    ca = find(msgspec.structs.replace(PLAIN, cacerts=text), "Secret", "cattle-ca")["data"]["ca.crt"]
    assert base64.b64decode(ca).decode() == PEM


def test_no_ca_no_checksum() -> None:
    assert m.ca_checksum("") == m.ca_checksum(" \n") == ""
    assert "Secret/cattle-ca" not in names(PLAIN)


def test_environment_order() -> None:
    manifest = msgspec.structs.replace(
        PLAIN,
        cacerts=PEM,
        registry="r.example",
        features={"fleet": False, "auth": True},
        env=(
            EnvVar(name="HTTPS_PROXY", value="p"),
            EnvVar(name="NODE", value_from={"fieldRef": {"fieldPath": "x"}}),
        ),
        server_version="v1",
        install_uuid="u",
        ingress_ip_domain="sslip.io",
    )
    assert m.environment(manifest) == [
        {"name": "CATTLE_FEATURES", "value": "auth=true,fleet=false"},
        {"name": "CATTLE_SERVER", "value": URL},
        {"name": "CATTLE_CA_CHECKSUM", "value": m.ca_checksum(PEM)},
        {"name": "CATTLE_CLUSTER", "value": "true"},
        {"name": "CATTLE_K8S_MANAGED", "value": "true"},
        {"name": "CATTLE_SYSTEM_DEFAULT_REGISTRY", "value": "r.example"},
        {"name": "CATTLE_CREDENTIAL_NAME", "value": f"cattle-credentials-{KEY}"},
        {"name": "CATTLE_SUC_APP_NAME_OVERRIDE", "value": ""},
        {"name": "CATTLE_SERVER_VERSION", "value": "v1"},
        {"name": "CATTLE_INSTALL_UUID", "value": "u"},
        {"name": "CATTLE_INGRESS_IP_DOMAIN", "value": "sslip.io"},
        {"name": "HTTPS_PROXY", "value": "p"},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "x"}}},
        {"name": "STRICT_VERIFY", "value": "true"},
        {"name": "OUTRIDER_AGENT_IMAGE", "value": "rancher/rancher-agent:v1"},
        {"name": "OUTRIDER_AGENT_PROBE_PORT", "value": "8081"},
    ]


def test_the_users_own_strict_verify_wins() -> None:
    manifest = msgspec.structs.replace(PLAIN, env=(EnvVar(name="STRICT_VERIFY", value="false"),))
    found = [v["value"] for v in m.environment(manifest) if v["name"] == "STRICT_VERIFY"]
    assert found == ["false"]
    assert {"name": "STRICT_VERIFY", "value": "false"} in m.environment(
        msgspec.structs.replace(PLAIN, strict_tls=False)
    )


def test_the_deployment() -> None:
    deployment = find(PLAIN, "Deployment", "cattle-cluster-agent")
    assert deployment["metadata"]["annotations"] == {"management.cattle.io/scale-available": "2"}
    assert "replicas" not in deployment["spec"]
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    spec = pod(PLAIN)
    assert spec["serviceAccountName"] == "cattle"
    assert spec["tolerations"] == list(DEFAULT_TOLERATIONS)
    assert spec["affinity"] == DEFAULT_AFFINITY
    assert spec["volumes"][0]["secret"] == {"secretName": f"cattle-credentials-{KEY}", "defaultMode": 320}
    assert spec["securityContext"] == {"fsGroup": 65532}
    assert spec["containers"][0]["name"] == "cluster-register"
    assert "resources" not in spec["containers"][0]


def test_customization() -> None:
    extra = {"key": "dedicated", "operator": "Exists"}
    override = {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}
    resources = {"limits": {"memory": "1Gi"}}
    spec = pod(
        msgspec.structs.replace(
            PLAIN,
            customization=AgentDeploymentCustomization(
                append_tolerations=[extra, dict(DEFAULT_TOLERATIONS[0]), extra],
                override_affinity=override,
                override_resource_requirements=resources,
            ),
        )
    )
    assert spec["tolerations"] == [*DEFAULT_TOLERATIONS, extra]
    assert spec["affinity"] == override
    assert spec["containers"][0]["resources"] == resources


@pytest.mark.parametrize(
    ("budget", "spec"),
    [
        (PodDisruptionBudget(max_unavailable="25%"), {"maxUnavailable": "25%"}),
        (PodDisruptionBudget(min_available=2, max_unavailable="0"), {"minAvailable": 2}),
        (PodDisruptionBudget(min_available="0", max_unavailable="0"), None),
        (PodDisruptionBudget(), None),
    ],
)
def test_disruption_budget(budget: PodDisruptionBudget, spec: dict[str, Any] | None) -> None:
    made = [{k: v for k, v in o["spec"].items() if k != "selector"} for o in m.disruption_budget(budget)]
    assert made == ([] if spec is None else [spec])


@pytest.mark.parametrize(
    ("image", "registry", "result"),
    [
        ("rancher/agent:v1", "", "rancher/agent:v1"),
        ("rancher/agent:v1", "r.example:5000", "r.example:5000/rancher/agent:v1"),
        ("rancher/agent:v1", "https://r.example/x/", "r.example/x/rancher/agent:v1"),
        ("docker.io/library/busybox", "r.example", "r.example/library/busybox"),
        ("quay.io/a/b:1", "r.example", "quay.io/a/b:1"),
        ("localhost/a", "r.example", "localhost/a"),
        ("busybox:1", "r.example", "r.example/busybox:1"),
    ],
)
def test_image_reference(image: str, registry: str, result: str) -> None:
    assert m.image_reference(image, registry) == result


TEXT = st.text(st.characters(codec="utf-8"), max_size=30)


@given(url=TEXT, token=TEXT, image=TEXT, name=TEXT, value=TEXT, registry=TEXT)
def test_hostile_text_stays_in_its_place(
    url: str, token: str, image: str, name: str, value: str, registry: str
) -> None:
    manifest = m.AgentManifest(
        server_url=url, token=token, image=image, registry=registry, env=(EnvVar(name=name, value=value),)
    )
    assert yaml.load_all(m.render(manifest)) == m.objects(manifest)


def test_the_token_is_not_in_the_repr() -> None:
    assert TOKEN not in repr(PLAIN)


def test_a_new_agent_replaces_the_old_one_only_when_it_has_a_tunnel() -> None:
    deployment = find(PLAIN, "Deployment", "cattle-cluster-agent")["spec"]
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert deployment["minReadySeconds"] == 30
    (container,) = pod(PLAIN)["containers"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": 8081}


def test_what_the_agent_is_told_of_itself_is_not_for_users_to_say() -> None:
    env = (EnvVar(name="OUTRIDER_AGENT_IMAGE", value="another"), EnvVar(name="A", value="b"))
    told = m.environment(msgspec.structs.replace(PLAIN, env=env))
    assert [one["value"] for one in told if one["name"] == "OUTRIDER_AGENT_IMAGE"] == [PLAIN.image]
    assert {"name": "A", "value": "b"} in told
