"""Workloads: deployments, daemon sets and their like as one collection (contract: clients §1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from outrider.apis.norman import NormanError
from outrider.apis.views.call import Call
from outrider.apis.views.view import Access, Context, Field, Json, View
from outrider.facade.v3.edge import gather
from outrider.facade.v3.inside import namespaces_of
from outrider.kube.builtin import CRONJOBS, DAEMONSETS, DEPLOYMENTS, JOBS, REPLICASETS, STATEFULSETS, untyped
from outrider.kube.errors import Forbidden, NotFound
from outrider.kube.kind import Kind
from outrider.kube.meta import ObjectKey

REPLICATIONCONTROLLERS: Final = untyped(
    "", "v1", "replicationcontrollers", "ReplicationController", namespaced=True
)
KINDS: Final[Mapping[str, Kind[dict[str, Any]]]] = {
    kind.kind.lower(): kind
    for kind in (
        DEPLOYMENTS,
        DAEMONSETS,
        STATEFULSETS,
        JOBS,
        CRONJOBS,
        REPLICASETS,
        REPLICATIONCONTROLLERS,
    )
}

_READ: Final = Field(access=Access.READ)


class Workloads:
    """The workloads that the user may see. One that another made (a deployment's replica set) is left out."""

    async def list(self, call: Call) -> Sequence[Json]:
        """Those of the cluster, or of a project's namespaces."""
        if not call.project and all(
            call.rights.allows("list", kind.group, kind.plural) for kind in KINDS.values()
        ):
            parts = await gather(partial(self._of, call, kind, "") for kind in KINDS.values())
        else:
            namespaces = [one["metadata"]["name"] for one in await namespaces_of(call)]
            parts = await gather(
                partial(self._of, call, kind, name) for kind in KINDS.values() for name in namespaces
            )
        return [workload for part in parts for workload in part]

    async def _of(self, call: Call, kind: Kind[dict[str, Any]], namespace: str) -> Sequence[Json]:
        try:
            found = (await call.client.list(kind, namespace)).items
        except Forbidden:
            return ()
        return [one for one in found if not _is_made(one)]

    async def get(self, call: Call, key: ObjectKey) -> Json:
        """The workload with an id `<kind>:<namespace>:<name>`. Raises NormanError 404."""
        kind, namespace, name = (*key.name.split(":"), "", "")[:3]
        if kind not in KINDS or not namespace or not name:
            raise _missing(key)
        try:
            return await call.client.get(KINDS[kind], name, namespace)
        except (NotFound, ValueError):
            raise _missing(key) from None

    async def create(self, call: Call, draft: Json) -> Json:
        """Never."""
        raise NormanError(405, "workloads are created through the cluster's own API")

    async def update(self, call: Call, old: Json, patch: Json) -> Json:
        """Never."""
        raise NormanError(405, "workloads are changed through the cluster's own API")

    async def delete(self, call: Call, old: Json) -> Json | None:
        """As the user."""
        kind, metadata = KINDS[old["kind"].lower()], old["metadata"]
        await call.client.delete(kind, metadata["name"], metadata["namespace"], uid=metadata["uid"])
        return None

    def allows(self, call: Call, verb: str, key: ObjectKey | None) -> bool:
        """Whether the rights that hold everywhere allow it for any of the kinds."""
        return verb in ("get", "list") or any(
            call.rights.allows(verb, kind.group, kind.plural) for kind in KINDS.values()
        )


def workload_view(context: Context) -> View:
    """The view of workloads."""
    return View(
        kind=DEPLOYMENTS,
        type="workload",
        plural="workloads",
        context=context,
        fields=dict.fromkeys(("workloadType", "scale", "containers"), _READ),
        methods=frozenset({"GET", "DELETE"}),
        store=Workloads(),
        compute=_compute,
    )


def _compute(workload: Json, _: Call) -> Json:
    metadata, kind = workload["metadata"], workload["kind"].lower()
    spec = workload.get("spec") or {}
    template = (spec.get("jobTemplate") or {}).get("spec") or spec
    pod = (template.get("template") or {}).get("spec") or {}
    return {
        "id": f"{kind}:{metadata['namespace']}:{metadata['name']}",
        "type": kind,
        "baseType": "workload",
        "workloadType": kind,
        "scale": spec.get("replicas"),
        "containers": pod.get("containers") or [],
    }


def _is_made(obj: Json) -> bool:
    return any(one.get("controller") for one in obj["metadata"].get("ownerReferences") or ())


def _missing(key: ObjectKey) -> NormanError:
    return NormanError(404, f"workload {key.name} not found")
