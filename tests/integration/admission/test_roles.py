"""Nobody gives what they do not hold: the same answer to every way of writing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from outrider.apis.install import install
from outrider.apis.management import (
    CLUSTER_ROLE_TEMPLATE_BINDINGS,
    GLOBAL_ROLE_BINDINGS,
    GLOBAL_ROLES,
    PROJECT_ROLE_BINDINGS,
    PROJECT_ROLE_TEMPLATE_BINDINGS,
    ROLE_TEMPLATES,
)
from outrider.features.rbac.builtin import install_builtin_roles
from outrider.kube.builtin import NAMESPACES, VALIDATINGWEBHOOKCONFIGURATIONS
from outrider.kube.client import Client
from outrider.kube.embedded.cluster import EmbeddedCluster
from outrider.kube.errors import ApiError, Forbidden
from outrider.kube.kind import Kind
from outrider.kube.transport import Request
from outrider.server.registration import NAME
from tests.integration.admission.site import Json, Site, rule, until

ESCALATION = "errors due to escalation"


@pytest.fixture
async def site(admin: Client, api_server: EmbeddedCluster) -> AsyncIterator[Site]:
    """The guards, in force."""
    await install(admin)
    await admin.apply(NAMESPACES, {"metadata": {"name": "cattle-system"}})
    await install_builtin_roles(admin)
    running = Site(admin, api_server.callback_port)
    await running.start()
    yield running
    await running.stop()


def crtb(cluster: str, role: str, **more: str) -> Json:
    fields = {"clusterName": cluster, "roleTemplateName": role, "userName": "u-x"} | more
    return {"metadata": {"generateName": "b-", "namespace": cluster}, **fields}


def prtb(cluster: str, role: str) -> Json:
    fields = {"projectName": f"{cluster}:p-{cluster}", "roleTemplateName": role, "userName": "u-x"}
    return {"metadata": {"generateName": "b-", "namespace": cluster}, **fields}


async def refused(client: Client, kind: Kind[Any], obj: Json, said: str = ESCALATION) -> None:
    with pytest.raises(ApiError, match=said):
        await client.create(kind, obj)


async def test_people_give_what_they_hold_where_they_hold_it(site: Site) -> None:
    owner = await site.person()
    await site.give(owner, "cluster-owner", site.c)
    await owner.create(CLUSTER_ROLE_TEMPLATE_BINDINGS, crtb(site.c, "cluster-member"))
    await owner.create(CLUSTER_ROLE_TEMPLATE_BINDINGS, crtb(site.c, "cluster-owner"))
    await refused(owner, CLUSTER_ROLE_TEMPLATE_BINDINGS, crtb(site.d, "cluster-member"))
    for kind in (PROJECT_ROLE_TEMPLATE_BINDINGS, PROJECT_ROLE_BINDINGS):
        await owner.create(kind, prtb(site.c, "project-owner"))
        await refused(owner, kind, prtb(site.d, "read-only"))
    member = await site.person()
    await site.give(member, "cluster-member", site.c)
    await refused(member, CLUSTER_ROLE_TEMPLATE_BINDINGS, crtb(site.c, "cluster-owner"))
    await member.create(CLUSTER_ROLE_TEMPLATE_BINDINGS, crtb(site.c, "cluster-member", userName="u-y"))


async def test_the_right_to_bind_makes_up_for_all(site: Site) -> None:
    binder = await site.person(rule("bind", "roletemplates", "management.cattle.io", "cluster-owner"))
    await binder.create(CLUSTER_ROLE_TEMPLATE_BINDINGS, crtb(site.d, "cluster-owner"))
    await refused(binder, CLUSTER_ROLE_TEMPLATE_BINDINGS, crtb(site.d, "cluster-member"))


async def test_what_was_made_a_moment_ago_is_known(site: Site) -> None:
    writer = await site.person(rule("get", "*"))
    for number in range(5):
        name, thing = f"just-{site.c}-{number}", f"things{number}"
        things = {"metadata": {"name": name}, "context": "cluster", "rules": [rule("get", thing)]}
        await writer.create(ROLE_TEMPLATES, things)
        await refused(writer, CLUSTER_ROLE_TEMPLATE_BINDINGS, crtb(site.c, name), f"get {thing} in cluster")
        await site.give(writer, name, site.c)
        await writer.create(CLUSTER_ROLE_TEMPLATE_BINDINGS, crtb(site.c, name))


async def test_what_nobody_may_bind(site: Site) -> None:
    bindings = CLUSTER_ROLE_TEMPLATE_BINDINGS
    owner = await site.person()
    await site.give(owner, "cluster-owner", site.c)
    await refused(owner, bindings, crtb(site.c, "not-there"), "was not found: create not-there first")
    await refused(owner, bindings, crtb(site.c, "project-owner"), "its context is not cluster")
    locked = {"metadata": {"name": f"locked-{site.c}"}, "context": "cluster", "locked": True}
    await site.admin.create(ROLE_TEMPLATES, locked)
    await refused(owner, bindings, crtb(site.c, f"locked-{site.c}"), "is locked and cannot be assigned")


async def test_writing_roles(site: Site) -> None:
    writer = await site.person(rule("get", "pods"))
    held = {"metadata": {"name": f"a-{site.c}"}, "context": "cluster", "rules": [rule("get", "pods")]}
    await writer.create(ROLE_TEMPLATES, held)
    wider = {"metadata": {"name": f"b-{site.c}"}, "rules": [rule("get", "secrets")]}
    await refused(writer, ROLE_TEMPLATES, wider)
    await refused(writer, ROLE_TEMPLATES, {"metadata": wider["metadata"], "spec": {"rules": wider["rules"]}})
    await refused(writer, GLOBAL_ROLES, wider)
    heir = {"metadata": {"name": f"b-{site.c}"}, "roleTemplateNames": ["cluster-owner"]}
    await refused(writer, ROLE_TEMPLATES, heir)
    everywhere = {"metadata": {"name": f"b-{site.c}"}, "inheritedClusterRoles": [f"a-{site.c}"]}
    await refused(writer, GLOBAL_ROLES, everywhere, "get pods in every other cluster")
    await refused(
        writer, GLOBAL_ROLE_BINDINGS, {"metadata": {"name": "x"}, "globalRoleName": "admin", "userName": "u"}
    )
    await refused(
        writer,
        GLOBAL_ROLE_BINDINGS,
        {"metadata": {"name": "x"}, "globalRoleName": "restricted-admin", "userName": "u"},
        "restricted-admin was not found",
    )
    # everybody who has it would get more
    await site.admin.create(CLUSTER_ROLE_TEMPLATE_BINDINGS, crtb(site.c, f"a-{site.c}"))
    both = {"rules": [rule("get list", "pods")]}
    escalator = await site.person(rule("get list", "pods"))
    with pytest.raises(Forbidden, match="list pods in cluster"):
        await escalator.patch(ROLE_TEMPLATES, f"a-{site.c}", both)
    await site.give(escalator, "cluster-owner", site.c)
    await escalator.patch(ROLE_TEMPLATES, f"a-{site.c}", both)
    await writer.patch(ROLE_TEMPLATES, f"a-{site.c}", {"displayName": "A"})


async def test_circles_and_removals(site: Site) -> None:
    escalator = await site.person(rule("escalate", "roletemplates", "management.cattle.io"))
    for name, parents in (("a", []), ("b", ["a"]), ("c", ["b"])):
        names = [f"{parent}-{site.c}" for parent in parents]
        await escalator.create(
            ROLE_TEMPLATES, {"metadata": {"name": f"{name}-{site.c}"}, "roleTemplateNames": names}
        )
    with pytest.raises(ApiError, match="circular inheritance is not allowed: a-"):
        await escalator.patch(ROLE_TEMPLATES, f"a-{site.c}", {"roleTemplateNames": [f"c-{site.c}"]})
    with pytest.raises(ApiError, match=f"take it out of RoleTemplate b-{site.c} first"):
        await escalator.delete(ROLE_TEMPLATES, f"a-{site.c}")
    for name in "cba":
        await escalator.delete(ROLE_TEMPLATES, f"{name}-{site.c}")


WAYS = ("PUT", "json", "merge", "apply")
_TYPES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}


async def write(client: Client, way: str, kind: Kind[Any], held: Json, change: Json) -> tuple[int, Json]:
    """Writes fields of an object in one of the ways that the API server knows."""
    path = kind.path(held["metadata"]["name"], held["metadata"].get("namespace", ""))
    head = {"apiVersion": kind.api_version, "kind": kind.kind}
    if way == "PUT":
        body: Any = {**held, **change}
    elif way == "json":
        body = [{"op": "add", "path": f"/{field}", "value": value} for field, value in change.items()]
    elif way == "apply":
        names = {key: held["metadata"][key] for key in ("name", "namespace") if key in held["metadata"]}
        body = {**head, "metadata": names, **change}
        path += "?fieldManager=somebody&force=true"
    else:
        body = change
    headers = [("Content-Type", _TYPES.get(way, "application/json"))]
    method = "PUT" if way == "PUT" else "PATCH"
    answer = await client.raw(
        Request(method=method, path=path, headers=headers, body=msgspec.json.encode(body))
    )
    return answer.status, msgspec.json.decode(answer.body)


@pytest.mark.parametrize("way", [*WAYS, "strategic"])
async def test_every_way_of_writing_meets_the_same_denial(site: Site, way: str) -> None:
    """A matrix: what exists already and gives little is made to give more."""
    writer = await site.person()
    more = [rule("get", "secrets")]
    github = {"userName": "", "userPrincipalName": f"github_user://{site.c}"}
    objects: list[tuple[Kind[Any], Json, Json]] = [
        (ROLE_TEMPLATES, {"metadata": {"name": f"w-{site.c}"}, "context": "cluster"}, {"rules": more}),
        (ROLE_TEMPLATES, {"metadata": {"name": f"x-{site.c}"}, "spec": {}}, {"spec": {"rules": more}}),
        (GLOBAL_ROLES, {"metadata": {"name": f"w-{site.c}"}}, {"rules": more}),
        (GLOBAL_ROLES, {"metadata": {"name": f"x-{site.c}"}}, {"inheritedClusterRoles": ["cluster-member"]}),
        (CLUSTER_ROLE_TEMPLATE_BINDINGS, crtb(site.c, "cluster-member") | github, {"userName": "u-z"}),
        (PROJECT_ROLE_TEMPLATE_BINDINGS, prtb(site.c, "read-only") | github, {"userName": "u-z"}),
        (PROJECT_ROLE_BINDINGS, prtb(site.c, "read-only") | github, {"userName": "u-z"}),
        (
            GLOBAL_ROLE_BINDINGS,
            {"metadata": {"name": f"w-{site.c}"}, "globalRoleName": "admin"} | github,
            {"userName": "u-z"},
        ),
    ]
    for kind, body, change in objects:
        clean = {key: value for key, value in body.items() if value != ""}
        made = await site.admin.create(kind, clean)
        status = 409
        while status == 409:  # a controller has written its status meanwhile
            held = await site.admin.get_json(kind.path(made.metadata.name, made.metadata.namespace))
            status, answer = await write(writer, way, kind, held, change)
        if way == "strategic":
            # the API server has no strategic patch for custom resources, whoever asks
            assert status == 415, answer
            continue
        assert status == 403, (kind, answer)
        assert ESCALATION in answer["message"]
        unchanged = await site.admin.get_json(kind.path(made.metadata.name, made.metadata.namespace))
        assert unchanged["metadata"]["generation"] == held["metadata"]["generation"]


async def test_a_dry_run_tells_the_same(site: Site) -> None:
    writer = await site.person()
    body = {
        "apiVersion": GLOBAL_ROLES.api_version,
        "kind": "GlobalRole",
        "metadata": {"name": "dry"},
        "rules": [rule("*", "*", "*")],
    }
    answer = await writer.raw(
        Request(
            method="POST",
            path=f"{GLOBAL_ROLES.path()}?dryRun=All",
            headers=[("Content-Type", "application/json")],
            body=msgspec.json.encode(body),
        )
    )
    assert answer.status == 403
    assert ESCALATION.encode() in answer.body


async def test_without_a_server_nothing_is_granted(site: Site) -> None:
    """The door is closed: fail closed, for everybody but the server itself."""
    boss = await site.person(rule("*", "*", "*"))
    await boss.create(CLUSTER_ROLE_TEMPLATE_BINDINGS, crtb(site.c, "cluster-member"))
    site.door.close()
    await asyncio.sleep(0.5)
    with pytest.raises(ApiError, match="failed calling webhook"):
        await boss.create(CLUSTER_ROLE_TEMPLATE_BINDINGS, crtb(site.c, "cluster-member", userName="u-q"))
    # and the server itself waits for nobody
    await site.admin.create(CLUSTER_ROLE_TEMPLATE_BINDINGS, crtb(site.c, "cluster-member", userName="u-r"))


async def test_without_a_registration_nothing_is_granted(site: Site) -> None:
    boss = await site.person(rule("*", "*", "*"))

    async def denied() -> bool:
        try:
            await boss.create(CLUSTER_ROLE_TEMPLATE_BINDINGS, crtb(site.c, "cluster-member"))
        except ApiError as error:
            return "no params found" in str(error) or "not registered" in str(error)
        return False

    await site.admin.delete(VALIDATINGWEBHOOKCONFIGURATIONS, NAME)
    await until(denied)
    # the leader puts it back
    repairing = asyncio.create_task(site.registration.run())

    async def granted() -> bool:
        try:
            await boss.create(CLUSTER_ROLE_TEMPLATE_BINDINGS, crtb(site.c, "cluster-member"))
        except ApiError:
            return False
        return True

    await until(granted)
    version = (await site.admin.get(VALIDATINGWEBHOOKCONFIGURATIONS, NAME))["metadata"]["resourceVersion"]
    await asyncio.sleep(0.7)
    again = (await site.admin.get(VALIDATINGWEBHOOKCONFIGURATIONS, NAME))["metadata"]["resourceVersion"]
    assert version == again
    repairing.cancel()
    await asyncio.gather(repairing, return_exceptions=True)
