"""Resource quotas and limit ranges of projects, as templates with each namespace's share (spec: auth §3.11). Pure."""

from __future__ import annotations

import json
from typing import Any, Final

from outrider.apis.management.project import Project
from outrider.delivery.entries import UNCLAIMED
from outrider.delivery.shares import Share
from outrider.features.rbac.collection import Collection
from outrider.features.rbac.names import PROJECT_ID

QUOTA: Final = "field.cattle.io/resourceQuota"
CONTAINERS: Final = "field.cattle.io/containerDefaultResourceLimit"
RECORD: Final = "outrider.cattle.io/quota"

RESOURCES: Final = {
    "pods": "pods",
    "services": "services",
    "replicationControllers": "replicationcontrollers",
    "secrets": "secrets",
    "configMaps": "configmaps",
    "persistentVolumeClaims": "persistentvolumeclaims",
    "servicesNodePorts": "services.nodeports",
    "servicesLoadBalancers": "services.loadbalancers",
    "requestsCpu": "requests.cpu",
    "requestsMemory": "requests.memory",
    "requestsStorage": "requests.storage",
    "limitsCpu": "limits.cpu",
    "limitsMemory": "limits.memory",
}
"""The names in a project's quota, and those that Kubernetes has for them."""

_CONTAINER_PLACES: Final = {
    "requestsCpu": "/spec/limits/0/defaultRequest/cpu",
    "requestsMemory": "/spec/limits/0/defaultRequest/memory",
    "limitsCpu": "/spec/limits/0/default/cpu",
    "limitsMemory": "/spec/limits/0/default/memory",
}
_LABELS: Final = {"resourcequota.management.cattle.io/default-resource-quota": "true"}
_STATUS: Final = "cattle.io/status"
_STATUS_PLACE: Final = "/metadata/annotations/cattle.io~1status"
_POPULATED: Final = {"Type": "InitialRolesPopulated", "Status": "True"}


def collect_namespaces(project: Project, found: Collection) -> None:
    """The mark on every namespace of the project, and what containers in it may use."""
    identity = f"{project.spec.cluster_name}:{project.metadata.name}"
    share = quota_share(project)
    found.add(_mark(project), project=identity, share=_verdict(share) if share is not None else None)
    if share is not None:
        found.add(_object("ResourceQuota", "default-quota"), project=identity, share=share, expects=UNCLAIMED)
    limits = _object("LimitRange", "default-limits") | {"spec": {"limits": [{"type": "Container"}]}}
    found.add(limits, project=identity, share=container_share(project), expects=UNCLAIMED)


def quota_share(project: Project) -> Share | None:
    """How the project's quota is split over its namespaces; None: there is no quota."""
    spec = project.spec
    limit = _amounts(spec.resource_quota.limit if spec.resource_quota else None)
    default = _amounts(
        spec.namespace_default_resource_quota.limit if spec.namespace_default_resource_quota else None
    )
    if not limit:
        return None
    return Share(
        annotation=QUOTA,
        inside="limit",
        default=default,
        total=limit,
        places={
            name: f"/spec/hard/{_escaped(RESOURCES.get(name, name))}" for name in sorted({*RESOURCES, *limit})
        },
        record=RECORD,
    )


def container_share(project: Project) -> Share:
    """What containers get that ask for nothing, unless their namespace says something else."""
    said = project.spec.container_default_resource_limit
    known = {
        "requestsCpu": said.requests_cpu if said else "",
        "requestsMemory": said.requests_memory if said else "",
        "limitsCpu": said.limits_cpu if said else "",
        "limitsMemory": said.limits_memory if said else "",
    }
    return Share(annotation=CONTAINERS, default=_amounts(known), places=dict(_CONTAINER_PLACES))


def _verdict(share: Share) -> Share:
    """The same share on the namespace itself, where only the outcome is said."""
    init = {"Type": "ResourceQuotaInit", "Status": "True"}
    fits = {"Type": "ResourceQuotaValidated", "Status": "True", "Message": ""}
    exceeds = {"Type": "ResourceQuotaValidated", "Status": "False", "Message": "{reason}"}
    return Share(
        annotation=share.annotation,
        inside=share.inside,
        default=share.default,
        total=share.total,
        places=dict.fromkeys(share.places, ""),
        record=share.record,
        fits={_STATUS_PLACE: _conditions(_POPULATED, init, fits)},
        exceeds={_STATUS_PLACE: _conditions(_POPULATED, init, exceeds)},
    )


def _mark(project: Project) -> dict[str, Any]:
    """What every namespace of the project carries."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": "template",
            "labels": {PROJECT_ID: project.metadata.name},
            "annotations": {_STATUS: _conditions(_POPULATED)},
        },
    }


def _conditions(*conditions: dict[str, str]) -> str:
    return json.dumps({"Conditions": conditions}, separators=(",", ":"))


def _object(kind: str, name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "labels": dict(_LABELS)}}


def _amounts(said: dict[str, str] | None) -> dict[str, str]:
    return {name: text for name, text in (said or {}).items() if text}


def _escaped(part: str) -> str:
    """A part of a JSON pointer (RFC 6901)."""
    return part.replace("~", "~0").replace("/", "~1")
