"""What every cluster has, under its own root and those of its projects: namespaces, volumes, pods, workloads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from outrider.apis.norman import NormanError
from outrider.apis.views.call import Call
from outrider.apis.views.view import (
    Access,
    Action,
    ByNamespace,
    Context,
    Field,
    Hooks,
    Invocation,
    Json,
    Need,
    Proceed,
    View,
)
from outrider.facade.v3.edge import gather
from outrider.kube.builtin import APISERVICES, NAMESPACES, PERSISTENTVOLUMES, PODS, STORAGECLASSES
from outrider.kube.errors import Forbidden, NotFound

PROJECT: Final = "field.cattle.io/projectId"
"""Label (the project's name) and annotation (`<cluster>:<project>`) of a project's namespaces."""

_READ: Final = Field(access=Access.READ)
_CONTROLLERS: Final[Mapping[str, str]] = {
    "DaemonSet": "daemonset",
    "StatefulSet": "statefulset",
    "Job": "job",
    "ReplicationController": "replicationcontroller",
}


def inside_views() -> list[View]:
    """The views."""
    return [
        *(namespace_view(context) for context in (Context.CLUSTER, Context.PROJECT)),
        _plain_view(PERSISTENTVOLUMES, "persistentVolume", "persistentVolumes"),
        _plain_view(STORAGECLASSES, "storageClass", "storageClasses"),
        _plain_view(APISERVICES, "apiService", "apiServices"),
        *(pod_view(context) for context in (Context.CLUSTER, Context.PROJECT)),
    ]


def namespace_view(context: Context) -> View:
    """Namespaces, and the project that each is in."""
    return View(
        kind=NAMESPACES,
        type="namespace",
        plural="namespaces",
        context=context,
        fields={
            "description": Field(annotation="field.cattle.io/description", type="string"),
            "projectId": Field(annotation=PROJECT, type="reference[project]"),
            "resourceQuota": Field(annotation="field.cattle.io/resourceQuota", type="namespaceResourceQuota"),
            "containerDefaultResourceLimit": Field(
                annotation="field.cattle.io/containerDefaultResourceLimit", type="containerResourceLimit"
            ),
            "finalizers": _READ,
            "phase": _READ,
        },
        actions=(Action(name="move", run=_move, need=Need(verb="update"), input="namespaceMove"),),
        prepare=_of_project,
        hooks=Hooks(create=_create, update=_update),
    )


async def _of_project(call: Call, namespaces: Sequence[Json]) -> Sequence[Json]:
    """Through a project's root, the namespaces of the project and no others."""
    wanted = call.project.partition(":")[2]
    return [one for one in namespaces if not wanted or _labels(one).get(PROJECT) == wanted]


def _labels(obj: Json) -> Json:
    return obj["metadata"].get("labels") or {}


async def _create(call: Call, draft: Json, _: Json, proceed: Proceed) -> Json:
    metadata = draft["metadata"]
    annotations = metadata.get("annotations") or {}
    project = annotations.get(PROJECT) or call.project
    if project:
        metadata["annotations"] = annotations | {PROJECT: project}
        metadata["labels"] = (metadata.get("labels") or {}) | {PROJECT: project_name(call, project)}
    return await proceed(draft)


async def _update(call: Call, _: Json, patch: Json, __: Json, proceed: Proceed) -> Json:
    annotations = (patch.get("metadata") or {}).get("annotations") or {}
    if PROJECT in annotations:
        patch = _placed(patch, call, annotations[PROJECT])
    return await proceed(patch)


def _placed(patch: Json, call: Call, project: str | None) -> Json:
    """The patch with both marks of a project, or with neither."""
    metadata = patch.get("metadata") or {}
    label = project_name(call, project) if project else None
    return patch | {
        "metadata": metadata
        | {
            "labels": (metadata.get("labels") or {}) | {PROJECT: label},
            "annotations": (metadata.get("annotations") or {}) | {PROJECT: project or None},
        }
    }


async def _move(asked: Invocation) -> None:
    """Into another project, or out of all with an empty one."""
    project = asked.body.get("projectId") or ""
    if not isinstance(project, str):
        raise NormanError(422, "projectId takes text", code="InvalidFormat", field="projectId")
    name = (asked.object or {})["metadata"]["name"]
    await asked.call.client.patch(NAMESPACES, name, _placed({}, asked.call, project))


def project_name(call: Call, project: str) -> str:
    """The name of a project of this cluster, from its id. Raises NormanError (422) for any other."""
    cluster, colon, name = project.partition(":")
    if not colon or not name or cluster != call.cluster:
        raise NormanError(
            422,
            f"projectId is {call.cluster}:<project> for a project of this cluster",
            code="InvalidReference",
            field="projectId",
        )
    return name


async def namespaces_of(call: Call) -> Sequence[Json]:
    """The namespaces that the user may see, of a project's root only those of the project."""
    wanted = call.project.partition(":")[2]
    if call.rights.allows("list", "", "namespaces"):
        labels = f"{PROJECT}={wanted}" if wanted else ""
        return (await call.client.list(NAMESPACES, labels=labels)).items

    async def one(name: str) -> Json | None:
        try:
            return await call.client.get(NAMESPACES, name)
        except (Forbidden, NotFound, ValueError):
            return None

    names = sorted(call.rights.everywhere.names("get", "", "namespaces") or ())
    found = [namespace for namespace in await gather(partial(one, name) for name in names) if namespace]
    return [
        one for one in found if not wanted or (one["metadata"].get("labels") or {}).get(PROJECT) == wanted
    ]


def pod_view(context: Context) -> View:
    """Pods, with the workload that each belongs to."""
    return View(
        kind=PODS,
        type="pod",
        plural="pods",
        context=context,
        fields={"workloadId": _READ, "nodeId": _READ, "publicEndpoints": _READ},
        placement=ByNamespace(),
        methods=frozenset({"GET", "DELETE"}),
        compute=_pod_fields,
    )


def _pod_fields(pod: Json, _: Call) -> Json:
    return {"workloadId": workload_of(pod), "nodeId": (pod.get("spec") or {}).get("nodeName") or ""}


def workload_of(pod: Json) -> str:
    """The id of the workload that made a pod, `<kind>:<namespace>:<name>`; empty for a pod of its own."""
    metadata = pod["metadata"]
    owner: Json = next((one for one in metadata.get("ownerReferences") or () if one.get("controller")), {})
    kind, name = owner.get("kind"), owner.get("name") or ""
    if kind == "ReplicaSet":
        suffix = "-" + (_labels(pod).get("pod-template-hash") or "")
        deployed = len(suffix) > 1 and name.endswith(suffix)
        known, name = ("deployment", name.removesuffix(suffix)) if deployed else ("replicaset", name)
    else:
        known = _CONTROLLERS.get(str(kind), "")
    return f"{known}:{metadata.get('namespace')}:{name}" if known else ""


def _plain_view(kind: Any, name: str, plural: str) -> View:
    return View(
        kind=kind, type=name, plural=plural, context=Context.CLUSTER, methods=frozenset({"GET", "DELETE"})
    )
