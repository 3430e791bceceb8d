"""The policies on roles, bindings and projects, as the real API server judges what different people do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from outrider.apis.management import (
    CLUSTER_ROLE_TEMPLATE_BINDINGS,
    CLUSTERS,
    GLOBAL_ROLES,
    PROJECTS,
    ROLE_TEMPLATES,
)
from outrider.apis.management.group import CREATOR_BINDINGS, CREATOR_ID
from outrider.features.rbac.builtin import install_builtin_roles
from outrider.kube.builtin import CLUSTERROLEBINDINGS, CLUSTERROLES
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


@pytest.mark.usefixtures("enforced")
async def test_a_binding_speaks_of_its_own_cluster(admin: Client, namespace: str) -> None:
    wrong = crtb(namespace, "cluster-member", clusterName="other")
    await attempt(admin, CLUSTER_ROLE_TEMPLATE_BINDINGS, wrong, "must be the same value")
    spelled = {"metadata": wrong["metadata"], "spec": {k: v for k, v in wrong.items() if k != "metadata"}}
    await attempt(admin, CLUSTER_ROLE_TEMPLATE_BINDINGS, spelled, "must be the same value")


@pytest.mark.usefixtures("enforced")
async def test_the_creator_of_an_object_is_whoever_makes_it(
    somebody: Callable[..., Any], namespace: str, unique: str
) -> None:
    ann = await somebody(allowed("*", "clusters"))
    mine = {CREATOR_ID: ann.identity.user}
    for kind, place, spec in (
        (CLUSTERS, {}, {"displayName": unique}),
        (PROJECTS, {"namespace": namespace}, {"clusterName": namespace}),
    ):
        for number, (given, refused) in enumerate(
            (
                (mine, ""),
                ({}, ""),
                ({CREATOR_ID: "user-bob"}, "creatorID annotation does not match user"),
                (mine | {CREATOR_BINDINGS: "{}"}, "the server's own record"),
            )
        ):
            name = f"{unique}-{number}"
            metadata = {"name": name, **place, "annotations": given}
            await attempt(ann, kind, {"metadata": metadata, "spec": spec}, refused)
        for patch in ({CREATOR_ID: "user-bob"}, {CREATOR_BINDINGS: '{"required":["cluster-owner"]}'}):
            with pytest.raises(ApiError, match=r"creatorID annotation|creatorId is set when|own record"):
                await ann.patch(
                    kind, f"{unique}-0", {"metadata": {"annotations": patch}}, place.get("namespace", "")
                )
        with pytest.raises(ApiError, match=r"creatorID annotation|creatorId is set when"):
            await ann.patch(
                kind, f"{unique}-1", {"metadata": {"annotations": mine}}, place.get("namespace", "")
            )
        gone = {"metadata": {"annotations": {CREATOR_ID: None}}}
        await ann.patch(kind, f"{unique}-0", gone, place.get("namespace", ""))


@pytest.mark.usefixtures("enforced")
async def test_what_a_creator_was_given_is_the_servers_record(
    somebody: Callable[..., Any], admin: Client, namespace: str, unique: str
) -> None:
    ann = await somebody()
    record = {CREATOR_BINDINGS: '{"required":[],"created":[]}'}
    metadata = {"name": unique, "namespace": namespace, "annotations": record}
    await admin.create(PROJECTS, {"metadata": metadata, "spec": {"clusterName": namespace}})
    await ann.patch(PROJECTS, unique, {"spec": {"displayName": "x"}}, namespace)
    for value in (None, '{"required":["project-owner"],"created":[]}'):
        with pytest.raises(Forbidden, match="the server's own record"):
            await ann.patch(
                PROJECTS, unique, {"metadata": {"annotations": {CREATOR_BINDINGS: value}}}, namespace
            )


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
