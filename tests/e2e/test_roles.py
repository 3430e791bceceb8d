"""The documents' own YAML of roles, by plain kubectl, and what people may then do through the front door."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import until
from tests.support.door import Door
from tests.support.instance import Instance
from tests.support.kubectl import Kubectl
from tests.support.people import People, Person

GROUP = "management.cattle.io/v3"


@pytest.fixture
def people(admin: Door) -> Iterator[People]:
    """Makes users."""
    made = People(admin)
    yield made
    made.drop()


def at(cluster: dict[str, Any], path: str) -> str:
    return f"/k8s/clusters/{cluster['id']}{path}"


def status(person: Person, cluster: dict[str, Any], path: str) -> int:
    return person.door.get(at(cluster, path)).status


def reaches(person: Person, path: str, *expected: int) -> None:
    """Waits until the person gets such an answer there, and says how long that took."""
    begun = time.monotonic()
    while (answer := person.door.get(path)).status not in expected:
        took = time.monotonic() - begun
        assert took < 10, f"{answer.status} and not {expected} after {took:.1f} s: {answer.body[:500]!r}"
        time.sleep(0.05)
    print(f"{answer.status} after {time.monotonic() - begun:.2f} s")


def auth_command(instance: Instance, *arguments: str) -> str:
    """What `outrider auth` says on the server's machine."""
    program = [sys.executable, "-m", "outrider.cli", "auth", "--data", str(instance.data), *arguments]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout if done.returncode == 0 else f"{done.returncode} {done.stderr}"


def test_a_custom_role_in_a_cluster(
    instance: Instance,
    management: Kubectl,
    first: dict[str, Any],
    second: dict[str, Any],
    people: People,
    direct: Kubectl,
) -> None:
    john = people()
    cluster = first["id"]
    assert status(john, first, "/api/v1/nodes") == 404
    manifest = f"""
apiVersion: {GROUP}
kind: RoleTemplate
metadata:
  name: custom-cluster-ops
spec:
  displayName: Cluster Operations
  context: cluster
  roleTemplateNames:
    - nodes-manage
    - projects-view
  rules:
    - apiGroups: ["management.cattle.io"]
      resources: ["clusterevents"]
      verbs: ["get", "list", "watch"]
---
apiVersion: {GROUP}
kind: ClusterRoleTemplateBinding
metadata:
  name: crtb-john-ops
  namespace: {cluster}
spec:
  clusterName: {cluster}
  userName: {john.name}
  roleTemplateName: custom-cluster-ops
"""
    management("apply", "-f", "-", stdin=manifest)
    reaches(john, at(first, "/api/v1/nodes"), 200)
    assert status(john, second, "/api/v1/nodes") == 404
    assert status(john, first, "/api/v1/namespaces/kube-system/secrets") == 403
    question = ("why", john.name, "delete", "nodes", "--cluster", cluster)
    assert auth_command(instance, *question) == (
        f"User {john.name}: ClusterRoleTemplateBinding {cluster}/crtb-john-ops"
        " gives custom-cluster-ops → nodes-manage\n"
    )
    everybody = auth_command(instance, "who-can", "delete", "nodes", "--cluster", cluster)
    assert {john.name, "GlobalRoleBinding"} <= set(everybody.replace(":", "").split())
    # what the document says to look at when something is wrong
    binding = f"clusterroletemplatebinding -n {cluster} crtb-john-ops".split()
    until(lambda: _summaries(management, binding) == ["Completed"] * 3, 10)
    assert cluster in management("get", "clusterrolebinding", "-o", "wide")
    assert "custom-cluster-ops" in direct("get", "clusterrole", "custom-cluster-ops")
    assert john.name in direct("get", "clusterrolebinding", "-o", "wide")
    management("apply", "-f", "-", stdin=manifest)
    assert management("diff", "-f", "-", stdin=manifest) == ""
    management("delete", "-f", "-", stdin=manifest)
    reaches(john, at(first, "/api/v1/nodes"), 404)
    bindings = ("get", "clusterrolebinding", "-l", "outrider.cattle.io/delivered=true", "-o", "wide")
    until(lambda: john.name not in direct(*bindings), 10)
    assert "no binding lets" in auth_command(instance, *question)


