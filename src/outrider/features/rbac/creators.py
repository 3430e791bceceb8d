"""What whoever created a cluster or project is given, once (spec: auth §3.12). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from outrider.apis.management.group import (
    CREATOR_BINDINGS,
    CREATOR_ID,
    CREATOR_PRINCIPAL_NAME,
    NO_CREATOR_RBAC,
)
from outrider.apis.management.role_template import RoleTemplate

PROGRESS: Final = CREATOR_BINDINGS
OWNER_BINDING: Final = "authz.management.cattle.io/creator-owner-binding"


class Progress(msgspec.Struct, frozen=True):
    """Which role templates the creator is to have, and which of them were given. What was given is not given again."""

    required: tuple[str, ...] = ()
    created: tuple[str, ...] = ()

    @property
    def missing(self) -> list[str]:
        """What is still to be given."""
        return [name for name in self.required if name not in self.created]

    def to_json(self) -> str:
        """The annotation's value."""
        return msgspec.json.encode(self).decode()


def progress(annotations: Mapping[str, str], defaults: Iterable[RoleTemplate]) -> Progress:
    """How far it is; the first time, what is to be given is decided."""
    try:
        return msgspec.json.decode(annotations.get(PROGRESS, ""), type=Progress)
    except msgspec.MsgspecError:
        pass
    if NO_CREATOR_RBAC in annotations or not annotations.get(CREATOR_ID):
        return Progress()
    return Progress(required=tuple(sorted(one.metadata.name for one in defaults if not one.locked)))


def creator_binding(annotations: Mapping[str, str], template: str, namespace: str) -> dict[str, Any]:
    """A binding of the creator, without what it is in."""
    principal = annotations.get(CREATOR_PRINCIPAL_NAME, "")
    subject = {"userPrincipalName": principal} if principal else {"userName": annotations[CREATOR_ID]}
    return {
        "metadata": {
            "name": f"creator-{template}",
            "namespace": namespace,
            "annotations": {OWNER_BINDING: "true"},
        },
        "roleTemplateName": template,
        **subject,
    }
