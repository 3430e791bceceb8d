"""Objects as far as the applier looks at them: their metadata, and which fields in them are ours."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

MANAGER: Final = "outrider-delivery"
"""The field manager of everything that is delivered."""

DIGEST: Final = "outrider.cattle.io/digest"
"""Annotation with the digest of the entry that was applied."""

GONE: Final = 0
"""The mark of an object that is not there, or in which nothing is ours."""


class ManagedFields(msgspec.Struct, rename="camel"):
    """metav1.ManagedFieldsEntry."""

    manager: str = ""
    operation: str = ""
    subresource: str = ""
    fields_v1: msgspec.Raw = msgspec.Raw(b"")


class Metadata(msgspec.Struct, rename="camel"):
    """The part of metav1.ObjectMeta that matters here."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: str = ""
    deletion_timestamp: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    managed_fields: list[ManagedFields] = []


class Presence(msgspec.Struct):
    """An object of any kind: metav1.PartialObjectMetadata."""

    metadata: Metadata = msgspec.field(default_factory=Metadata)


def mark(presence: Presence, manager: str = MANAGER) -> int:
    """Changes whenever somebody takes a field of `manager`'s away or changes its value; GONE when it has none.

    The API server keeps the record of who owns which field (KEP-555): whoever sets another value, or removes
    a field, takes it out of the entry of the one who applied it. So the entry alone tells of every foreign
    edit of our fields and of no other change, without looking at the object. The digest tells of another
    applier of the same manager: one that was paused and has not noticed yet that it is not the one any more.
    """
    digest = presence.metadata.annotations.get(DIGEST, "").encode()
    for entry in presence.metadata.managed_fields:
        if (entry.manager, entry.operation, entry.subresource) == (manager, "Apply", ""):
            owned = hashlib.blake2b(bytes(entry.fields_v1), digest_size=8, key=digest[:64])
            return int.from_bytes(owned.digest(), "big") | 1
    return GONE
