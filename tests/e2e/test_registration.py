"""Registration tokens and manifests as a user meets them, and what keeps a cluster registered."""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from outrider.kit import yaml
from tests.e2e.conftest import until
from tests.support.door import Door
from tests.support.kubectl import Kubectl, KubectlFailed
from tests.support.raw_client import ended
from tests.support.records import GROUP, Record, connect, plain

REFUSED = {400, 404}  # the contract's two forms of the URL differ in this
HOSTILE = [
    'a"b\nkind: Secret',
    "yes",
    "null",
    "{{ .Values }}",
    "$(id) `id` ; rm -rf /",
    "Grüße 世界 🚜",
    "0x1f: &a *a !!python/object",
    "---\n- x",
    "'\"\\",
]


@pytest.fixture
def door(door: Door) -> Door:
    """The front door for a client at an address of its own: how many manifests one address gets is limited."""
    return door.come_from(f"127.0.{secrets.randbelow(250) + 1}.{secrets.randbelow(250) + 1}")


@pytest.fixture
def record(management: Kubectl) -> Iterator[Callable[..., Record]]:
    """Makes cluster records."""
    made: list[Record] = []

    def make(**spec: Any) -> Record:
        wanted = {"displayName": f"n-{uuid4().hex[:8]}", "importedConfig": {}} | spec
        made.append(Record(management, wanted))
        until(made[-1].token, 10)
        return made[-1]

    yield make
    for one in made:
        one.drop()


def objects(manifest: bytes) -> dict[tuple[str, str], dict[str, Any]]:
    found = [one for one in yaml.load_all(manifest) if one]
    return {(one["kind"], one["metadata"]["name"]): one for one in found}


def agent(manifest: bytes) -> dict[str, Any]:
    deployment = objects(manifest)["Deployment", "cattle-cluster-agent"]
    return deployment["spec"]["template"]["spec"]


# the manifest


def test_both_forms_of_the_url(record: Callable[..., Record], door: Door, management: Kubectl) -> None:
    one = record()
    token = one.token()
    assert re.fullmatch("[bcdfghjklmnpqrstvwxz2456789]{54}", token)
    long, short = f"/v3/import/{token}_{one.id}.yaml", f"/v3/import/{token}.yaml"
    got = door.get(long)
    assert (got.status, got.header("Content-Type").partition(";")[0]) == (200, "text/plain")
    assert door.get(short).body == got.body
    for path in (long, short):
        head = door.request("HEAD", path)
        assert (head.status, head.body, head.header("Content-Length")) == (200, b"", str(len(got.body)))
    registration = management.json(
        "--namespace", one.id, "get", f"clusterregistrationtokens.{GROUP}", "default-token"
    )
    status = until(lambda: registration.get("status", {}).get("manifestUrl") and registration["status"], 5)
    assert status["manifestUrl"] == f"{door.url}/v3/import/{{token}}_{one.id}.yaml"
    assert token not in json.dumps(registration)


def test_the_objects_of_the_manifest(record: Callable[..., Record], door: Door) -> None:
    one = record()
    token = one.token()
    found = objects(door.get(f"/v3/import/{token}_{one.id}.yaml").body)
    kinds = {
        ("ClusterRole", "proxy-clusterrole-kubeapiserver"),
        ("ClusterRoleBinding", "proxy-role-binding-kubernetes-master"),
        ("Namespace", "cattle-system"),
        ("ServiceAccount", "cattle"),
        ("ClusterRoleBinding", "cattle-admin-binding"),
        ("ClusterRole", "cattle-admin"),
        ("Deployment", "cattle-cluster-agent"),
        ("Service", "cattle-cluster-agent"),
    }
    assert kinds <= set(found)
    credentials = {name: one for (kind, name), one in found.items() if kind == "Secret"}
    named = [name for name in credentials if re.fullmatch("cattle-credentials-[0-9a-f]{10}", name)]
    assert len(named) == 1
    for name in (*named, "cattle-credentials"):
        assert plain(credentials[name]["data"]["token"]) == token
        assert plain(credentials[name]["data"]["url"]) == door.url


