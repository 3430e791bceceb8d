"""The management cluster and the clusters as Kubernetes clients see them: every path that leads there, kubeconfigs."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outrider.kit import yaml
from tests.e2e.conftest import until
from tests.support.door import Door
from tests.support.instance import Instance
from tests.support.kubectl import Kubectl
from tests.support.people import PASSWORD, People, Person, let_see


@pytest.fixture(params=["new", "old"])
def program(request: pytest.FixtureRequest) -> Path:
    """kubectl, new and old."""
    found: Path = request.getfixturevalue(f"{request.param}_kubectl")
    return found


@pytest.fixture
def admin(instance: Instance) -> Door:
    """The administrator's door."""
    return Door.of_kubeconfig(instance.ready["admin_kubeconfig"]).root()


@pytest.fixture
def management(instance: Instance, program: Path, home: Path) -> Kubectl:
    """The administrator's kubectl, to the management cluster through the server."""
    return Kubectl(program, instance.ready["admin_kubeconfig"], home)


@pytest.fixture
def jane(instance: Instance, admin: Door, new_kubectl: Path, home: Path) -> Iterator[Person]:
    """A standard user who may see the first cluster."""
    people = People(admin)
    person = people()
    management = Kubectl(new_kubectl, instance.ready["admin_kubeconfig"], home)
    management("create", "-f", "-", stdin=_standard(person.name))
    let_see(management, person.name, instance.ready["clusters"][0]["id"])
    until(lambda: person.door.post("/apis/ext.cattle.io/v1/selfusers", SELF).status == 201)
    yield person
    people.drop()


def at(kubectl: Kubectl, path: str, folder: Path) -> Kubectl:
    """The same kubectl at another path of the server."""
    config = yaml.load(Path(kubectl.config).read_bytes())
    cluster = config["clusters"][0]["cluster"]
    base = cluster["server"].partition("/k8s/")[0]
    cluster["server"] = base + path
    target = folder / f"at{path.replace('/', '-')}.yaml"
    target.write_text(yaml.dump(config))
    return kubectl.at(target)


@pytest.mark.parametrize("path", ["", "/k8s/clusters/local", "/k8s/proxy/local"])
def test_every_path_to_the_management_cluster(management: Kubectl, path: str, tmp_path: Path) -> None:
    there = at(management, path, tmp_path)
    assert "gitVersion" in there("version", "-o", "json")
    assert "cattle-system" in there("get", "namespaces")
    assert "local" in there("get", "clusters.management.cattle.io", "-o", "name")
    resources = there("api-resources")
    assert "tokens" in resources
    assert "ext.cattle.io" in resources
    assert "DESCRIPTION" in there(
        "explain", "clusters.spec.displayName", "--api-version=management.cattle.io/v3"
    )
    name = f"probe{len(path)}"
    there("create", "configmap", name, "--from-literal=a=b")
    there("apply", "--server-side", "-f", "-", stdin=_config_map(name))
    assert there.json("get", "configmap", name)["data"] == {"a": "b", "c": "d"}
    with there.background("get", "configmap", name, "--watch", "-o", "name") as watching:
        watching.line(name)
    there("delete", "configmap", name)


def test_the_other_path_to_a_cluster(management: Kubectl, first: dict[str, Any], tmp_path: Path) -> None:
    there = at(management, f"/k8s/proxy/{first['id']}", tmp_path)
    assert "cattle-system" in there("get", "namespaces")
    assert "v1" in there("get", "--raw", "/api")


