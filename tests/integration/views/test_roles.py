"""Roles, bindings and projects by a Norman client (the controllers that act on them do not run here)."""

from __future__ import annotations

import asyncio

import pytest

from outrider.apis.management.global_role import GLOBAL_ROLES
from outrider.apis.management.project import PROJECTS
from outrider.kube.builtin import NAMESPACES
from tests.integration.views.conftest import BASE, Plane
from tests.support.norman_client import Refused

RULE = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}


async def test_roles_come_back_as_written(plane: Plane, unique: str) -> None:
    person = await plane.administrator()
    recorder = person.recorder()
    client = await person.norman(recorder)
    template = await client.create("roleTemplate", name=unique, context="project", rules=[RULE], locked=True)
    assert (template["name"], template["context"], template["rules"]) == (unique, "project", [RULE])
    assert (template["locked"], template["builtin"]) == (True, False)
    changed = await client.update(template, name=f"{unique}-2", rules=[RULE, RULE], locked=False)
    assert (changed["name"], len(changed["rules"]), changed["locked"]) == (f"{unique}-2", 2, False)
    with pytest.raises(Refused) as wrong:
        await client.create("roleTemplate", name="x", context="galaxy")
    assert wrong.value.error["code"] == "InvalidOption"
    role = await client.create("globalRole", name=unique, rules=[RULE])
    binding = await client.create("globalRoleBinding", globalRoleId=role["id"], userId=person.identity.user)
    assert (binding["globalRoleId"], binding["userId"]) == (role["id"], person.identity.user)
    with pytest.raises(Refused) as missing:
        await client.create("globalRoleBinding", userId="x")
    assert (missing.value.status, missing.value.error["fieldName"]) == (422, "globalRoleId")
    for one in (binding, role, changed):
        await client.delete(one)
    assert await recorder.unbacked() == []


async def test_a_role_that_is_spelled_under_spec_stays_so(plane: Plane, unique: str) -> None:
    client = await (await plane.administrator()).norman()
    await plane.client.create(
        GLOBAL_ROLES, {"metadata": {"name": unique}, "spec": {"displayName": "Spelled", "rules": [RULE]}}
    )
    role = await client.by_id("globalRole", unique)
    assert (role["name"], role["rules"]) == ("Spelled", [RULE])
    assert "spec" not in role
    changed = await client.update(role, name="Changed")
    assert (changed["name"], changed["rules"]) == ("Changed", [RULE])
    stored = await plane.client.get(GLOBAL_ROLES, unique)
    assert (stored.spec or {})["displayName"] == "Changed"
    await client.delete(changed)


async def test_a_project_is_a_root_and_holds_bindings(plane: Plane, unique: str) -> None:
    person = await plane.administrator()
    client = await person.norman()
    local = await client.by_id("cluster", "local")
    async with asyncio.timeout(20):
        while await plane.client.get_or_none(NAMESPACES, "local") is None:
            await asyncio.sleep(0.05)
    project = await client.create("project", clusterId=local["id"], name=unique, description="d")
    name = project["id"].partition(":")[2]
    assert (project["id"], project["name"], project["clusterId"]) == (f"local:{name}", unique, "local")
    listed = await client.list("project", clusterId="local", name=unique)
    assert [one["id"] for one in listed] == [project["id"]]
    opened = await person.send()("GET", f"/v3/projects/{project['id']}", None)
    assert opened.headers["x-api-schemas"] == f"{BASE}/v3/project/{project['id']}/schemas"
    inside = await client.root(project)
    assert {"pod", "workload", "namespace"} <= set(inside.types)
    made = await inside.create("namespace", name=unique)
    assert made["projectId"] == project["id"]
    assert [one["id"] for one in await inside.list("namespace")] == [unique]
    with pytest.raises(Refused) as early:
        await client.create(
            "projectRoleTemplateBinding", projectId=project["id"], roleTemplateId="x", userId="y"
        )
    assert early.value.status == 409
    backing = f"local-{name}"
    await plane.client.create(NAMESPACES, {"metadata": {"name": backing}})
    await plane.client.patch(
        PROJECTS, name, {"status": {"backingNamespace": backing}}, "local", subresource="status"
    )
    template = await client.create("roleTemplate", name=unique, context="project", rules=[RULE])
    binding = await client.create(
        "projectRoleTemplateBinding",
        projectId=project["id"],
        roleTemplateId=template["id"],
        userId=person.identity.user,
    )
    assert (binding["projectId"], binding["namespaceId"]) == (project["id"], backing)
    of_project = await client.follow(project, "projectRoleTemplateBindings")
    assert [one["id"] for one in of_project["data"]] == [binding["id"]]
    of_cluster = await client.create(
        "clusterRoleTemplateBinding", clusterId="local", roleTemplateId=template["id"], userId="someone"
    )
    assert (of_cluster["clusterId"], of_cluster["roleTemplateId"]) == ("local", template["id"])
