"""Nobody comes to hold more than they were given: published advisories about roles, bindings and projects."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.conftest import until
from tests.support.door import Answer, Door
from tests.support.kubectl import Kubectl
from tests.support.people import Person, let_see

Json = dict[str, Any]
OURS = "management.cattle.io"
ROOT = f"/k8s/clusters/local/apis/{OURS}/v3"
MERGE = {"Content-Type": "application/merge-patch+json"}
APPLY = {"Content-Type": "application/apply-patch+yaml"}
REVIEW = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
ESCALATION = b"errors due to escalation"
PROJECT = "field.cattle.io/projectId"


def rule(verbs: str, resources: str, group: str = "") -> Json:
    return {"verbs": verbs.split(), "resources": resources.split(), "apiGroups": [group]}


def refused(answer: Answer, *words: bytes) -> bool:
    return answer.status == 403 and all(word in answer.body for word in words)


class Stage:
    """Makes objects as the administrator, and takes them away at the end."""

    def __init__(self, administrator: Door, cluster: str, other: str) -> None:
        self.administrator = administrator
        self.cluster, self.other = cluster, other
        self._made: list[str] = []

    def make(self, plural: str, namespace: str = "", **body: Any) -> str:
        """An object of ours; returns its name."""
        where = f"{ROOT}/namespaces/{namespace}/{plural}" if namespace else f"{ROOT}/{plural}"
        metadata = {"generateName": "t-", **body.pop("metadata", {})}
        made = self.administrator.post(where, {**_head(plural), "metadata": metadata, **body})
        assert made.status == 201, made.body
        name = str(made.json()["metadata"]["name"])
        self._made.append(f"{where}/{name}")
        return name

    def project(self, cluster: str = "") -> str:
        """A project that has its namespace."""
        cluster = cluster or self.cluster
        name = self.make("projects", cluster, spec={"clusterName": cluster})
        path = f"{ROOT}/namespaces/{cluster}/projects/{name}"
        until(lambda: self.administrator.get(path).json().get("status", {}).get("backingNamespace"), 10)
        return name

    def template(self, *rules: Json, context: str = "cluster", **more: Any) -> str:
        """A role template."""
        return self.make("roletemplates", context=context, rules=list(rules), **more)

    def bind(self, role: str, person: Person, cluster: str = "", project: str = "") -> None:
        """A role in a cluster or project."""
        cluster = cluster or self.cluster
        subject = {"roleTemplateName": role, "userName": person.name}
        if project:
            self.make("projectroletemplatebindings", cluster, projectName=f"{cluster}:{project}", **subject)
        else:
            self.make("clusterroletemplatebindings", cluster, clusterName=cluster, **subject)

    def drop(self) -> None:
        """Deletes all of it."""
        for path in reversed(self._made):
            self.administrator.request("DELETE", path)


def _head(plural: str) -> Json:
    kinds = {
        "projects": "Project",
        "roletemplates": "RoleTemplate",
        "globalroles": "GlobalRole",
        "globalrolebindings": "GlobalRoleBinding",
        "clusterroletemplatebindings": "ClusterRoleTemplateBinding",
        "projectroletemplatebindings": "ProjectRoleTemplateBinding",
    }
    return {"apiVersion": f"{OURS}/v3", "kind": kinds[plural]}


@pytest.fixture
def stage(administrator: Door, first: Json, second: Json) -> Iterator[Stage]:
    made = Stage(administrator, first["id"], second["id"])
    yield made
    made.drop()


@pytest.fixture
def insider(person: Callable[[], Person], management: Kubectl) -> Callable[[], Person]:
    """Somebody who may talk to the management cluster."""

    def make() -> Person:
        one = person()
        let_see(management, one.name, "local")
        until(lambda: one.door.get("/k8s/clusters/local/version").status == 200, 10)
        return one

    return make


def in_cluster(stage: Stage, role: str, user: str, cluster: str = "") -> tuple[str, Json]:
    """Where a binding is written, and the binding."""
    cluster = cluster or stage.cluster
    fields = {"clusterName": cluster, "roleTemplateName": role, "userName": user}
    body = {**_head("clusterroletemplatebindings"), "metadata": {"generateName": "t-"}, **fields}
    return f"{ROOT}/namespaces/{cluster}/clusterroletemplatebindings", body


def in_project(cluster: str, project: str, role: str, user: str) -> tuple[str, Json]:
    fields = {"projectName": f"{cluster}:{project}", "roleTemplateName": role, "userName": user}
    body = {**_head("projectroletemplatebindings"), "metadata": {"generateName": "t-"}, **fields}
    return f"{ROOT}/namespaces/{cluster}-{project}/projectroletemplatebindings", body


def allows(door: Door, user: str, verb: str, resource: str, namespace: str = "", **more: str) -> bool:
    """What a cluster's own API server says; `groups` are given with commas between them."""
    groups = [*filter(None, more.pop("groups", "").split(",")), "system:authenticated"]
    asked = {"verb": verb, "resource": resource, "namespace": namespace, **more}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": groups, "resourceAttributes": asked},
    }
    return bool(door.post(REVIEW, body).json()["status"]["allowed"])


