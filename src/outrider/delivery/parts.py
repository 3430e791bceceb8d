"""Cuts a set into content-addressed parts so that one changed object changes one part only. Pure.

The entries form a trie by the hash of their keys: a branch whose entries fit into one part is a leaf, any other
is divided by the next bit. Where an entry goes depends on its own key and on the sizes of its neighbours, never
on what comes before it in some order; so a change stays where it is, and every replica cuts the same way.
"""

from __future__ import annotations

import hashlib
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from outrider.delivery.entries import Entry
from outrider.tunnel.reports import StateHead

MAX_PART: Final = 256 << 10
"""Bytes of a part at most, before compression."""

MAX_SET: Final = 256 << 20
"""Bytes of all parts of a set at most, before compression."""

MAX_PARTS: Final = 4096
"""Parts of a set at most: what names them all fits into one Secret."""

_BITS: Final = 256
_entries = msgspec.json.Decoder(list[Entry])

Groups = tuple[tuple[str, ...], ...]
"""Digests of parts, grouped: the parts of a group together are one leaf."""


class PartError(ValueError):
    """A part or a set that is not what its digest says."""


class _Item(NamedTuple):
    position: int
    data: bytes


def digest_of(part: bytes) -> str:
    """Lower-case hex SHA-256."""
    return hashlib.sha256(part).hexdigest()


def leaves(items: Mapping[str, bytes], limit: int = MAX_PART) -> list[bytes]:
    """JSON arrays of the items; one is larger than `limit` only when it holds a single item."""
    hashed = sorted(
        _Item(int.from_bytes(hashlib.sha256(key.encode()).digest(), "big"), data)
        for key, data in items.items()
    )
    positions = [item.position for item in hashed]
    ends = [0]
    for item in hashed:
        ends.append(ends[-1] + len(item.data) + 1)
    found: list[bytes] = []
    # explicit stack: (first, behind last, bit); the lower half is taken first
    stack = [(0, len(hashed), _BITS)] if hashed else []
    while stack:
        first, last, bit = stack.pop()
        if first == last:
            continue
        if last - first == 1 or ends[last] - ends[first] + 1 <= limit or bit == 0:
            found.append(b"[" + b",".join(item.data for item in hashed[first:last]) + b"]")
            continue
        high = (positions[first] >> bit << 1 | 1) << (bit - 1)
        middle = bisect_left(positions, high, first, last)
        stack.append((middle, last, bit - 1))
        stack.append((first, middle, bit - 1))
    return found


def cut(leaf: bytes, limit: int = MAX_PART) -> list[bytes]:
    """A leaf as parts; more than one only for an object that is larger than a part."""
    return [leaf[start : start + limit] for start in range(0, len(leaf), limit)]


def pack(items: Mapping[str, bytes], limit: int = MAX_PART) -> tuple[Groups, dict[str, bytes]]:
    """All parts of some items: how they belong together, and each by its digest."""
    groups: list[tuple[str, ...]] = []
    parts: dict[str, bytes] = {}
    for leaf in leaves(items, limit):
        group = []
        for part in cut(leaf, limit):
            digest = digest_of(part)
            parts[digest] = part
            group.append(digest)
        groups.append(tuple(group))
    return tuple(groups), parts


def hash_of(groups: Groups, *, complete: bool) -> str:
    """The hash of a set: of the digests of its parts, and whether it is complete."""
    return digest_of(msgspec.json.encode([complete, groups]))


def is_sound(head: StateHead) -> bool:
    """Whether a head's hash is that of what it names."""
    return bool(head.hash) and head.hash == hash_of(head.parts, complete=head.complete)


def is_bounded(groups: Groups) -> bool:
    """Whether the parts are not too many."""
    return len(groups) <= MAX_PARTS and sum(map(len, groups)) <= MAX_PARTS


def digests(groups: Groups) -> Iterator[str]:
    """All digests, in order."""
    return (digest for group in groups for digest in group)


def join(group: Sequence[str], parts: Mapping[str, bytes]) -> bytes:
    """The leaf that compressed parts make. Raises PartError when one is missing or not what it should be."""
    try:
        return b"".join(expand(parts[digest], digest) for digest in group)
    except KeyError as error:
        raise PartError(f"part {str(error)[1:13]}… is missing") from None


def entries_of(leaf: bytes) -> list[Entry]:
    """The entries in a leaf. Raises PartError."""
    try:
        return _entries.decode(leaf)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise PartError(f"a part cannot be read: {error}") from None


def compress(part: bytes) -> bytes:
    """The part as it is sent and kept."""
    return zlib.compress(part, 6)


def expand(packed: bytes, digest: str) -> bytes:
    """A part from what was sent or kept. Raises PartError when it is another one."""
    worker = zlib.decompressobj()
    try:
        part = worker.decompress(packed, MAX_PART)
    except zlib.error as error:
        raise PartError(f"part {digest[:12]}… is damaged: {error}") from None
    if worker.unconsumed_tail or not worker.eof or digest_of(part) != digest:
        raise PartError(f"part {digest[:12]}… is not what its digest says")
    return part


def missing(groups: Groups, have: Iterable[str]) -> list[str]:
    """Digests that are still needed, each once, in order."""
    known = set(have)
    return list(dict.fromkeys(digest for digest in digests(groups) if digest not in known))
