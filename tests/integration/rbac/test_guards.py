"""What people may do with the namespaces of a cluster, as its own API server judges."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from outrider.apis.management import PROJECT_ROLE_TEMPLATE_BINDINGS, PROJECTS, ROLE_TEMPLATES
from outrider.kube.builtin import NAMESPACES
from outrider.kube.client import Client
from outrider.kube.errors import Forbidden
from outrider.kube.identity import Identity
from tests.support.roles import Site, can, until

PROJECT_ID = "field.cattle.io/projectId"
ENFORCE = "pod-security.kubernetes.io/enforce"
MOVE = "manage-namespaces on that project"
SECURITY = "updatepsa on the namespace's project"


@pytest.fixture
async def projects(site: Site) -> list[str]:
    """Two projects; `u-own` owns the first one, and `u-psa` may set pod security there as well."""
    names = [f"p-{site.c[2:]}{n}" for n in "ab"]
    for name in names:
        metadata = {"name": name, "namespace": site.c}
        await site.here.create(PROJECTS, {"metadata": metadata, "spec": {"clusterName": site.c}})
    psa = {"apiGroups": ["management.cattle.io"], "resources": ["projects"], "verbs": ["updatepsa"]}
    guard = {"context": "project", "roleTemplateNames": ["project-owner"], "rules": [psa]}
    await site.here.apply(ROLE_TEMPLATES, {"metadata": {"name": "psa-owner"}, **guard})
    for user, role in (("u-own", "project-owner"), ("u-psa", "psa-owner")):
        binding = {"projectName": f"{site.c}:{names[0]}", "roleTemplateName": role, "userName": user}
        metadata = {"name": f"b-{user}", "namespace": site.c}
        await site.here.create(PROJECT_ROLE_TEMPLATE_BINDINGS, {"metadata": metadata, **binding})
        await until(lambda user=user: can(site.there, user, "create", "namespaces"))  # type: ignore[misc]
    await until(lambda: _in_force(site, names[1]))
    return names


async def _in_force(site: Site, foreign: str) -> bool:
    """An API server heeds a new policy a moment after it was stored."""
    probe = f"{site.c}-probe"
    try:
        await person(site, "u-own").create(NAMESPACES, space(probe, f"{site.c}:{foreign}"))
    except Forbidden:
        return True
    await site.there.delete(NAMESPACES, probe)
    await until(lambda: _is_gone(site.there, probe))
    return False


async def _is_gone(client: Client, namespace: str) -> bool:
    return await client.get_or_none(NAMESPACES, namespace) is None


def person(site: Site, name: str) -> Client:
    return site.there.as_user(Identity(user=name, groups=("system:authenticated",)))


def space(name: str, project: str = "", **labels: str) -> dict[str, Any]:
    annotations = {PROJECT_ID: project} if project else {}
    return {"metadata": {"name": name, "annotations": annotations, "labels": labels}}


async def eventually(action: Callable[[], Awaitable[Any]]) -> None:
    """Roles of a new namespace are there a moment after it."""
    for _ in range(200):
        try:
            await action()
        except Forbidden as error:
            last = error
            await asyncio.sleep(0.05)
        else:
            return
    raise last


async def test_moving_namespaces(site: Site, projects: list[str]) -> None:
    mine, other = (f"{site.c}:{name}" for name in projects)
    own = person(site, "u-own")
    with pytest.raises(Forbidden, match=MOVE):
        await own.create(NAMESPACES, space(f"{site.c}-x", other))
    with pytest.raises(Forbidden):  # who may create only cannot apply what is not there
        await own.apply(NAMESPACES, space(f"{site.c}-x", other))
    await eventually(lambda: own.create(NAMESPACES, space(f"{site.c}-web", mine)))
    name = f"{site.c}-web"
    await eventually(lambda: own.patch(NAMESPACES, name, {"metadata": {"labels": {"a": "b"}}}))
    for project in (other, f"{site.c}:p-none", "nonsense", ":"):
        change = {"metadata": {"annotations": {PROJECT_ID: project}}}
        with pytest.raises(Forbidden, match=MOVE):
            await own.patch(NAMESPACES, name, change)
        path = f"/metadata/annotations/{PROJECT_ID.replace('/', '~1')}"
        with pytest.raises(Forbidden, match=MOVE):
            await own.patch(NAMESPACES, name, [{"op": "replace", "path": path, "value": project}])
        with pytest.raises(Forbidden, match=MOVE):
            await own.apply(NAMESPACES, space(name, project))
    with pytest.raises(Forbidden):
        await own.patch(NAMESPACES, "default", {"metadata": {"annotations": {PROJECT_ID: mine}}})
    await site.there.patch(NAMESPACES, name, {"metadata": {"annotations": {PROJECT_ID: other}}})


async def test_pod_security(site: Site, projects: list[str]) -> None:
    mine = f"{site.c}:{projects[0]}"
    own, psa = person(site, "u-own"), person(site, "u-psa")
    name = f"{site.c}-safe"
    await eventually(lambda: own.create(NAMESPACES, space(name, mine)))
    with pytest.raises(Forbidden, match=SECURITY):
        await own.create(NAMESPACES, space(f"{name}r", mine, **{ENFORCE: "privileged"}))
    await eventually(lambda: own.patch(NAMESPACES, name, {"metadata": {"labels": {"a": "b"}}}))
    change = {"metadata": {"labels": {ENFORCE: "privileged"}}}
    with pytest.raises(Forbidden, match=SECURITY):
        await own.patch(NAMESPACES, name, change)
    with pytest.raises(Forbidden, match=SECURITY):
        await own.apply(NAMESPACES, space(name, mine, **{ENFORCE: "privileged"}))
    await eventually(lambda: psa.patch(NAMESPACES, name, change))
    # what is there stays, whoever writes; taking it away is a change
    await own.patch(NAMESPACES, name, {"metadata": {"labels": {"a": "c"}}})
    with pytest.raises(Forbidden, match=SECURITY):
        await own.patch(NAMESPACES, name, {"metadata": {"labels": {ENFORCE: None}}})
