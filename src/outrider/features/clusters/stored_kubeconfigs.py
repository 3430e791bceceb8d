"""Kubeconfigs of ext.cattle.io as they are kept: ConfigMaps in `cattle-tokens` (contract, auth-and-rbac §1.12). Pure.

What is kept says what a kubeconfig leads to and which tokens are in it; the kubeconfig itself is kept nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from outrider.apis.ext.backed import shown_metadata
from outrider.apis.ext.group import KIND_LABEL, NAMESPACE, USER_LABEL
from outrider.apis.ext.kubeconfig import KUBECONFIG, KUBECONFIGS, KubeconfigSpec, KubeconfigStatus
from outrider.apis.ext.served import Caller, Json
from outrider.kube.meta import Condition

UID_ANNOTATION: Final = "cattle.io/uid"


def stored(spec: KubeconfigSpec, *, user: str, uid: str, marks: Json) -> Json:
    """The ConfigMap of a new kubeconfig."""
    return {
        "metadata": {
            "generateName": "kubeconfig-",
            "namespace": NAMESPACE,
            "labels": marks["labels"] | {USER_LABEL: user, KIND_LABEL: KUBECONFIG},
            "annotations": marks["annotations"] | {UID_ANNOTATION: uid},
        },
        "data": {
            "clusters": msgspec.json.encode(spec.clusters or []).decode(),
            "current-context": spec.current_context,
            "description": spec.description,
            "ttl": str(spec.ttl),
            "include-default-entry": "false" if spec.include_default_entry is False else "true",
        },
    }


def status_data(status: KubeconfigStatus) -> dict[str, str]:
    """The part of the ConfigMap's data that says what became of it."""
    return {
        "status-summary": status.summary,
        "status-tokens": msgspec.json.encode(status.tokens or []).decode(),
        "status-conditions": msgspec.json.encode(status.conditions or []).decode(),
    }


def spec_of(held: Mapping[str, Any]) -> KubeconfigSpec:
    """What a stored kubeconfig leads to."""
    data = held.get("data") or {}
    ttl = str(data.get("ttl", ""))
    return KubeconfigSpec(
        clusters=_list(data.get("clusters"), str),
        current_context=data.get("current-context", ""),
        description=data.get("description", ""),
        ttl=int(ttl) if ttl.isascii() and ttl.isdigit() and len(ttl) < 13 else 0,
        include_default_entry=data.get("include-default-entry") != "false",
    )


def shown(held: Json, _: Caller) -> Json:
    """The object of a stored kubeconfig."""
    data = held.get("data") or {}
    status = KubeconfigStatus(
        conditions=_list(data.get("status-conditions"), Condition) or None,
        summary=data.get("status-summary", ""),
        tokens=_list(data.get("status-tokens"), str) or None,
    )
    annotations = dict((held.get("metadata") or {}).get("annotations") or {})
    uid = annotations.pop(UID_ANNOTATION, "") or str((held.get("metadata") or {}).get("uid", ""))
    metadata = shown_metadata({"metadata": held["metadata"] | {"annotations": annotations}}, uid)
    return {
        "apiVersion": KUBECONFIGS.api_version,
        "kind": KUBECONFIGS.kind,
        "metadata": metadata,
        "spec": msgspec.to_builtins(spec_of(held)),
        "status": msgspec.to_builtins(status),
    }


def _list(text: object, kind: Any) -> list[Any]:
    try:
        found: Sequence[Any] = msgspec.json.decode(str(text or "[]"), type=list[kind])
    except (msgspec.MsgspecError, RecursionError):
        return []
    return list(found)