def test_cve_2019_14436_the_owner_of_a_project_gives_nothing_in_its_cluster(
    stage: Stage, insider: Callable[[], Person]
) -> None:
    project, owner, friend = stage.project(), insider(), insider()
    stage.bind("project-owner", owner, project=project)
    own = in_project(stage.cluster, project, "project-owner", friend.name)
    until(lambda: owner.door.get(own[0]).status == 200, 10)
    for path, body in (
        in_cluster(stage, "cluster-owner", owner.name),
        in_cluster(stage, "cluster-member", owner.name),
        in_cluster(stage, "cluster-member", owner.name, stage.other),
    ):
        assert refused(owner.door.post(path, body)), path
    rbac = f"/k8s/clusters/local/apis/rbac.authorization.k8s.io/v1/namespaces/{stage.cluster}"
    role = {"metadata": {"name": "x"}, "rules": [rule("*", "*", "*")]}
    assert refused(owner.door.post(f"{rbac}/roles", role))
    assert refused(owner.door.post(f"{rbac}/rolebindings", {"metadata": {"name": "x"}}))
    # what is theirs to give, they give
    given = owner.door.post(*own)
    assert given.status == 201, given.body
    owner.door.request("DELETE", f"{own[0]}/{given.json()['metadata']['name']}")


def test_cve_2022_31247_nobody_binds_above_or_beside_what_they_have(
    stage: Stage, insider: Callable[[], Person]
) -> None:
    mine, foreign, manager = stage.project(), stage.project(), insider()
    bindings = rule("*", "clusterroletemplatebindings projectroletemplatebindings", OURS)
    role = stage.template(bindings, rule("get", "pods"))
    higher, higher_project = (
        stage.template(rule("get", "secrets")),
        stage.template(rule("get", "secrets"), context="project"),
    )
    stage.bind(role, manager)
    allowed = in_cluster(stage, role, "somebody")
    until(lambda: manager.door.get(allowed[0]).status == 200, 10)
    for path, body in (
        in_cluster(stage, higher, manager.name),
        in_cluster(stage, "cluster-owner", manager.name),
        in_project(stage.cluster, mine, higher_project, manager.name),
        in_project(stage.cluster, foreign, "project-owner", manager.name),
    ):
        until(lambda path=path: manager.door.get(path).status == 200, 10)  # may write there
        assert refused(manager.door.post(path, body), ESCALATION), (path, body)
    assert refused(manager.door.post(*in_cluster(stage, role, manager.name, stage.other)))
    norman = {"clusterId": stage.cluster, "roleTemplateId": higher, "userId": manager.name}
    answer = manager.door.post("/v3/clusterRoleTemplateBindings", norman)
    assert refused(answer, ESCALATION)
    given = manager.door.post(*allowed)
    assert given.status == 201, given.body
    stage.administrator.request("DELETE", f"{allowed[0]}/{given.json()['metadata']['name']}")


