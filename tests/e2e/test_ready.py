"""What scripts rely on: the ready file, and the front door's own answers."""

from __future__ import annotations

import hashlib
import json
import re
import ssl
import stat
import warnings
from pathlib import Path

import pytest

from outrider.kube import kubeconfig
from tests.e2e.conftest import until
from tests.support.door import Door, trusting
from tests.support.instance import Instance, alive
from tests.support.kubectl import Kubectl

KEYS = {"url", "ca_file", "username", "bootstrap_password", "admin_kubeconfig", "pids", "clusters"}
CLUSTER_KEYS = {"id", "name", "kubeconfig", "direct_kubeconfig", "agent_pid"}
ROLES = {"etcd", "apiserver", "controller-manager"}


def test_the_ready_file_has_the_promised_shape(instance: Instance) -> None:
    ready = instance.ready
    assert set(ready) >= KEYS
    assert re.fullmatch(r"https://127\.0\.0\.1:\d+", ready["url"])
    assert ready["username"] == "admin"
    assert len(ready["bootstrap_password"]) >= 12
    assert [one["name"] for one in ready["clusters"]] == ["demo-1", "demo-2"]
    for cluster in ready["clusters"]:
        assert set(cluster) >= CLUSTER_KEYS
        assert re.fullmatch(r"c-[a-z0-9]{5}", cluster["id"])
        assert cluster["agent_pid"] == ready["pids"][f"{cluster['name']}-agent"]
        through = kubeconfig.load(cluster["kubeconfig"])
        assert through.server == f"{ready['url']}/k8s/clusters/{cluster['id']}"
        assert through.token
        assert not through.client_cert_pem
        assert ready["url"] not in kubeconfig.load(cluster["direct_kubeconfig"]).server
    expected = {"supervisor", "control", "gateway", "audit"}
    expected |= {f"{kind}-{role}" for kind in ("management", "demo-1", "demo-2") for role in ROLES}
    assert expected <= set(ready["pids"])
    assert len(set(ready["pids"].values())) == len(ready["pids"])


def test_what_holds_secrets_is_for_this_user_only(instance: Instance) -> None:
    files = [instance.ready_file, Path(instance.ready["admin_kubeconfig"])]
    for cluster in instance.ready["clusters"]:
        files += [Path(cluster["kubeconfig"]), Path(cluster["direct_kubeconfig"])]
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert stat.S_IMODE(instance.data.stat().st_mode) == 0o700


def test_no_command_line_or_environment_shows_a_secret(instance: Instance) -> None:
    secrets = [instance.ready["bootstrap_password"].encode()]
    for cluster in instance.ready["clusters"]:
        secrets.append(kubeconfig.load(cluster["kubeconfig"]).token.encode())
    for role, reported in instance.ready["pids"].items():
        pid = reported if role == "supervisor" else instance.pid(role)
        shown = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
        assert not any(secret in shown for secret in secrets), role
        assert alive(pid)


def test_it_says_what_to_try(instance: Instance) -> None:
    said = instance.command.output
    assert instance.ready["url"] in said
    assert instance.ready["bootstrap_password"] in said
    for cluster in instance.ready["clusters"]:
        assert f"kubectl --kubeconfig {cluster['kubeconfig']} get namespaces" in said
    assert "Traceback" not in said


def test_the_columns_of_clusters(instance: Instance, management: Kubectl) -> None:
    head, *rows = management("get", "clusters.management.cattle.io").splitlines()
    assert {"NAME", "STATE", "VERSION", "NODES", "CONNECTED", "AGE"} <= set(head.split())
    assert len(rows) >= 3
    for row in rows:
        assert "active" in row.lower(), row
        assert "v1.34" in row, row
    states = management.json("get", "clusters.management.cattle.io")["items"]
    assert {one["metadata"]["name"] for one in states} >= {"local"}
    assert all(one["status"]["connected"] for one in states)


def test_answers_that_need_no_sign_in(door: Door, instance: Instance) -> None:
    assert (door.get("/ping").status, door.get("/ping").body) == (200, b"pong")
    for path in ("/healthz", "/healthz/ping", "/readyz"):
        assert (door.get(path).status, door.get(path).body) == (200, b"ok"), path
    pem = door.get("/cacerts")
    assert pem.status == 200
    assert pem.body.decode().strip() == Path(instance.ready["ca_file"]).read_text().strip()
    setting = door.get("/v3/settings/cacerts").json()
    assert setting["value"].strip() == pem.body.decode().strip()
    assert set(door.get("/rancherversion").json()) >= {"Version", "GitCommit"}
    assert door.request("HEAD", "/ping").body == b""


def test_the_agent_was_told_the_checksum_of_that_ca(door: Door, direct: Kubectl) -> None:
    pem = door.get("/cacerts").body.rstrip(b"\n") + b"\n"
    deployment = direct.json("--namespace=cattle-system", "get", "deployment", "cattle-cluster-agent")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    variables = {one["name"]: one.get("value", "") for one in container["env"]}
    assert variables["CATTLE_CA_CHECKSUM"] == hashlib.sha256(pem).hexdigest()


def test_who_is_not_signed_in_is_told_so(door: Door, first: dict[str, str]) -> None:
    for path in (
        "/v3/tokens",
        "/v3/users",
        f"/k8s/clusters/{first['id']}/api",
        "/api/v1/namespaces",
        "/metrics",
    ):
        answer = door.get(path)
        assert answer.status == 401, path
        assert "must authenticate" in answer.body.decode() or "No valid token" in answer.body.decode(), path
        json.loads(answer.body)


def test_everything_becomes_active_and_stays_so(instance: Instance, management: Kubectl) -> None:
    def settled() -> bool:
        clusters = management.json("get", "clusters.management.cattle.io")["items"]
        return all(one["status"].get("state") == "active" for one in clusters)

    until(settled, 10)


def test_only_modern_tls_is_spoken(door: Door, instance: Instance) -> None:
    with door.socket() as stream:
        assert stream.version() in {"TLSv1.2", "TLSv1.3"}
    old = trusting(instance.ready["ca_file"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        Door(door.url, old).socket()
    assert "max-age=" in door.get("/v3-public/authProviders").header("Strict-Transport-Security")
