"""Whatever the real API server lets in decodes: one odd object must not stop a controller."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outrider.apis.crd import root_schema
from outrider.apis.kinds import KINDS
from outrider.apis.management import CLUSTERS
from outrider.kube.client import Client
from outrider.kube.kind import Kind
from outrider.kube.transport import Request
from tests.support.structural import allowed

pytestmark = pytest.mark.usefixtures("crds")

_JSON = [("Content-Type", "application/json")]
_MERGE = [("Content-Type", "application/merge-patch+json")]


@pytest.mark.parametrize("kind", KINDS, ids=repr)
async def test_random_objects(kind: Kind[Any], admin: Client, namespace: str, unique: str) -> None:
    place = namespace if kind.namespaced else ""
    accepted = 0
    # Unknown fields are kept everywhere, so that one set serves all kinds.
    required = {"spec": {"displayName": "one", "clusterName": place}, "userId": "user-ann"}

    @given(data=st.data())
    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def draw(data: st.DataObject) -> None:
        bodies.append(data.draw(allowed(root_schema(kind.type))))

    bodies: list[dict[str, Any]] = []
    draw()
    for body in bodies:
        merged = _merge(body, _bound(kind, place) or required)
        if _bound(kind, place):
            merged.pop("spec", None)
        merged["metadata"] = {"name": unique} | ({"namespace": place} if place else {})
        merged |= {"apiVersion": kind.api_version, "kind": kind.kind}
        path = kind.path(namespace=place)
        answer = await admin.raw(
            Request(method="POST", path=path, headers=_JSON, body=msgspec.json.encode(merged))
        )
        assert answer.status in (201, 422), answer.body
        if answer.status == 201:
            accepted += 1
            assert kind.key(kind.decode(answer.body)).name == unique
            await admin.delete(kind, unique, place)
    assert accepted


def _bound(kind: Kind[Any], place: str) -> dict[str, Any]:
    """What makes something random a binding that is let in; nothing for other kinds."""
    if not kind.plural.endswith("bindings"):
        return {}
    fixed = dict.fromkeys(("userPrincipalName", "groupName", "groupPrincipalName", "serviceAccount"), "")
    names = {"clusterName": place, "roleTemplateName": "ops", "globalRoleName": "ops", "projectName": "c:p"}
    return fixed | names | {"userName": "user-ann"}


def _merge(body: dict[str, Any], fixed: dict[str, Any]) -> dict[str, Any]:
    merged = dict(body)
    for name, value in fixed.items():
        below = merged.get(name)
        merged[name] = below | value if isinstance(value, dict) and isinstance(below, dict) else value
    return merged


@pytest.mark.parametrize(
    "status",
    [
        b'{"nodeCount": 3.0}',
        b'{"nodeCount": 1e3}',
        b'{"nodeCount": -0}',
        b'{"nodeCount": null, "conditions": null, "info": null, "capacity": null}',
        b'{"capacity": {"cpu": 1.0, "memory": "1Gi"}}',
        b'{"appliedSpec": {"x": 1e308, "y": 99999999999999999999999, "z": null}}',
        b'{"state": "\\ud800"}',
        b'{"conditions": [{"type": "Ready"}, {"type": "Other", "status": "True", "lastUpdateTime": "never"}]}',
    ],
)
async def test_odd_values(status: bytes, admin: Client, unique: str) -> None:
    await admin.create(CLUSTERS, {"metadata": {"name": unique}, "spec": {"displayName": "one"}})
    path = CLUSTERS.path(unique, subresource="status")
    body = b'{"status": ' + status + b"}"
    answer = await admin.raw(Request(method="PATCH", path=path, headers=_MERGE, body=body))
    assert answer.status == 200, answer.body
    assert (await admin.get(CLUSTERS, unique)).metadata.name == unique
    listed = await admin.list(CLUSTERS)
    assert listed.rejected == []
    await admin.delete(CLUSTERS, unique)


@pytest.mark.parametrize(
    "status",
    [
        b'{"nodeCount": 9223372036854775808}',
        b'{"nodeCount": 1e30}',
        b'{"nodeCount": "3"}',
        b'{"capacity": {"cpu": 0.5}}',
        b'{"capacity": {"cpu": 99999999999999999999}}',
        b'{"conditions": [{"type": "Ready"}, {"type": "Ready"}]}',
        b'{"conditions": [{"status": "True"}]}',
        b'{"connected": "yes"}',
    ],
)
async def test_what_would_not_decode_is_refused(status: bytes, admin: Client, unique: str) -> None:
    await admin.create(CLUSTERS, {"metadata": {"name": unique}, "spec": {"displayName": "one"}})
    path = CLUSTERS.path(unique, subresource="status")
    body = b'{"status": ' + status + b"}"
    answer = await admin.raw(Request(method="PATCH", path=path, headers=_MERGE, body=body))
    assert answer.status == 422, answer.body
    await admin.delete(CLUSTERS, unique)
