"""Projects in real clusters: quotas, limits, isolation, and where namespaces belong."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from outrider.apis.management import (
    CLUSTERS,
    GLOBAL_ROLE_BINDINGS,
    GLOBAL_ROLES,
    PROJECT_ROLE_TEMPLATE_BINDINGS,
    PROJECTS,
)
from outrider.kube.builtin import (
    LIMITRANGES,
    NAMESPACES,
    NETWORKPOLICIES,
    RESOURCEQUOTAS,
    ROLEBINDINGS,
    ROLES,
)
from outrider.kube.client import Client
from outrider.kube.errors import Invalid
from outrider.kube.kind import Kind
from tests.support.roles import Site, can, until

PROJECT_ID = "field.cattle.io/projectId"
QUOTA = "field.cattle.io/resourceQuota"
Json = dict[str, Any]


async def project(site: Site, name: str, **spec: Any) -> str:
    body = {"metadata": {"name": name, "namespace": site.c}, "spec": {"clusterName": site.c, **spec}}
    await site.here.create(PROJECTS, body)
    return f"{site.c}:{name}"


async def space(site: Site, name: str, project: str, **annotations: Any) -> str:
    said = {f"field.cattle.io/{key}": text for key, text in annotations.items()}
    metadata = {"name": f"{site.c}-{name}", "annotations": {PROJECT_ID: project, **said}}
    await site.there.create(NAMESPACES, {"metadata": metadata})
    return f"{site.c}-{name}"


def asks(**limit: str) -> str:
    return json.dumps({"limit": limit})


async def hard(client: Client, namespace: str) -> Json | None:
    found = await client.get_or_none(RESOURCEQUOTAS, "default-quota", namespace)
    return found["spec"]["hard"] if found else None


async def annotations(client: Client, namespace: str) -> Json:
    found = await client.get_or_none(NAMESPACES, namespace)
    return (found["metadata"].get("annotations") or {}) if found else {}


async def validated(client: Client, namespace: str) -> Json:
    said = json.loads((await annotations(client, namespace)).get("cattle.io/status", '{"Conditions": []}'))
    return {one["Type"]: one for one in said["Conditions"]}.get("ResourceQuotaValidated", {})


async def used(site: Site, name: str) -> Json:
    found = await site.here.get(PROJECTS, name, site.c)
    quota = found.spec.resource_quota
    return (quota.used_limit or {}) if quota else {}


async def gone(client: Client, kind: Kind[Any], name: str, namespace: str = "") -> bool:
    return await client.get_or_none(kind, name, namespace) is None


async def equals(call: Any, expected: Any) -> bool:
    return bool(await call == expected)


async def test_quotas_are_split_and_reported(site: Site) -> None:
    there = site.there
    one = await project(
        site,
        "p-quota",
        resourceQuota={"limit": {"limitsCpu": "2", "configMaps": "20"}},
        namespaceDefaultResourceQuota={"limit": {"limitsCpu": "500m", "configMaps": "5"}},
        containerDefaultResourceLimit={"limitsCpu": "100m", "requestsCpu": "50m"},
    )
    web, db = await space(site, "web", one), await space(site, "db", one, resourceQuota=asks(limitsCpu="1"))
    await until(lambda: equals(hard(there, web), {"limits.cpu": "500m", "configmaps": "5"}))
    await until(lambda: equals(hard(there, db), {"limits.cpu": "1", "configmaps": "5"}))
    limits = await there.get(LIMITRANGES, "default-limits", web)
    assert limits["spec"]["limits"][0]["default"] == {"cpu": "100m"}
    assert limits["spec"]["limits"][0]["defaultRequest"] == {"cpu": "50m"}
    await until(lambda: equals(used(site, "p-quota"), {"limitsCpu": "1500m", "configMaps": "10"}))
    assert (await validated(there, web))["Status"] == "True"

    # more than there is: marked, and what it had stays
    await there.patch(NAMESPACES, web, {"metadata": {"annotations": {QUOTA: asks(limitsCpu="3")}}})

    async def refused() -> Any:
        return (await validated(there, web)).get("Status") == "False"

    await until(refused)
    assert "limitsCpu: 3, and 1 can be had" in (await validated(there, web))["Message"]
    assert (await hard(there, web) or {})["limits.cpu"] == "500m"
    # a later one that does not fit gets nothing
    late = await space(site, "late", one, resourceQuota=asks(limitsCpu="1"))
    await until(lambda: equals(hard(there, late), {"limits.cpu": "0", "configmaps": "0"}))
    # the owner of the project gives it more; all have what they ask for
    more = {"spec": {"resourceQuota": {"limit": {"limitsCpu": "5"}}}}
    await site.here.patch(PROJECTS, "p-quota", more, site.c)
    await until(lambda: equals(hard(there, web), {"limits.cpu": "3", "configmaps": "5"}))
    await until(lambda: equals(hard(there, late), {"limits.cpu": "1", "configmaps": "5"}))
    await until(lambda: equals(used(site, "p-quota"), {"limitsCpu": "5", "configMaps": "15"}))
    # nothing is taken from those who have it, and no namespace gets more than the project
    less = {"spec": {"resourceQuota": {"limit": {"limitsCpu": "4"}}}}
    with pytest.raises(Invalid, match="in use"):
        await site.here.patch(PROJECTS, "p-quota", less, site.c)

    # out of the project: no quota any more
    await there.patch(NAMESPACES, db, {"metadata": {"annotations": {PROJECT_ID: None}}})
    await until(lambda: gone(there, RESOURCEQUOTAS, "default-quota", db))
    await until(lambda: gone(there, LIMITRANGES, "default-limits", db))
    await until(lambda: equals(used(site, "p-quota"), {"limitsCpu": "4", "configMaps": "10"}))
    none = {"spec": {"resourceQuota": None, "namespaceDefaultResourceQuota": None}}
    await site.here.patch(PROJECTS, "p-quota", none, site.c)
    await until(lambda: gone(there, RESOURCEQUOTAS, "default-quota", web))
    await clean(site, "p-quota", web, db, late)


async def clean(site: Site, name: str, *namespaces: str) -> None:
    await site.here.delete(PROJECTS, name, site.c)
    await until(lambda: gone(site.here, PROJECTS, name, site.c), 60)
    for namespace in namespaces:
        left = await annotations(site.there, namespace)
        assert not any("cattle.io" in key for key in left if key not in (QUOTA,)), left
        await site.there.delete(NAMESPACES, namespace)


async def test_a_project_that_goes_lets_go_of_its_namespaces(site: Site) -> None:
    here, there = site.here, site.there
    one = await project(site, "p-going")
    theirs, ours = await space(site, "theirs", one), await space(site, "ours", one, creatorId="u-1")
    beside = {"projectName": one, "roleTemplateName": "project-member", "userName": "u-going"}
    metadata = {"name": "beside", "namespace": site.c}
    await here.create(PROJECT_ROLE_TEMPLATE_BINDINGS, {"metadata": metadata, **beside})
    await until(lambda: can(there, "u-going", "create", "configmaps", theirs))
    await until(lambda: reported(site))
    site.offline.add(site.c)
    await here.delete(PROJECTS, "p-going", site.c)

    async def waits() -> Any:
        found = await here.get(PROJECTS, "p-going", site.c)
        conditions = {one.type: one.message for one in found.status.conditions}
        return f"cluster {site.c}" in conditions.get("NamespacesReleased", "")

    await until(waits)
    await until(lambda: gone(here, PROJECT_ROLE_TEMPLATE_BINDINGS, "beside", site.c))
    site.offline.clear()
    site.controller.enqueue((await here.get(CLUSTERS, site.c)).key)
    await until(lambda: gone(here, PROJECTS, "p-going", site.c), 60)
    await until(lambda: gone(there, NAMESPACES, ours))
    left = await there.get(NAMESPACES, theirs)
    assert PROJECT_ID not in (left["metadata"].get("annotations") or {})
    await until(lambda: unmarked(there, theirs))
    assert not await can(there, "u-going", "create", "configmaps", theirs)
    assert not (await there.list(ROLEBINDINGS, theirs)).items
    await there.delete(NAMESPACES, theirs)


async def reported(site: Site) -> bool:
    return (await site.here.get(CLUSTERS, site.c)).status.applied_state is not None


async def unmarked(client: Client, namespace: str) -> bool:
    found = await client.get(NAMESPACES, namespace)
    labels = found["metadata"].get("labels") or {}
    return PROJECT_ID not in labels and "cattle.io/status" not in (found["metadata"].get("annotations") or {})


async def test_standard_projects_get_their_namespaces(site: Site) -> None:
    here, there = site.here, site.there

    async def standard() -> dict[str, str]:
        return {one.spec.display_name: one.metadata.name for one in (await here.list(PROJECTS, site.c)).items}

    await until(lambda: has_both(standard))
    names = await standard()
    default, system = (f"{site.c}:{names[one]}" for one in ("Default", "System"))

    async def projects() -> tuple[str, str]:
        found = [(await annotations(there, one)).get(PROJECT_ID, "") for one in ("default", "kube-system")]
        return found[0], found[1]

    await until(lambda: equals(projects(), (default, system)))

    async def assigned() -> Any:
        found = [await here.get(PROJECTS, names[one], site.c) for one in ("Default", "System")]
        kinds = [{c.type for c in one.status.conditions if c.status == "True"} for one in found]
        return "DefaultNamespacesAssigned" in kinds[0] and "SystemNamespacesAssigned" in kinds[1]

    await until(assigned)
    # whoever takes `default` out, or puts a system namespace elsewhere, has decided that
    await there.patch(NAMESPACES, "default", {"metadata": {"annotations": {PROJECT_ID: None}}})
    await there.patch(NAMESPACES, "kube-system", {"metadata": {"annotations": {PROJECT_ID: default}}})
    await asyncio.sleep(0.5)
    assert await projects() == ("", default)
    # a system namespace without a project returns, and so does one that appears
    await there.patch(NAMESPACES, "kube-system", {"metadata": {"annotations": {PROJECT_ID: None}}})
    await there.create(NAMESPACES, {"metadata": {"name": "cattle-logging"}})
    await until(lambda: equals(projects(), ("", system)))

    async def joined() -> Any:
        return (await annotations(there, "cattle-logging")).get(PROJECT_ID) == system

    await until(joined)
    await there.delete(NAMESPACES, "cattle-logging")


async def has_both(standard: Any) -> bool:
    return set(await standard()) == {"Default", "System"}


async def test_projects_are_kept_apart(site: Site) -> None:
    here, there = site.here, site.there
    one = await project(site, "p-apart")
    web = await space(site, "apart", one)
    await here.patch(CLUSTERS, site.c, {"spec": {"enableNetworkPolicy": True}})
    await until(lambda: there.get_or_none(NETWORKPOLICIES, "np-default", web))
    policy = await there.get(NETWORKPOLICIES, "np-default", web)
    system = next(p for p in (await here.list(PROJECTS, site.c)).items if p.spec.display_name == "System")
    sources = policy["spec"]["ingress"][0]["from"]
    friends = [one["namespaceSelector"]["matchLabels"][PROJECT_ID] for one in sources]
    assert friends == ["p-apart", system.metadata.name]
    assert policy["spec"]["podSelector"] == {}
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    assert policy["metadata"]["labels"]["cattle.io/creator"] == "norman"
    assert not (await there.list(NETWORKPOLICIES, "kube-system")).items

    # nodes may reach it, once they are known
    node = {
        "metadata": {"name": "m-1", "namespace": site.c},
        "spec": {"internalNodeSpec": {"podCIDR": "10.42.3.0/24"}},
    }
    from outrider.apis.management import NODES

    await here.create(NODES, node)
    await until(lambda: there.get_or_none(NETWORKPOLICIES, "hn-nodes", web))
    nodes = await there.get(NETWORKPOLICIES, "hn-nodes", web)
    assert nodes["spec"]["ingress"][0]["from"] == [{"ipBlock": {"cidr": "10.42.3.0/32"}}]

    async def told() -> Any:
        record = await here.get(CLUSTERS, site.c)
        said = record.metadata.annotations.get("networking.management.cattle.io/enable-network-policy")
        return (said, record.status.applied_enable_network_policy) == ("true", True)

    await until(told)
    # foreign hands are healed; a namespace that leaves loses it; turning it off removes all
    await there.delete(NETWORKPOLICIES, "np-default", web)
    await until(lambda: there.get_or_none(NETWORKPOLICIES, "np-default", web))
    await there.patch(NAMESPACES, web, {"metadata": {"annotations": {PROJECT_ID: None}}})
    await until(lambda: gone(there, NETWORKPOLICIES, "np-default", web))
    await there.patch(NAMESPACES, web, {"metadata": {"annotations": {PROJECT_ID: one}}})
    await until(lambda: there.get_or_none(NETWORKPOLICIES, "np-default", web))
    await here.patch(CLUSTERS, site.c, {"spec": {"enableNetworkPolicy": False}})
    await until(lambda: gone(there, NETWORKPOLICIES, "np-default", web))
    await until(lambda: equals(isolated(site), False))
    await here.delete(NODES, "m-1", site.c)
    await clean(site, "p-apart", web)


async def isolated(site: Site) -> bool | None:
    return (await site.here.get(CLUSTERS, site.c)).status.applied_enable_network_policy


async def test_rules_in_namespaces_that_come_later(site: Site) -> None:
    here, there = site.here, site.there
    place = f"{site.c}-late"
    rule = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]
    role = {"metadata": {"name": "gr-late"}, "inheritedNamespacedRules": {place: rule}}
    await here.create(GLOBAL_ROLES, role)
    binding = {"metadata": {"name": "grb-late"}, "globalRoleName": "gr-late", "userName": "u-late"}
    await here.create(GLOBAL_ROLE_BINDINGS, binding)

    async def completed() -> Any:
        given = (await here.get(GLOBAL_ROLES, "gr-late")).status
        bound = (await here.get(GLOBAL_ROLE_BINDINGS, "grb-late")).status
        kinds = {one.type for one in given.conditions if one.status == "True"}
        states = (given.summary, given.observed_generation, bound.summary)
        return states == ("Completed", 1, "Completed") and len(kinds) == 4

    # a namespace that is not there is no error
    await until(completed)
    await there.create(NAMESPACES, {"metadata": {"name": place}})
    await until(lambda: can(there, "u-late", "get", "configmaps", place))
    await here.delete(GLOBAL_ROLE_BINDINGS, "grb-late")
    await here.delete(GLOBAL_ROLES, "gr-late")
    await until(lambda: gone(there, ROLES, f"gr-late-{place}", place))
    await there.delete(NAMESPACES, place)
