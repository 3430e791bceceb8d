"""A project's quota in the real product: split by the agent, also while the server stands still, and reported."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from tests.e2e.conftest import until
from tests.support.instance import Instance
from tests.support.kubectl import Kubectl

MANIFEST = """
apiVersion: management.cattle.io/v3
kind: Project
metadata:
  name: {name}
  namespace: {cluster}
spec:
  clusterName: {cluster}
  displayName: Web
  resourceQuota:
    limit: {{limitsCpu: "3", configMaps: "20"}}
  namespaceDefaultResourceQuota:
    limit: {{limitsCpu: "1", configMaps: "5"}}
  containerDefaultResourceLimit: {{requestsCpu: 50m, limitsCpu: 100m}}
"""


@contextmanager
def standing_still(instance: Instance) -> Iterator[None]:
    """The server does nothing within the block, and knows nothing of it."""
    processes = [instance.pid(role) for role in ("gateway", "control")]
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


def test_a_quota_is_split_while_the_server_stands_still(
    instance: Instance, management: Kubectl, direct: Kubectl, first: dict[str, Any]
) -> None:
    name, cluster = f"p-{uuid4().hex[:5]}", first["id"]
    spaces = [f"{name}-{n}" for n in range(2)]

    def hard(space: str) -> Any:
        found = json.loads(direct("get", "resourcequota", "-n", space, "-o", "json"))["items"]
        return found[0]["spec"]["hard"] if found else None

    def used() -> Any:
        found = json.loads(management("get", "project", "-n", cluster, name, "-o", "json"))
        return found["spec"]["resourceQuota"].get("usedLimit")

    def join(space: str) -> None:
        direct("create", "namespace", space)
        direct("annotate", "namespace", space, f"field.cattle.io/projectId={cluster}:{name}")

    management("apply", "-f", "-", stdin=MANIFEST.format(name=name, cluster=cluster))
    join(spaces[0])
    until(lambda: hard(spaces[0]) == {"limits.cpu": "1", "configmaps": "5"}, 20)
    until(lambda: used() == {"limitsCpu": "1", "configMaps": "5"}, 20)
    with standing_still(instance):
        join(spaces[1])
        asked = json.dumps({"limit": {"limitsCpu": "2"}})
        direct("annotate", "namespace", spaces[1], f"field.cattle.io/resourceQuota={asked}")
        until(lambda: hard(spaces[1]) == {"limits.cpu": "2", "configmaps": "5"}, 10)
        assert "default-limits" in direct("get", "limitrange", "-n", spaces[1])
    until(lambda: used() == {"limitsCpu": "3", "configMaps": "10"}, 30)
    management("delete", "project", "-n", cluster, name, "--timeout=60s")
    for space in spaces:
        kept = json.loads(direct("get", "namespace", space, "-o", "json"))["metadata"].get("annotations", {})
        assert "field.cattle.io/projectId" not in kept
        until(lambda at=space: hard(at) is None, 10)  # type: ignore[misc]
        direct("delete", "namespace", space, "--wait=false")