def test_cve_2021_36784_who_writes_roles_writes_none_above_their_own(
    stage: Stage, insider: Callable[[], Person], allowed: Callable[..., Any]
) -> None:
    writer = insider()
    allowed(writer.name, "get,create,update,patch", f"globalroles.{OURS},roletemplates.{OURS}")
    until(lambda: writer.door.get(f"{ROOT}/globalroles/user").status == 200, 10)
    name = f"t-{uuid4().hex[:8]}"
    for plural, fields in (
        ("globalroles", {"rules": [rule("*", "*", "*")]}),
        ("globalroles", {"rules": [rule("impersonate", "users")]}),
        ("globalroles", {"namespacedRules": {"cattle-system": [rule("get", "secrets")]}}),
        ("globalroles", {"inheritedClusterRoles": ["cluster-owner"]}),
        ("globalroles", {"inheritedNamespacedRules": {"kube-system": [rule("get", "secrets")]}}),
        ("roletemplates", {"rules": [rule("get", "secrets")], "context": "cluster"}),
        ("roletemplates", {"roleTemplateNames": ["cluster-owner"], "context": "cluster"}),
        ("roletemplates", {"external": True, "externalRules": [], "context": "cluster"}),
    ):
        body = {**_head(plural), "metadata": {"name": name}}
        assert refused(writer.door.post(f"{ROOT}/{plural}", body | fields), ESCALATION), fields
        assert refused(writer.door.post(f"{ROOT}/{plural}", body | {"spec": fields}), ESCALATION), fields
    harmless = stage.make("globalroles")
    for headers, extra in ((MERGE, {}), (APPLY, {**_head("globalroles"), "metadata": {"name": harmless}})):
        path = f"{ROOT}/globalroles/{harmless}?fieldManager=x"
        body = extra | {"rules": [rule("*", "*", "*")]}
        assert refused(writer.door.request("PATCH", path, body, headers), ESCALATION)
    renamed = writer.door.request(
        "PATCH", f"{ROOT}/globalroles/{harmless}", {"displayName": "Harmless"}, MERGE
    )
    assert renamed.status == 200


def test_cve_2023_32196_what_an_external_role_holds_counts(
    stage: Stage, insider: Callable[[], Person], management: Kubectl
) -> None:
    name = f"t-{uuid4().hex[:8]}"
    management("create", "clusterrole", name, "--verb=*", "--resource=secrets")
    external = stage.make("roletemplates", metadata={"name": name}, context="project", external=True)
    project, manager = stage.project(), insider()
    lower = stage.template(
        rule("*", "projectroletemplatebindings", OURS), rule("get", "pods"), context="project"
    )
    stage.bind(lower, manager, project=project)
    path, body = in_project(stage.cluster, project, external, manager.name)
    until(lambda: manager.door.get(path).status == 200, 10)
    assert refused(manager.door.post(path, body), ESCALATION, b"secrets")
    # nor by a template that inherits it
    heir = stage.make("roletemplates", context="project", roleTemplateNames=[external])
    assert refused(
        manager.door.post(*in_project(stage.cluster, project, heir, manager.name)), ESCALATION, b"secrets"
    )
    given = manager.door.post(*in_project(stage.cluster, project, lower, "somebody"))
    assert given.status == 201, given.body
    management("delete", "clusterrole", name)


def test_cve_2023_32194_who_may_make_namespaces_does_not_own_all_of_them(
    stage: Stage, insider: Callable[[], Person]
) -> None:
    maker = insider()
    role = stage.make("globalroles", rules=[rule("create", "namespaces")])
    stage.make("globalrolebindings", globalRoleName=role, userName=maker.name)
    namespaces, name = "/k8s/clusters/local/api/v1/namespaces", f"t-{uuid4().hex[:8]}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    until(lambda: maker.door.post(namespaces, body).status == 201, 10)
    for target in (name, "default", "cattle-system"):
        assert refused(maker.door.request("DELETE", f"{namespaces}/{target}"))
        patch = {"metadata": {"labels": {"a": "b"}}}
        assert refused(maker.door.request("PATCH", f"{namespaces}/{target}", patch, MERGE))
    stage.administrator.request("DELETE", f"{namespaces}/{name}")


def test_cve_2021_25318_a_rule_counts_in_its_own_group_only(
    stage: Stage, person: Callable[[], Person], straight: Door
) -> None:
    one = person()
    stage.bind(stage.template(rule("get", "deployments", "apps")), one)
    until(lambda: allows(straight, one.name, "get", "deployments", group="apps"), 10)
    for group in ("", "extensions", "apps.example.io", "*"):
        assert not allows(straight, one.name, "get", "deployments", group=group), group