def test_no_other_token_gets_a_manifest(
    record: Callable[..., Record], door: Door, first: dict[str, Any]
) -> None:
    one = record()
    token = one.token()
    refused = [
        f"{'b' * 54}_{one.id}",
        f"{token}_{first['id']}",
        f"{token}_c-zzzzz",
        f"{token[:-1]}_{one.id}",
        "b" * 54,
        token.upper(),
        "",
        "_",
        "%00",
        "x" * 5000,
    ]
    for name in refused:
        answer = door.get(f"/v3/import/{name}.yaml")
        assert answer.status in {400, 404, 414, 431}, name
        assert b"kind: Deployment" not in answer.body
        assert b"Traceback" not in answer.body
    wrong = door.get(f"/v3/import/{'b' * 54}_{one.id}.yaml")
    assert (wrong.status, wrong.body.strip()) == (400, b"cluster not found or invalid token")
    assert door.get(f"/v3/import/{token}_{first['id']}.yaml").body == wrong.body


def test_expired_and_deleted_tokens(record: Callable[..., Record], door: Door) -> None:
    one = record()
    short = one.register("limited", ttl=3)
    extra = one.register("extra")
    assert door.get(f"/v3/import/{short}_{one.id}.yaml").status == 200
    assert door.get(f"/v3/import/{extra}.yaml").status == 200
    one.delete("extra")
    for name in (extra, f"{extra}_{one.id}"):
        assert door.get(f"/v3/import/{name}.yaml").status in REFUSED
    until(lambda: door.get(f"/v3/import/{short}_{one.id}.yaml").status == 400, 6)
    assert connect(door, short)[0] == 400
    assert connect(door, extra)[0] == 400


def test_rotation_hands_over_with_grace(
    record: Callable[..., Record], door: Door, management: Kubectl
) -> None:
    one = record()
    old = one.register("rotated", ttl=3600)
    inside = ("--namespace", one.id)
    management(
        *inside, "annotate", f"clusterregistrationtokens.{GROUP}", "rotated", "crt.cattle.io/on-expiry=rotate"
    )
    past = base64.b64encode(b"2020-01-01T01:00:00Z").decode()
    issued = {"crt.cattle.io/issued-at": "2020-01-01T00:00:00Z"}
    change = json.dumps({"metadata": {"annotations": issued}, "data": {"expiresAt": past}})
    management(*inside, "patch", "secret", "crt-token-rotated", "--type=merge", "--patch", change)
    until(lambda: one.token("rotated") != old, 10)
    new = one.token("rotated")
    assert door.get(f"/v3/import/{new}_{one.id}.yaml").status == 200
    until(lambda: door.get(f"/v3/import/{old}_{one.id}.yaml").status == 200, 5, "within the grace")
    change = json.dumps({"data": {"gracePeriodExpiresAt": past}})
    management(*inside, "patch", "secret", "crt-token-rotated", "--type=merge", "--patch", change)
    until(lambda: door.get(f"/v3/import/{old}_{one.id}.yaml").status == 400, 5)
    until(lambda: door.get(f"/v3/import/{new}_{one.id}.yaml").status == 200, 5)


def test_what_the_spec_asks_for_is_in_the_manifest(record: Callable[..., Record], door: Door) -> None:
    toleration = {"key": "dedicated", "operator": "Equal", "value": "ops", "effect": "NoSchedule"}
    affinity = {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "ops", "operator": "Exists"}]}]
            }
        }
    }
    resources = {"limits": {"memory": "300Mi"}, "requests": {"cpu": "50m"}}
    one = record(
        agentEnvVars=[{"name": "HTTPS_PROXY", "value": "http://proxy.test:3128"}],
        clusterAgentDeploymentCustomization={
            "appendTolerations": [toleration],
            "overrideAffinity": affinity,
            "overrideResourceRequirements": resources,
        },
    )
    pod = agent(door.get(f"/v3/import/{one.token()}_{one.id}.yaml").body)
    assert toleration in pod["tolerations"]
    assert len(pod["tolerations"]) > 1
    assert pod["affinity"] == affinity
    (container,) = pod["containers"]
    assert container["resources"] == resources
    assert {"name": "HTTPS_PROXY", "value": "http://proxy.test:3128"} in container["env"]
    names = [one["name"] for one in container["env"]]
    assert names.index("CATTLE_SERVER") < names.index("CATTLE_CA_CHECKSUM") < names.index("CATTLE_CLUSTER")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_do_no_harm(
    name: str, record: Callable[..., Record], door: Door, modern: Kubectl, second: dict[str, Any], admin: Door
) -> None:
    if "\n" in name:
        with pytest.raises(KubectlFailed, match="the display name must not contain control characters"):
            record(displayName=name)
    shown = name.replace("\n", " ")
    one = record(displayName=shown, agentEnvVars=[{"name": "NAME", "value": name}], description=name)
    manifest = door.get(f"/v3/import/{one.token()}_{one.id}.yaml").body
    straight = modern.at(second["direct_kubeconfig"])
    said = straight("apply", "--dry-run=server", "-f", "-", stdin=manifest.decode())
    lines = [line for line in said.splitlines() if "(server dry run)" in line]
    assert len(lines) == len(objects(manifest))
    (container,) = agent(manifest)["containers"]
    assert {"name": "NAME", "value": name} in container["env"]
    config = yaml.load(admin.post(f"/v3/clusters/{one.id}?action=generateKubeconfig").json()["config"])
    assert config["current-context"] == shown
    assert [cluster["name"] for cluster in config["clusters"]] == [shown]


