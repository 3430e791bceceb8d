"""The policies on roles, bindings and projects, as the real API server judges what different people do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from outrider.apis.management import (
    CLUSTER_ROLE_TEMPLATE_BINDINGS,
    GLOBAL_ROLE_BINDINGS,
    GLOBAL_ROLES,
    PROJECT_ROLE_BINDINGS,
    PROJECT_ROLE_TEMPLATE_BINDINGS,
    PROJECTS,
    ROLE_TEMPLATES,
)
from outrider.apis.role_policies import LOCKED, TEMPLATE_INDEX
from outrider.features.rbac.builtin import install_builtin_roles
from outrider.kube.builtin import CLUSTERROLEBINDINGS, CLUSTERROLES, CONFIGMAPS, NAMESPACES
from outrider.kube.client import Client
from outrider.kube.errors import ApiError, Forbidden, Invalid
from outrider.kube.identity import Identity
from outrider.kube.kind import Kind

Json = dict[str, Any]
REVIEWS = "authorization.k8s.io/v1"
RBAC = "rbac.authorization.k8s.io"
PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
BINDINGS = ["clusterroletemplatebindings", "projectroletemplatebindings", "projectrolebindings"]
WRITER = [
    {
        "apiGroups": ["management.cattle.io"],
        "resources": [*BINDINGS, "globalrolebindings", "roletemplates", "globalroles", "projects"],
        "verbs": ["get", "create", "update", "patch", "delete"],
    }
]


@pytest.fixture
async def enforced(crds: None, admin: Client) -> None:
    """Policies take effect a moment after they were stored; the built-in roles are there."""
    await install_builtin_roles(admin)
    bad = {"metadata": {"name": "probe", "namespace": "default"}}
    bad |= {"clusterName": "other", "roleTemplateName": "x", "userName": "x"}
    for _ in range(100):
        try:
            await admin.create(CLUSTER_ROLE_TEMPLATE_BINDINGS, bad)
        except Invalid:
            return
        await admin.delete(CLUSTER_ROLE_TEMPLATE_BINDINGS, "probe", "default")
        await asyncio.sleep(0.1)
    pytest.fail("the policies are not in force after 10 s")


def allowed(verb: str, resource: str, *names: str) -> Json:
    rule: Json = {"apiGroups": ["management.cattle.io"], "resources": [resource], "verbs": [verb]}
    return rule | ({"resourceNames": list(names)} if names else {})


@pytest.fixture
def somebody(admin: Client) -> Callable[..., Any]:
    """A new user who may write all these objects, and what else is said."""

    async def make(*rules: Json) -> Client:
        name = f"user-{uuid4().hex[:8]}"
        await admin.create(CLUSTERROLES, {"metadata": {"name": name}, "rules": [*WRITER, *rules]})
        await admin.create(
            CLUSTERROLEBINDINGS,
            {
                "metadata": {"name": name},
                "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
                "subjects": [{"apiGroup": RBAC, "kind": "User", "name": name}],
            },
        )
        client = admin.as_user(Identity(user=name, groups=("system:authenticated",)))
        asked = {"group": "management.cattle.io", "resource": "projects", "verb": "delete"}
        review = {"kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": asked}}
        for _ in range(100):
            answer = await client.post(
                f"/apis/{REVIEWS}/selfsubjectaccessreviews", {"apiVersion": REVIEWS} | review
            )
            if answer["status"]["allowed"]:
                return client
            await asyncio.sleep(0.05)
        pytest.fail("the new role is not in force")

    return make


async def attempt(client: Client, kind: Kind[Any], obj: Json, refused: str = "") -> None:
    """Create it, or be refused with these words."""
    if refused:
        with pytest.raises(ApiError, match=refused):
            await client.create(kind, obj)
    else:
        await client.create(kind, obj)


def crtb(namespace: str, role: str, **more: Any) -> Json:
    fields = {"clusterName": namespace, "roleTemplateName": role, "userName": "user-x"} | more
    return {"metadata": {"generateName": "b-", "namespace": namespace}, **fields}


def prtb(namespace: str, project: str, role: str) -> Json:
    fields = {"projectName": project, "roleTemplateName": role, "userName": "user-x"}
    return {"metadata": {"generateName": "b-", "namespace": namespace}, **fields}


ESCALATION = "errors due to escalation"


@pytest.mark.usefixtures("enforced")
async def test_a_binding_speaks_of_its_own_cluster(admin: Client, namespace: str) -> None:
    wrong = crtb(namespace, "cluster-member", clusterName="other")
    await attempt(admin, CLUSTER_ROLE_TEMPLATE_BINDINGS, wrong, "must be the same value")
    spelled = {"metadata": wrong["metadata"], "spec": {k: v for k, v in wrong.items() if k != "metadata"}}
    await attempt(admin, CLUSTER_ROLE_TEMPLATE_BINDINGS, spelled, "must be the same value")


@pytest.mark.usefixtures("enforced")
async def test_templates_that_cannot_be_given(admin: Client, namespace: str, unique: str) -> None:
    binding = await admin.create(CLUSTER_ROLE_TEMPLATE_BINDINGS, crtb(namespace, unique))
    contexts = {unique: f"cluster{LOCKED}", "project-owner": "project", "cluster-owner": "cluster"}
    index = {"metadata": {"name": TEMPLATE_INDEX, "namespace": "cattle-system"}, "data": contexts}
    await admin.apply(NAMESPACES, {"metadata": {"name": "cattle-system"}})
    await admin.apply(CONFIGMAPS, index)
    for _ in range(100):
        try:
            made = await admin.create(CLUSTER_ROLE_TEMPLATE_BINDINGS, crtb(namespace, unique))
        except Invalid as error:
            said = str(error)
            break
        await admin.delete(CLUSTER_ROLE_TEMPLATE_BINDINGS, made.metadata.name, namespace)
        await asyncio.sleep(0.05)
    else:
        pytest.fail("the lock was not seen")
    assert f"referenced role {unique} is locked and cannot be assigned" in said
    # old bindings go on, and can be edited
    labels = {"metadata": {"labels": {"a": "b"}}}
    await admin.patch(CLUSTER_ROLE_TEMPLATE_BINDINGS, binding.metadata.name, labels, namespace)
    context = "its context is not cluster"
    await attempt(admin, CLUSTER_ROLE_TEMPLATE_BINDINGS, crtb(namespace, "project-owner"), context)
    for kind in (PROJECT_ROLE_TEMPLATE_BINDINGS, PROJECT_ROLE_BINDINGS):
        await attempt(admin, kind, prtb(namespace, "c:p", "cluster-owner"), "its context is not project")
        await attempt(admin, kind, prtb(namespace, "c:p", "project-owner"))


@pytest.mark.usefixtures("enforced")
async def test_who_may_give_a_role_in_a_cluster(
    somebody: Callable[..., Any], admin: Client, namespace: str
) -> None:
    kind = CLUSTER_ROLE_TEMPLATE_BINDINGS
    nobody = await somebody()
    await attempt(
        nobody, GLOBAL_ROLE_BINDINGS, {"metadata": {"name": "x"}}, "must target"
    )  # may write at all
    await attempt(nobody, kind, crtb(namespace, "cluster-member"), ESCALATION)
    binder = await somebody(allowed("bind", "roletemplates", "cluster-member"))
    await attempt(binder, kind, crtb(namespace, "cluster-member"))
    await attempt(binder, kind, crtb(namespace, "cluster-owner"), ESCALATION)
    owner = await somebody(allowed("own", "clusters", namespace))
    await attempt(owner, kind, crtb(namespace, "cluster-owner"))
    await attempt(owner, kind, crtb("default", "cluster-owner"), ESCALATION)
    given = await admin.create(
        kind, crtb(namespace, "cluster-owner", userName="", userPrincipalName="github_user://1")
    )
    # completing a binding gives a role, too
    with pytest.raises(Forbidden, match=ESCALATION):
        await nobody.patch(kind, given.metadata.name, {"userName": "user-x"}, namespace)
    await nobody.patch(kind, given.metadata.name, {"metadata": {"labels": {"a": "b"}}}, namespace)
    await owner.patch(kind, given.metadata.name, {"userName": "user-x"}, namespace)


@pytest.mark.usefixtures("enforced")
@pytest.mark.parametrize("kind", [PROJECT_ROLE_TEMPLATE_BINDINGS, PROJECT_ROLE_BINDINGS], ids=repr)
async def test_who_may_give_a_role_in_a_project(
    kind: Kind[Any], somebody: Callable[..., Any], namespace: str
) -> None:
    nobody = await somebody()
    await attempt(nobody, kind, prtb(namespace, "c-1:p-1", "read-only"), ESCALATION)
    owner = await somebody(allowed("own", "projects", "p-1"))
    await attempt(owner, kind, prtb(namespace, "c-1:p-1", "read-only"))
    await attempt(owner, kind, prtb(namespace, "c-1:p-2", "read-only"), ESCALATION)
    cluster_owner = await somebody(allowed("own", "clusters", "c-1"))
    await attempt(cluster_owner, kind, prtb(namespace, "c-1:p-2", "project-owner"))
    await attempt(cluster_owner, kind, prtb(namespace, "c-2:p-2", "project-owner"), ESCALATION)


@pytest.mark.usefixtures("enforced")
async def test_who_may_write_roles(somebody: Callable[..., Any], unique: str) -> None:
    nobody = await somebody()
    role = {"metadata": {"name": unique}, "rules": [PODS]}
    await attempt(nobody, ROLE_TEMPLATES, role, ESCALATION)
    await attempt(nobody, GLOBAL_ROLES, {**role, "spec": {"rules": [PODS]}, "rules": None}, ESCALATION)
    author = await somebody(allowed("escalate", "roletemplates"), allowed("escalate", "globalroles"))
    await attempt(author, ROLE_TEMPLATES, role)
    await attempt(author, GLOBAL_ROLES, role)
    for kind in (ROLE_TEMPLATES, GLOBAL_ROLES):
        with pytest.raises(Forbidden, match=ESCALATION):
            await nobody.patch(kind, unique, {"rules": [PODS, PODS]})
        with pytest.raises(Forbidden, match=ESCALATION):
            await nobody.patch(kind, unique, {"rules": None, "spec": {"rules": [PODS, PODS]}})
        await nobody.patch(kind, unique, {"displayName": "still theirs"})
    binding = {"metadata": {"generateName": "b-"}, "globalRoleName": unique, "userName": "user-x"}
    await attempt(author, GLOBAL_ROLE_BINDINGS, binding, ESCALATION)
    binder = await somebody(allowed("bind", "globalroles", unique))
    await attempt(binder, GLOBAL_ROLE_BINDINGS, binding)


@pytest.mark.usefixtures("enforced")
async def test_builtin_roles_are_kept_from_everybody_else(somebody: Callable[..., Any], unique: str) -> None:
    chief = await somebody({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]})
    for kind, name, chosen in (
        (ROLE_TEMPLATES, "read-only", "locked"),
        (GLOBAL_ROLES, "user", "newUserDefault"),
    ):
        await attempt(chief, kind, {"metadata": {"name": unique}})
        new = {"metadata": {"name": f"{unique}-b"}, "builtin": True}
        await attempt(chief, kind, new, f"cannot create builtin {kind.kind}s")
        for patch in ({"rules": [PODS]}, {"displayName": "x"}, {"rules": None, "spec": {}}):
            with pytest.raises((Forbidden, Invalid), match=r"are forbidden|under spec or at the top|builtin"):
                await chief.patch(kind, name, patch)
        with pytest.raises(Forbidden, match=f"cannot delete builtin {kind.kind}s"):
            await chief.delete(kind, name)
        await chief.patch(kind, name, {chosen: True})
        await chief.patch(kind, name, {chosen: None})


@pytest.mark.usefixtures("enforced")
async def test_projects(admin: Client, namespace: str) -> None:
    stray = {"metadata": {"name": "p-1", "namespace": namespace}, "spec": {"clusterName": "other"}}
    await attempt(admin, PROJECTS, stray, "a project is in its cluster's namespace")
    labels = {"authz.management.cattle.io/system-project": "true"}
    system = {"metadata": {"name": "p-1", "namespace": namespace, "labels": labels}}
    await attempt(admin, PROJECTS, system | {"spec": {"clusterName": namespace}})
    with pytest.raises(Forbidden, match="System Project cannot be deleted"):
        await admin.delete(PROJECTS, "p-1", namespace)


@pytest.mark.usefixtures("enforced")
async def test_a_second_start_writes_no_builtin_role(admin: Client) -> None:
    assert await install_builtin_roles(admin) == 0
    changed = {"rules": [PODS], "displayName": "Other", "locked": True}
    await admin.patch(ROLE_TEMPLATES, "view", changed)
    assert await install_builtin_roles(admin) == 1
    view = await admin.get(ROLE_TEMPLATES, "view")
    assert (view.rules, view.display_name, view.locked) == (None, "Kubernetes view", True)
    await admin.patch(ROLE_TEMPLATES, "view", {"locked": None})
