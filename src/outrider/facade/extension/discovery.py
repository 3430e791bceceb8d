"""Which kinds are served, as clients discover them (meta/v1 APIGroup, APIResourceList). Pure."""

from __future__ import annotations

from collections.abc import Sequence

from outrider.apis.crd import CATEGORY, Resource
from outrider.apis.ext.served import Json, Served


def group_list(served: Sequence[Served]) -> Json:
    """`/apis`"""
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(served)]}


def group(served: Sequence[Served]) -> Json:
    """`/apis/<group>`"""
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(served)}


def resource_list(served: Sequence[Served]) -> Json:
    """`/apis/<group>/<version>`"""
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": served[0].kind.api_version,
        "resources": [_resource(one) for one in served],
    }


def _group(served: Sequence[Served]) -> Json:
    kind = served[0].kind
    version = {"groupVersion": kind.api_version, "version": kind.version}
    return {"name": kind.group, "versions": [version], "preferredVersion": version}


def _resource(one: Served) -> Json:
    declared: Resource = one.kind.type.resource
    entry: Json = {
        "name": one.kind.plural,
        "singularName": one.kind.kind.lower(),
        "namespaced": one.kind.namespaced,
        "kind": one.kind.kind,
        "verbs": one.verbs,
    }
    if declared.short_names:
        entry["shortNames"] = list(declared.short_names)
    # what cannot be listed would make `kubectl get <category>` fail
    return entry | ({"categories": [CATEGORY]} if one.select is not None else {})