def test_cve_2021_36775_a_group_that_leaves_a_project_leaves_nothing(
    stage: Stage, straight: Door, direct: Kubectl, administrator: Door
) -> None:
    project, group = stage.project(), f"okta_group://{uuid4().hex[:8]}"
    space = f"t-{uuid4().hex[:8]}"
    direct("create", "namespace", space)
    direct("annotate", "namespace", space, f"{PROJECT}={stage.cluster}:{project}")
    fields = {"projectName": f"{stage.cluster}:{project}", "roleTemplateName": "project-owner"}
    binding = stage.make("projectroletemplatebindings", stage.cluster, groupPrincipalName=group, **fields)
    until(lambda: allows(straight, "u", "delete", "secrets", space, groups=group), 10)
    until(lambda: allows(straight, "u", "list", "persistentvolumes", groups=group), 10)
    path = f"{ROOT}/namespaces/{stage.cluster}/projectroletemplatebindings/{binding}"
    assert administrator.request("DELETE", path).status == 200
    kinds = "clusterrolebindings,rolebindings"
    until(lambda: group not in direct("get", kinds, "-A", "-o", "json"), 10)
    assert not allows(straight, "u", "delete", "secrets", space, groups=group)
    assert not allows(straight, "u", "list", "persistentvolumes", groups=group)
    everything = administrator.get(
        "/k8s/clusters/local/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    )
    assert group.encode() not in everything.body
    direct("delete", "namespace", space, "--wait=false")


@pytest.mark.parametrize("where", ["cluster", "local"])
def test_cve_2020_10676_a_namespace_joins_no_foreign_project(
    where: str, stage: Stage, insider: Callable[[], Person], straight: Door, administrator: Door
) -> None:
    cluster = stage.cluster if where == "cluster" else "local"
    mine, foreign, owner = stage.project(cluster), stage.project(cluster), insider()
    stage.bind("project-owner", owner, cluster=cluster, project=mine)
    namespaces, name = f"/k8s/clusters/{cluster}/api/v1/namespaces", f"t-{uuid4().hex[:8]}"

    def space(project: str, name: str = name) -> Json:
        annotations = {PROJECT: f"{cluster}:{project}"}
        metadata = {"name": name, "annotations": annotations}
        return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}

    until(lambda: owner.door.post(namespaces, space(mine)).status == 201, 15)
    assert refused(owner.door.post(namespaces, space(foreign, f"{name}-b")), b"manage-namespaces")
    until(lambda: owner.door.get(f"{namespaces}/{name}").status == 200, 15)
    path = f"{namespaces}/{name}"
    held = owner.door.get(path).json()
    moved = {**held, "metadata": held["metadata"] | space(foreign)["metadata"]}
    patch = json.dumps(
        [{"op": "add", "path": "/metadata/annotations", "value": {PROJECT: f"{cluster}:{foreign}"}}]
    ).encode()
    strategic = {"Content-Type": "application/strategic-merge-patch+json"}
    for answer in (
        owner.door.request("PUT", path, moved),
        owner.door.request("PATCH", path, space(foreign), MERGE),
        owner.door.request("PATCH", path, space(foreign), strategic),
        owner.door.request("PATCH", f"{path}?fieldManager=x&force=true", space(foreign), APPLY),
        owner.door.request("PATCH", path, patch, {"Content-Type": "application/json-patch+json"}),
    ):
        assert answer.status in (403, 409), answer.body
        assert b"manage-namespaces" in answer.body or answer.status == 409
    assert owner.door.get(path).json()["metadata"]["annotations"][PROJECT] == f"{cluster}:{mine}"
    administrator.request("DELETE", path)


def test_cve_2026_41052_pod_security_takes_a_right_of_its_own(
    stage: Stage, insider: Callable[[], Person], administrator: Door
) -> None:
    project, owner = stage.project(), insider()
    stage.bind("project-owner", owner, project=project)
    cluster = stage.cluster
    namespaces, name = f"/k8s/clusters/{cluster}/api/v1/namespaces", f"t-{uuid4().hex[:8]}"
    label = {"pod-security.kubernetes.io/enforce": "privileged"}

    def space(labels: Json, name: str = name) -> Json:
        metadata = {"name": name, "annotations": {PROJECT: f"{cluster}:{project}"}, "labels": labels}
        return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}

    until(lambda: owner.door.post(namespaces, space({})).status == 201, 15)
    path = f"{namespaces}/{name}"
    until(lambda: owner.door.get(path).status == 200, 15)
    assert refused(owner.door.post(namespaces, space(label, f"{name}-b")), b"updatepsa")
    held = owner.door.get(path).json()
    put = {**held, "metadata": held["metadata"] | {"labels": label}}
    for answer in (
        owner.door.request("PUT", path, put),
        owner.door.request("PATCH", path, {"metadata": {"labels": label}}, MERGE),
        owner.door.request("PATCH", f"{path}?fieldManager=x", space(label), APPLY),
    ):
        assert answer.status in (403, 409), answer.body
        assert b"updatepsa" in answer.body or answer.status == 409
    assert not label.keys() & (owner.door.get(path).json()["metadata"].get("labels") or {}).keys()
    administrator.request("DELETE", path)
