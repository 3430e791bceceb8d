"""`/v1` inside a cluster that is reached through its tunnel, through the front door."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from tests.support.door import Door
from tests.support.kubectl import Kubectl
from tests.support.people import People, let_see, same


@pytest.fixture
def root(first: dict[str, Any]) -> str:
    return f"/k8s/clusters/{first['id']}/v1"


def test_kinds_of_the_cluster_are_served_as_kubectl_sees_them(
    admin: Door, first: dict[str, Any], root: str, direct: Kubectl, namespace: str
) -> None:
    schemas = {one["id"]: one for one in admin.get(f"{root}/schemas").json()["data"]}
    link = schemas["configmap"]["links"]["collection"]
    assert link == f"{admin.url}{root}/configmaps"
    assert schemas["apps.deployment"]["attributes"]["columns"][1]["name"] == "Ready"
    body = {"type": "configmap", "metadata": {"name": "one", "namespace": namespace}, "data": {"a": "b"}}
    made = admin.post(f"{root}/configmaps", body)
    assert (made.status, made.json()["id"]) == (201, f"{namespace}/one")
    direct("--namespace", namespace, "create", "configmap", "two")
    path = f"{root}/configmaps/{namespace}?sort=-metadata.name&pagesize=2&filter=metadata.name!=kube"
    listed = admin.get(path).json()
    native = json.loads(direct("--namespace", namespace, "get", "configmaps", "-o", "json"))
    names = sorted((one["metadata"]["name"] for one in native["items"]), reverse=True)
    assert [one["metadata"]["name"] for one in listed["data"]] == [
        name for name in names if "kube" not in name
    ]
    (two,) = (one for one in listed["data"] if one["metadata"]["name"] == "two")
    assert two["links"]["view"] == (
        f"{admin.url}/k8s/clusters/{first['id']}/api/v1/namespaces/{namespace}/configmaps/two"
    )
    assert admin.get(two["links"]["view"].removeprefix(admin.url)).json().get("data") == two.get("data")
    two["data"] = {"c": "d"}
    assert admin.request("PUT", f"{root}/configmaps/{namespace}/two", two).status == 200
    assert direct("--namespace", namespace, "get", "configmap", "two", "-o", "jsonpath={.data.c}") == "d"
    assert admin.request("DELETE", f"{root}/configmaps/{namespace}/two").status == 204
    assert "two" not in direct("--namespace", namespace, "get", "configmaps", "-o", "name")


def test_the_management_cluster_has_one_root_by_two_names(admin: Door) -> None:
    for root in ("/v1", "/k8s/clusters/local/v1"):
        shown = admin.get(f"{root}/management.cattle.io.settings/server-version").json()
        assert shown["links"]["self"] == f"{admin.url}{root}/management.cattle.io.settings/server-version"


def test_somebody_sees_in_the_cluster_what_its_own_roles_let_them(
    admin: Door, first: dict[str, Any], root: str, management: Kubectl, direct: Kubectl, namespace: str
) -> None:
    people = People(admin)
    try:
        jane = people()
        unknown = jane.door.get(f"/k8s/clusters/c-{uuid4().hex[:5]}/v1/configmaps")
        assert unknown.status == 404
        assert same(jane.door.get(f"{root}/configmaps"), unknown)
        let_see(management, jane.name, first["id"])
        direct(
            "--namespace",
            namespace,
            "create",
            "rolebinding",
            "r",
            "--clusterrole=view",
            f"--user={jane.name}",
        )
        assert jane.door.get(f"{root}/configmaps/{namespace}").status == 200
        assert jane.door.get(f"{root}/configmaps").status == 403
        refused = jane.door.post(f"{root}/configmaps", {"metadata": {"name": "x", "namespace": namespace}})
        assert (refused.status, refused.json()["code"]) == (403, "Forbidden")
    finally:
        people.drop()


def test_who_has_not_signed_in_is_told_so(door: Door, root: str) -> None:
    assert door.get(f"{root}/pods").status == 401
