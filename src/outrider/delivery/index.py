"""What a set wants, found by object: names and digests only; the objects stay compressed in their parts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from outrider.delivery.entries import CAPABILITIES, Entry, EntryError, Ref, digest_of, key_of
from outrider.delivery.parts import Groups, PartError, entries_of, join

_raws: Final = msgspec.json.Decoder(list[msgspec.Raw])
_entry: Final = msgspec.json.Decoder(Entry)


class Want(NamedTuple):
    """What is wanted of one object.

    `digest` is of the entry. `leaf` and `place` say where in the parts it is; an instance of a template has
    the template's key in `template` instead. `problem` says why it cannot be applied.
    """

    owner: str
    api_version: str
    digest: bytes
    leaf: int = -1
    place: int = -1
    template: str = ""
    release: bool = False
    problem: str = ""


class Index(NamedTuple):
    """A set by object; `problems` are (owner, text) of entries that are no objects."""

    plain: dict[Ref, Want]
    templates: dict[str, Entry]
    problems: list[tuple[str, str]]


EMPTY: Final = Index({}, {}, [])


def index_of(groups: Groups, parts: Mapping[str, bytes]) -> Index:
    """Reads all parts, one leaf at a time. Raises PartError when one is damaged; a group lacking one is skipped."""
    found = Index({}, {}, [])
    for leaf, group in enumerate(groups):
        if any(digest not in parts for digest in group):
            continue
        for place, entry in enumerate(entries_of(join(group, parts))):
            try:
                ref = entry.ref
            except EntryError as error:
                found.problems.append((entry.owner, str(error)))
                continue
            if entry.is_template:
                found.templates[key_of(entry)] = entry
            else:
                found.plain[ref] = want_of(entry, leaf=leaf, place=place)
    return found


class Shelf:
    """Takes entries out of the parts of a set; the leaf that was used last stays open."""

    def __init__(self, groups: Groups = (), parts: Mapping[str, bytes] | None = None) -> None:
        self._groups = groups
        self._parts = parts or {}
        self._open = -1
        self._entries: list[msgspec.Raw] = []

    def entry(self, want: Want) -> Entry:
        """A plain entry. Raises PartError."""
        if want.leaf != self._open:
            try:
                self._entries = _raws.decode(join(self._groups[want.leaf], self._parts))
            except msgspec.MsgspecError as error:
                raise PartError(f"a part cannot be read: {error}") from None
            self._open = want.leaf
        return _entry.decode(self._entries[want.place])


def want_of(entry: Entry, *, leaf: int = -1, place: int = -1, template: str = "") -> Want:
    """What an entry that stands there, or was made from that template, wants."""
    lacking = sorted(set(entry.requires) - CAPABILITIES)
    return Want(
        owner=entry.owner,
        api_version=entry.api_version,
        digest=digest_of(entry),
        leaf=leaf,
        place=place,
        template=template,
        release=entry.release,
        problem=f"this agent is too old for it: it lacks {', '.join(lacking)}" if lacking else "",
    )


class Extra(NamedTuple):
    """An object outside of the set that may exist: how to speak to it, and whether only our fields go."""

    api_version: str
    release: bool


def extras_to_items(extras: Mapping[Ref, Extra]) -> dict[str, bytes]:
    """Objects beyond the set as they are cut into parts."""
    return {
        "\0".join(ref): msgspec.json.encode([*ref, extra.api_version, extra.release])
        for ref, extra in extras.items()
    }


def extras_of(groups: Groups, parts: Mapping[str, bytes]) -> dict[Ref, Extra]:
    """The opposite of `extras_to_items`. Raises PartError."""
    found: dict[Ref, Extra] = {}
    for row in _rows(groups, parts):
        group, kind, namespace, name, version, release = row[:6]
        found[Ref(group, kind, namespace, name)] = Extra(version, bool(release))
    return found


def _rows(groups: Groups, parts: Mapping[str, bytes]) -> Iterable[list[Any]]:
    for group in groups:
        try:
            yield from msgspec.json.decode(join(group, parts), type=list[list[Any]])
        except msgspec.MsgspecError as error:
            raise PartError(f"the inventory cannot be read: {error}") from None
