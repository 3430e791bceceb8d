"""What a desired state is made of: objects, and templates of objects, each with the feature that wants it. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import msgspec

from outrider.delivery.presence import DIGEST
from outrider.delivery.shares import Given, Share, placed

LABEL: Final = "outrider.cattle.io/delivered"
"""On every object that a desired state brought; the watches for drift select by it."""

CAPABILITIES: Final = frozenset({"release", "project", "expects", "share", "members", "within"})
"""What an entry may require of whoever applies it."""

_FIRST: Final = {("", "Namespace"): 0, ("apiextensions.k8s.io", "CustomResourceDefinition"): 1}
LAST_RANK: Final = 2
EXISTING: Final = "existing"
UNCLAIMED: Final = "unclaimed"
_API_VERSION = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[a-z0-9]+", re.ASCII)


class EntryError(ValueError):
    """An entry that cannot be applied anywhere: what is wrong with it."""


class Ref(NamedTuple):
    """Names one object, whatever the version it is spoken to in."""

    group: str
    kind: str
    namespace: str
    name: str

    @property
    def rank(self) -> int:
        """Namespaces come first, then definitions, then the rest; the opposite way when they go."""
        return _FIRST.get((self.group, self.kind), LAST_RANK)


class Entry(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, frozen=True):
    """One object that a feature wants in the cluster.

    Attributes:
        owner: name of the feature, for the status.
        object: the object, as it is applied.
        project: not empty makes this a template: the agent makes one in every namespace whose annotation
            ``field.cattle.io/projectId`` is this, ``<cluster>:<project>``. A template of a Namespace is
            applied to those namespaces themselves.
        release: when the entry leaves the set, only the fields that it brought go; the object stays.
        expects: `EXISTING` adds to an object that somebody else made, and never makes one; `UNCLAIMED` leaves an
            object of that name alone that delivery did not make. Either is a failure where it is otherwise.
            Needs capability ``expects``.
        within: makes this a template, too: of one object in the namespace of this name, once that is there.
            Needs capability ``within``.
        share: of a template: amounts that differ by namespace. Needs capability ``share``.
        joining: of a template: names of namespaces that are put into the project when they are in none of this
            cluster's.
        leaving: of a template: the project is no more. Its namespaces leave it; those that were made through the
            management plane are deleted. Neither this nor `joining` makes anything of the object; both need
            capability ``members``.
        requires: what the applier must be able to do; one that cannot reports a failure for this entry and
            leaves the object alone.
    """

    owner: str
    object: dict[str, Any]
    project: str = ""
    release: bool = False
    expects: str = ""
    within: str = ""
    share: Share | None = None
    joining: tuple[str, ...] = ()
    leaving: bool = False
    requires: tuple[str, ...] = ()

    @property
    def is_template(self) -> bool:
        """Whether it depends on the cluster's namespaces what is made of it."""
        return bool(self.project or self.within)

    @property
    def ref(self) -> Ref:
        """The object's name. Raises EntryError when it has none."""
        return ref_of(self.object)

    @property
    def api_version(self) -> str:
        """The object's apiVersion."""
        return str(self.object.get("apiVersion", ""))


def ref_of(obj: dict[str, Any]) -> Ref:
    """The name of an object. Raises EntryError when it has none."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        raise EntryError("an object without metadata")
    names = (obj.get("apiVersion"), obj.get("kind"), metadata.get("namespace") or "", metadata.get("name"))
    version, kind, namespace, name = names
    if not all(isinstance(part, str) for part in names) or not (version and kind and name):
        raise EntryError("an object without apiVersion, kind or name")
    if not _API_VERSION.fullmatch(version):
        raise EntryError(f"{version[:80]!r} is not an API version")
    return Ref(version.rpartition("/")[0], kind, namespace, name)


def key_of(entry: Entry) -> str:
    """What tells entries of a set apart. Raises EntryError."""
    return "\0".join((entry.project, *entry.ref))


def canonical(entries: Iterable[Entry]) -> tuple[dict[str, bytes], list[str]]:
    """Each entry's one encoding by its key, and what is wrong with those that are left out.

    The order of entries and of keys in objects plays no role. When two want the same object, the owner that
    is first in the alphabet has it.
    """
    chosen: dict[str, Entry] = {}
    problems: list[str] = []
    for entry in entries:
        try:
            key = key_of(entry)
        except EntryError as error:
            problems.append(f"{entry.owner}: {error}")
            continue
        other = chosen.setdefault(key, entry)
        if other is entry or other == entry:
            continue
        if (entry.owner, encode(entry)) < (other.owner, encode(other)):
            chosen[key], other = entry, entry
        ref = entry.ref
        problems.append(f"{ref.kind} {ref.name} is wanted more than once; that of {other.owner} counts")
    return {key: encode(entry) for key, entry in chosen.items()}, problems


def encode(entry: Entry) -> bytes:
    """The entry as JSON with sorted keys."""
    return msgspec.json.encode(entry, order="deterministic")


def digest_of(entry: Entry) -> bytes:
    """Of everything in the entry, 16 bytes."""
    return hashlib.blake2b(encode(entry), digest_size=16).digest()


def delivered(entry: Entry) -> dict[str, Any]:
    """The object as it is applied: with the label that marks it as delivered, and the digest of its entry."""
    metadata = entry.object["metadata"]
    labels = {**(metadata.get("labels") or {}), LABEL: "true"}
    annotations = {**(metadata.get("annotations") or {}), DIGEST: digest_of(entry).hex()}
    return {**entry.object, "metadata": {**metadata, "labels": labels, "annotations": annotations}}


def instance(template: Entry, namespace: str, given: Given | None = None) -> Entry:
    """What a template makes in a namespace, or of the namespace; `given` is the namespace's share."""
    if template.share is not None and given is not None:
        obj = placed(template.object, template.share, given, template.project)
        template = msgspec.structs.replace(template, object=obj, share=None)
    metadata = template.object["metadata"]
    ref = template.ref
    if ref.rank == 0:
        obj = {**template.object, "metadata": {**metadata, "name": namespace}}
        return msgspec.structs.replace(template, object=obj, project="", within="", release=True)
    obj = {**template.object, "metadata": {**metadata, "namespace": namespace}}
    return msgspec.structs.replace(template, object=obj, project="", within="")