def test_a_kubeconfig_for_all_clusters(
    instance: Instance, management: Kubectl, jane: Person, first: dict[str, Any], tmp_path: Path
) -> None:
    body = {
        "apiVersion": "ext.cattle.io/v1",
        "kind": "Kubeconfig",
        "metadata": {},
        "spec": {"clusters": ["*"]},
    }
    made = jane.door.post("/apis/ext.cattle.io/v1/kubeconfigs", body)
    assert made.status == 201, made.body
    path = tmp_path / "all.yaml"
    path.write_text(made.json()["status"]["value"])
    everywhere = management.at(path)
    contexts = everywhere("config", "get-contexts", "-o", "name").split()
    assert sorted(contexts) == sorted(["rancher", first["name"]])
    assert everywhere("config", "current-context").strip() == "rancher"
    assert "v1" in everywhere("get", "--raw", "/api", "--context", "rancher")
    refused = everywhere.attempt("get", "nodes", "--context", first["name"])
    assert "Forbidden" in refused.stderr
    assert f'User "{jane.name}"' in refused.stderr
    mine = everywhere("get", "kubeconfigs.ext.cattle.io", "-o", "name", "--context", "rancher")
    assert mine.strip() == f"kubeconfig.ext.cattle.io/{made.json()['metadata']['name']}"


def test_a_cluster_with_an_odd_name(management: Kubectl, admin: Door, tmp_path: Path) -> None:
    odd = 'it\'s "söme" cluster: #1'
    created = admin.post("/v3/clusters", {"type": "cluster", "name": odd, "importedConfig": {}})
    assert created.status == 201, created.body
    try:
        link = created.json()["actions"]["generateKubeconfig"]
        answered = admin.post(link[link.index("/v3/") :], {})
        path = tmp_path / "odd.yaml"
        path.write_text(answered.json()["config"])
        kubectl = management.at(path)
        assert kubectl("config", "current-context").strip() == odd
        entry = kubectl.json("config", "view", "--raw")["clusters"][0]["cluster"]
        assert base64.b64decode(entry["certificate-authority-data"]).startswith(b"-----BEGIN CERTIFICATE")
        # not connected: kubectl would ask again and again
        assert Door.of_kubeconfig(path).get("/version").status == 503
    finally:
        admin.request("DELETE", f"/v3/clusters/{created.json()['id']}")


def test_a_token_of_the_extension_signs_in_everywhere(jane: Person, first: dict[str, Any]) -> None:
    spec = {"description": "ci"}
    body = {"apiVersion": "ext.cattle.io/v1", "kind": "Token", "metadata": {}, "spec": spec}
    made = jane.door.post("/apis/ext.cattle.io/v1/tokens", body).json()
    other = jane.door.with_token(made["status"]["bearerToken"])
    assert other.get("/v3/users?me=true").json()["data"][0]["id"] == jane.name
    assert other.get(f"/k8s/clusters/{first['id']}/version").status == 200
    assert other.get("/apis/ext.cattle.io/v1/tokens").json()["items"][0]["status"]["current"]
    derived = other.post("/v3/tokens", {"type": "token", "description": "child"})
    assert derived.status == 201, derived.body
    steve = other.get("/v1/ext.cattle.io.tokens").json()
    assert [one["id"] for one in steve["data"]] == [made["metadata"]["name"]]
    other.post("/v1/logout", {})
    until(lambda: other.get("/v3/users?me=true").status == 401)
    assert jane.door.get("/v3/users?me=true").status == 200


def test_a_password_changes_by_a_request(jane: Person) -> None:
    new = "another good password"
    spec = {"userID": jane.name, "currentPassword": PASSWORD, "newPassword": new}
    body = {"apiVersion": "ext.cattle.io/v1", "kind": "PasswordChangeRequest", "metadata": {}, "spec": spec}
    changed = jane.door.post("/apis/ext.cattle.io/v1/passwordchangerequests", body)
    assert changed.json()["status"]["summary"] == "Completed", changed.body
    login = {"type": "localProvider", "username": jane.username, "password": new}
    assert jane.door.with_token("").post("/v1-public/login", login).status == 201


SELF = {"apiVersion": "ext.cattle.io/v1", "kind": "SelfUser", "metadata": {}}


def _config_map(name: str) -> str:
    return json.dumps(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"c": "d"}}
    )


def _standard(user: str) -> str:
    return f"""
apiVersion: management.cattle.io/v3
kind: GlobalRoleBinding
metadata: {{generateName: grb-}}
globalRoleName: user
userName: {user}
"""