def _summaries(kubectl: Kubectl, binding: list[str]) -> list[str]:
    found = json.loads(kubectl("get", *binding, "-o", "json"))["status"]
    return [found.get("summary"), found.get("summaryLocal"), found.get("summaryRemote")]


def test_a_global_role_of_the_hardening_guide(management: Kubectl, people: People) -> None:
    eve = people()
    clusters = "/k8s/clusters/local/apis/management.cattle.io/v3/clusters"
    manifest = f"""
apiVersion: {GROUP}
kind: GlobalRole
metadata:
  name: cluster-viewer
rules:
- apiGroups:
  - management.cattle.io
  resources:
  - clusters
  verbs:
  - get
  - list
  - watch
---
apiVersion: {GROUP}
kind: GlobalRoleBinding
metadata:
  name: grb-eve
globalRoleName: cluster-viewer
userName: {eve.name}
"""
    assert eve.door.get(clusters).status in (403, 404)
    management("apply", "-f", "-", stdin=manifest)
    reaches(eve, clusters, 200)
    assert "grb-eve" in management("get", "globalrolebindings", "-A")
    management("delete", "-f", "-", stdin=manifest)
    reaches(eve, clusters, 403, 404)


def test_a_project_of_a_team(
    management: Kubectl, direct: Kubectl, first: dict[str, Any], people: People
) -> None:
    ann, cluster = people(), first["id"]
    project = json.loads(
        management(
            "create",
            "-o",
            "json",
            "-f",
            "-",
            stdin=json.dumps(
                {
                    "apiVersion": GROUP,
                    "kind": "Project",
                    "metadata": {"generateName": "p-", "namespace": cluster},
                    "spec": {"clusterName": cluster, "displayName": "Web"},
                }
            ),
        )
    )["metadata"]["name"]
    manifest = f"""
apiVersion: {GROUP}
kind: ProjectRoleTemplateBinding
metadata:
  name: platform-team-access
  namespace: {cluster}
spec:
  projectName: {cluster}:{project}
  roleTemplateName: project-member
  userName: {ann.name}
"""
    management("apply", "-f", "-", stdin=manifest)
    space = f"team-{project}"
    direct("create", "namespace", space)
    direct("annotate", "namespace", space, f"field.cattle.io/projectId={cluster}:{project}")
    pods = f"/api/v1/namespaces/{space}/pods"
    reaches(ann, at(first, pods), 200)
    assert status(ann, first, "/api/v1/namespaces/default/pods") == 403
    direct("annotate", "namespace", space, "field.cattle.io/projectId-")
    reaches(ann, at(first, pods), 403)
    direct("delete", "namespace", space, "--wait=false")
    management("delete", "-f", "-", stdin=manifest)
    management("delete", "project", "-n", cluster, project)


def test_the_administrator_is_so_by_a_global_role(
    management: Kubectl, through: Door, direct: Kubectl, people: People, first: dict[str, Any]
) -> None:
    assert through.get("/api/v1/nodes").status == 200
    assert "globaladmin-" in direct("get", "clusterrolebinding")
    chief = people()
    manifest = f"""
apiVersion: {GROUP}
kind: GlobalRoleBinding
metadata:
  name: grb-chief
spec:
  globalRoleName: admin
  userName: {chief.name}
"""
    management("apply", "-f", "-", stdin=manifest)
    secrets = "/api/v1/namespaces/kube-system/secrets"
    reaches(chief, at(first, secrets), 200)
    management("delete", "-f", "-", stdin=manifest)
    reaches(chief, at(first, secrets), 404)