def test_the_api_shows_commands_with_the_token(
    record: Callable[..., Record], admin: Door, door: Door
) -> None:
    one = record()
    token = one.token()
    listed = admin.get(f"/v3/clusterRegistrationTokens?clusterId={one.id}").json()["data"]
    shown = next(row for row in listed if row["id"] == f"{one.id}:default-token")
    assert shown["token"] == token
    assert shown["command"] == f"kubectl apply -f {door.url}/v3/import/{token}_{one.id}.yaml"
    assert shown["insecureCommand"].startswith("curl --insecure -sfL")
    assert shown["nodeCommand"]
    made = admin.post(
        "/v3/clusterregistrationtokens", {"type": "clusterRegistrationToken", "clusterId": one.id}
    )
    assert made.status == 201
    assert made.json()["token"] in made.json()["command"]


# tunnels


def test_who_may_open_a_tunnel(record: Callable[..., Record], door: Door) -> None:
    one = record()
    assert connect(door, "")[0] in {400, 401}
    assert connect(door, "b" * 54)[0] == 400
    assert connect(door, one.token(), address="")[0] == 400
    assert connect(door, one.token(), caCert="")[0] == 400
    assert connect(door, one.token(), caCert="bm8gUEVN")[0] == 400
    status, stream = connect(door, one.token())
    assert status == 101
    stream.close()
    assert door.get("/v3/connect").status in {400, 401, 426}


def test_deleting_the_last_good_token_closes_the_session(
    record: Callable[..., Record], door: Door, management: Kubectl
) -> None:
    one = record()
    extra = one.register("extra")
    status, stream = connect(door, extra)
    assert status == 101
    with stream:
        assert not ended(stream, 1)
        revoked = '{"metadata":{"annotations":{"crt.cattle.io/on-expiry":"revoke"}},"spec":{"ttl":1}}'
        for name in ("default-token", "system"):
            kind = f"clusterregistrationtokens.{GROUP}"
            management("--namespace", one.id, "patch", kind, name, "--type=merge", "--patch", revoked)
        until(lambda: door.get(f"/v3/import/{one.token()}.yaml").status in REFUSED, 6)
        time.sleep(0.5)
        one.delete("extra")
        assert ended(stream, 3)


def test_deleting_a_cluster_closes_its_session(
    record: Callable[..., Record], door: Door, admin: Door
) -> None:
    one = record()
    token = one.token()
    status, stream = connect(door, token)
    assert status == 101
    with stream:
        one.drop()
        assert ended(stream, 30)  # an agent that does not clean up is given up after 10 s
    assert door.get(f"/v3/import/{token}_{one.id}.yaml").status == 400
    until(lambda: admin.get(f"/k8s/clusters/{one.id}/api").status == 404, 30)


# credentials in the cluster


def test_a_deleted_credential_comes_back(modern: Kubectl, second: dict[str, Any]) -> None:
    inside = modern.at(second["direct_kubeconfig"])

    def secrets() -> dict[str, dict[str, str]]:
        found = inside.json("--namespace=cattle-system", "get", "secrets")["items"]
        return {
            one["metadata"]["name"]: one["data"]
            for one in found
            if one["metadata"]["name"].startswith("cattle-credentials")
        }

    before = secrets()
    assert "cattle-credentials" in before
    assert len(before) >= 2
    for name in before:
        inside("--namespace=cattle-system", "delete", "secret", name)
    until(lambda: secrets() == before, 15)
