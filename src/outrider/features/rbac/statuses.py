"""Writes statuses of roles and bindings, whole, so that nothing stays of what was there before."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec

from outrider.kube.client import Client
from outrider.kube.errors import NotFound
from outrider.kube.kind import Kind
from outrider.kube.meta import ObjectMeta


async def write_status(client: Client, kind: Kind[Any], metadata: ObjectMeta, status: msgspec.Struct) -> None:
    """Put a status in the place of the one that was read, unless the object is gone. Raises Conflict, KubeError."""
    fields = {
        field.encode_name: msgspec.to_builtins(getattr(status, field.name))
        for field in msgspec.structs.fields(type(status))
    }
    patch = {"metadata": {"resourceVersion": metadata.resource_version}, "status": fields}
    with contextlib.suppress(NotFound):
        await client.patch(kind, metadata.name, patch, metadata.namespace, subresource="status")
