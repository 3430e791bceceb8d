"""A typed kind for tests."""

from typing import Any

import msgspec

from outrider.kube.kind import Kind
from outrider.kube.meta import Object


class WidgetSpec(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    display_name: str
    size: int = 1


class Widget(Object):
    spec: WidgetSpec


WIDGETS = Kind(
    group="example.io", version="v1", plural="widgets", kind="Widget", namespaced=True, type=Widget
)


def widget(name: str, size: Any = 2) -> dict[str, Any]:
    meta = {"name": name, "namespace": "n", "uid": f"u-{name}", "resourceVersion": "7"}
    return {"metadata": meta, "spec": {"displayName": name.upper(), "size": size}}
