"""Creates the built-in roles at start, and brings them up to date without touching what operators chose."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable
from typing import Any

import msgspec

from outrider.features.rbac.catalogue import (
    BOOTSTRAPPED,
    BOOTSTRAPPING,
    CHOSEN,
    VERSION,
    BuiltinRole,
    builtin_roles,
)
from outrider.kube.client import Client
from outrider.kube.errors import AlreadyExists
from outrider.kube.meta import Object

log = logging.getLogger(__name__)


async def install_builtin_roles(client: Client, roles: Iterable[BuiltinRole] | None = None) -> int:
    """Create missing roles and restore changed ones; returns how many were written.

    What a newer server has installed stays as it is. Raises KubeError, ValueError.
    """
    wanted = list(builtin_roles() if roles is None else roles)
    written = 0
    for kind in {id(role.kind): role.kind for role in wanted}.values():
        found = {one.metadata.name: one for one in (await client.list(kind)).items}
        for role in wanted:
            if role.kind is kind:
                written += await _keep(client, role, found.get(role.name))
    return written


async def _keep(client: Client, role: BuiltinRole, found: Object | None) -> bool:
    if found is None:
        with contextlib.suppress(AlreadyExists):
            # By apply: the API server holds back every POST to a kind that it has just begun to serve
            await client.apply(role.kind, created(role))
        return True
    patch = upgrade(role, found)
    if patch:
        log.info("%s %s is brought to version %d", role.kind.kind, role.name, role.version)
        await client.patch(role.kind, role.name, patch)
    return bool(patch)


def created(role: BuiltinRole) -> dict[str, Any]:
    """A built-in role as it is first made."""
    metadata = {
        "name": role.name,
        "labels": {BOOTSTRAPPING: role.label},
        "annotations": {BOOTSTRAPPED: "true", VERSION: str(role.version)},
    }
    return {"metadata": metadata, "builtin": True, **role.fields, **role.choices}


def upgrade(role: BuiltinRole, found: Object) -> dict[str, Any]:
    """The merge patch that makes a stored role what its file says; empty when it is, or is a later version."""
    if _version(found) > role.version:
        return {}
    typed = msgspec.convert({**role.fields, "builtin": True}, role.kind.type)
    patch: dict[str, Any] = {}
    for field in msgspec.structs.fields(role.kind.type):
        name = field.encode_name
        if name in ("apiVersion", "kind", "metadata", "status") or name in CHOSEN:
            continue
        if getattr(found, field.name) != getattr(typed, field.name):
            patch[name] = role.fields.get(name, msgspec.to_builtins(getattr(typed, field.name)))
    metadata = created(role)["metadata"]
    for part in ("labels", "annotations"):
        lacking = {
            key: value
            for key, value in metadata[part].items()
            if getattr(found.metadata, part).get(key) != value
        }
        if lacking:
            patch.setdefault("metadata", {})[part] = lacking
    return patch


def _version(found: Object) -> int:
    said = found.metadata.annotations.get(VERSION, "")
    return int(said) if said.isascii() and said.isdigit() else 0
