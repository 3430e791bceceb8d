"""`/v3` inside a cluster that is reached through its tunnel."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from tests.support.kubectl import Kubectl


def test_namespaces_and_workloads_through_the_clusters_root(
    admin: Any, first: dict[str, Any], direct: Kubectl
) -> None:
    name = f"views-{uuid4().hex[:6]}"
    root = f"/v3/clusters/{first['id']}"
    opened = admin.get(root)
    assert opened.header("x-api-schemas").endswith(f"/v3/cluster/{first['id']}/schemas")
    schemas = admin.get(f"/v3/cluster/{first['id']}/schemas").json()["data"]
    assert {"namespace", "pod", "workload"} <= {one["id"] for one in schemas}
    body = {"type": "namespace", "name": name, "description": "d", "containerDefaultResourceLimit": {}}
    made = admin.post(f"{root}/namespaces", body)
    assert (made.status, made.json()["id"], made.json()["description"]) == (201, name, "d")
    assert name in direct("get", "namespaces", "-o", "name")
    listed = admin.get(f"/v3/cluster/{first['id']}/namespaces?name={name}").json()["data"]
    assert [one["name"] for one in listed] == [name]
    assert admin.get(f"{root}/workloads").status == 200
    assert admin.get(f"{root}/pods").status == 200
    missing = admin.get("/v3/cluster/c-nope/namespaces")
    assert (missing.status, missing.json()["code"]) == (404, "NotFound")
