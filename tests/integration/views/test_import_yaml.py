"""Manifests through `importYaml`, as the user."""

from __future__ import annotations

import pytest

from outrider.kube.builtin import CONFIGMAPS, NAMESPACES
from tests.integration.views.conftest import Plane
from tests.support.norman_client import Refused

MANIFEST = """
apiVersion: v1
kind: ConfigMap
metadata: {{name: one}}
data: {{a: b}}
---
apiVersion: v1
kind: Namespace
metadata: {{name: {name}}}
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
  metadata: {{name: two, namespace: {name}}}
"""


async def test_a_manifest_with_its_namespace_and_project(plane: Plane, unique: str) -> None:
    client = await (await plane.administrator()).norman()
    local = await client.by_id("cluster", "local")
    text = MANIFEST.format(name=unique)
    done = await client.act(
        local, "importYaml", yaml=text, defaultNamespace=unique, projectId="local:p-abcde"
    )
    assert done["type"] == "importYamlOutput"
    assert done["message"].splitlines() == [
        f"namespace/{unique} applied",
        "configmap/one applied",
        "configmap/two applied",
    ]
    assert (await plane.client.get(CONFIGMAPS, "one", unique))["data"] == {"a": "b"}
    namespace = await plane.client.get(NAMESPACES, unique)
    assert namespace["metadata"]["annotations"]["field.cattle.io/projectId"] == "local:p-abcde"
    with pytest.raises(Refused) as elsewhere:
        await client.act(local, "importYaml", yaml=text, defaultNamespace=unique, projectId="local:p-other")
    assert (elsewhere.value.status, "another project" in elsewhere.value.error["message"]) == (400, True)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"yaml": "a: [b"}, 400),
        ({"yaml": "just text"}, 400),
        ({"yaml": "kind: ConfigMap"}, 400),
        ({"yaml": "apiVersion: v1\nkind: Nonsense\nmetadata: {name: x}"}, 404),
        ({"yaml": MANIFEST.format(name="x"), "projectId": "c-other:p-1"}, 422),
        (
            {"yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: a}", "namespace": "b"},
            400,
        ),
    ],
)
async def test_refusals(plane: Plane, body: dict[str, str], status: int) -> None:
    client = await (await plane.administrator()).norman()
    local = await client.by_id("cluster", "local")
    with pytest.raises(Refused) as refused:
        await client.act(local, "importYaml", **body)
    assert refused.value.status == status


async def test_who_may_see_a_cluster_may_not_write_to_it(plane: Plane, unique: str) -> None:
    jane = await plane.person()
    await jane.may("get", resource="clusters", names=["local"])
    client = await jane.norman()
    local = await client.by_id("cluster", "local")
    with pytest.raises(Refused) as refused:
        await client.act(local, "importYaml", yaml=MANIFEST.format(name=unique))
    assert refused.value.status == 403
    assert await plane.client.get_or_none(NAMESPACES, unique) is None
