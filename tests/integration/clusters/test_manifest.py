"""The served manifest, taken in by real API servers through real kubectl, whatever the names are."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from outrider.apis.management.cluster import CLUSTERS
from outrider.kit import yaml
from outrider.kube.embedded.cluster import EmbeddedCluster
from tests.integration.clusters.conftest import ADMIN, NOBODY, Plane, running

HOSTILE = [
    '"; rm -rf / #',
    "{{ .Values.x }}\u2028- kind: Secret",
    "yes: no # 'x\" \\ ${HOME} `id` \U0001f600",
    "a: b\u0085c: &anchor *alias !!python/object",
]


@pytest.fixture
def apply(kubectl: Path, second_api_server: EmbeddedCluster, tmp_path: Path) -> Any:
    """`kubectl apply` to a cluster that is to be imported."""
    kubeconfig = second_api_server.kubeconfig(tmp_path / "kubeconfig")

    def run(manifest: str, *arguments: str) -> str:
        done = subprocess.run(
            [str(kubectl), f"--kubeconfig={kubeconfig}", "apply", *arguments, "-f", "-"],
            input=manifest,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


async def test_kubectl_applies_it(plane: Plane, unique: str, apply: Any) -> None:
    cluster = await plane.create(unique)
    token = await plane.token(cluster)
    for path in (f"/v3/import/{token}_{cluster}.yaml", f"/v3/import/{token}.yaml"):
        answer = await plane.call("GET", path, who=None)
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/plain")
        applied = apply(answer.text)
        assert "deployment.apps/cattle-cluster-agent" in applied
        assert "secret/cattle-credentials " in applied
    assert "unchanged" in apply(answer.text, "--dry-run=server")
    head = await plane.call("HEAD", path, who=None)
    assert head.status == 200
    assert head.headers["content-length"] == str(len(answer.body))


async def test_everything_that_a_cluster_may_ask_for(plane: Plane, unique: str, apply: Any) -> None:
    cluster = await plane.create(unique)
    token = await plane.token(cluster)
    wishes = {
        "agentEnvVars": [{"name": "HTTPS_PROXY", "value": text} for text in HOSTILE]
        + [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "clusterAgentDeploymentCustomization": {
            "appendTolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}],
            "overrideAffinity": {
                "podAntiAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        {
                            "labelSelector": {"matchLabels": {"app": "cattle-cluster-agent"}},
                            "topologyKey": "kubernetes.io/hostname",
                        }
                    ]
                }
            },
            "overrideResourceRequirements": {"limits": {"cpu": "500m", "memory": "1Gi"}},
            "schedulingCustomization": {
                "priorityClass": {"value": 123456, "preemptionPolicy": "Never"},
                "podDisruptionBudget": {"minAvailable": "1"},
            },
        },
        "importedConfig": {"privateRegistryURL": "registry.example:5000"},
    }
    await plane.client.patch(CLUSTERS, cluster, {"spec": wishes})

    async def manifest() -> list[Any]:
        answer = await plane.call("GET", f"/v3/import/{token}.yaml?authImage=example/auth:1", who=None)
        return yaml.load_all(answer.text)

    await plane.until(cluster, lambda c: c.spec.agent_env_vars)
    documents = await manifest()
    # until the feature's own copy of the cluster has caught up, and its image has been decided anew
    while len(documents) < 13 or "registry.example:5000" not in yaml.dump_all(documents):
        documents = await manifest()
    text = yaml.dump_all(documents)
    applied = apply(text, "--dry-run=server")
    assert "priorityclass.scheduling.k8s.io/cattle-cluster-agent-priority-class" in applied
    assert "poddisruptionbudget.policy/cattle-cluster-agent-pod-disruption-budget" in applied
    assert "daemonset.apps/kube-api-auth" in applied
    deployment = next(d for d in documents if d["kind"] == "Deployment")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["image"].startswith("registry.example:5000/outrider/")
    assert [v["value"] for v in container["env"] if v["name"] == "HTTPS_PROXY"] == HOSTILE


@pytest.mark.parametrize(
    ("file", "status", "text"),
    [
        ("nonsense", 404, "404"),
        ("nonsense.yaml", 404, "cluster not found or invalid token"),
        ("bbbbbbbbbbbbbbbbbbbbbbbb_c-nope.yaml", 400, "cluster not found or invalid token"),
        ("_c-nope.yaml", 400, "invalid filename format, expected {token}_{clusterId}.yaml"),
        ("token_.yaml", 400, "invalid filename format, expected {token}_{clusterId}.yaml"),
    ],
)
async def test_bad_names(plane: Plane, file: str, status: int, text: str) -> None:
    answer = await plane.call("GET", f"/v3/import/{file}", who=None)
    assert answer.status == status
    assert text in answer.text


async def test_a_token_opens_its_own_cluster_only(plane: Plane, unique: str) -> None:
    one, other = await plane.create(unique), await plane.create(f"{unique} 2")
    token = await plane.token(one)
    assert (await plane.call("GET", f"/v3/import/{token}_{other}.yaml", who=None)).status == 400
    bad = await plane.call("GET", f"/v3/import/{token}.yaml?authImage=a%20b", who=None)
    assert (bad.status, bad.text) == (400, "invalid authImage - not an image reference")


async def test_one_address_cannot_flood(plane: Plane) -> None:
    async with running(plane.client, import_burst=3, import_rate=0.0) as limited:
        statuses = [
            (await limited.call("GET", "/v3/import/x.yaml", who=None, remote="192.0.2.9")).status
            for _ in range(5)
        ]
        assert statuses == [404, 404, 404, 429, 429]
        assert (await limited.call("GET", "/v3/import/x.yaml", who=None, remote="192.0.2.10")).status == 404


async def test_ca(admin: Any, crds: None) -> None:
    pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
    environ = {"CATTLE_CACERTS": pem, "CATTLE_SERVER_URL": "https://outrider.test"}
    async with running(admin, environ=environ) as plane:
        assert (await plane.call("GET", "/cacerts", who=None)).text == pem + "\n"


@pytest.mark.parametrize("name", [*HOSTILE, "plain", "ünïcødé"])
async def test_kubeconfigs_for_any_display_name(
    plane: Plane, unique: str, name: str, kubectl: Path, tmp_path: Path
) -> None:
    wanted = f"{name} {unique}"
    # What the API server refuses as a display name cannot become a cluster
    printable = "".join(c for c in wanted if c.isprintable())
    made = (await plane.call("POST", "/v3/clusters", body={"name": printable})).json()
    answer = await plane.call("POST", f"/v3/clusters/{made['id']}?action=generateKubeconfig")
    assert answer.status == 200
    assert answer.json()["type"] == "generateKubeConfigOutput"
    file = tmp_path / "kubeconfig"
    file.write_text(answer.json()["config"])
    done = subprocess.run(
        [str(kubectl), "config", "view", "--raw", "--minify", "-o", "json", f"--kubeconfig={file}"],
        capture_output=True,
        check=True,
    )
    seen = msgspec.json.decode(done.stdout)
    assert seen["current-context"] == printable
    assert seen["clusters"][0]["cluster"]["server"] == f"https://outrider.test/k8s/clusters/{made['id']}"
    assert seen["users"][0]["user"]["token"] == f"kubeconfig-{ADMIN.user}:any"


async def test_rights(plane: Plane, unique: str) -> None:
    cluster = await plane.create(unique)
    for method, path, body in [
        ("GET", "/v3/clusters", None),
        ("GET", f"/v3/clusters/{cluster}", None),
        ("POST", "/v3/clusters", {"name": f"{unique} x"}),
        ("DELETE", f"/v3/clusters/{cluster}", None),
        ("POST", f"/v3/clusters/{cluster}?action=generateKubeconfig", None),
        ("POST", "/v3/clusterregistrationtokens", {"clusterId": cluster}),
    ]:
        assert (await plane.call(method, path, body=body, who=NOBODY)).status == 403, path
        assert (await plane.call(method, path, body=body, who=None)).status == 401, path
    listed = (await plane.call("GET", f"/v3/clusters?name={unique.replace(' ', '%20')}")).json()
    assert [one["id"] for one in listed["data"]] == [cluster]
    assert listed["resourceType"] == "cluster"
    assert (await plane.call("GET", "/v3/clusters/c-nope")).status == 404
    assert (await plane.call("POST", f"/v3/clusters/{cluster}?action=unknown")).status == 404
    missing = (await plane.call("POST", "/v3/clusters", body={})).json()
    assert (missing["code"], missing["fieldName"]) == ("MissingRequired", "Cluster name")
