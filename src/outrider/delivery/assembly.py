"""Makes a set of what features contribute for a cluster. The server derives it whenever it is needed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from outrider.apis.management.cluster import Cluster
from outrider.delivery.entries import Entry, canonical
from outrider.delivery.errors import TooLarge
from outrider.delivery.parts import MAX_PARTS, MAX_SET, Groups, hash_of, is_bounded, pack
from outrider.kube.meta import ObjectKey
from outrider.runtime.controller import Source
from outrider.tunnel.reports import StateHead

log = logging.getLogger(__name__)


class Contribution(NamedTuple):
    """What one feature wants in a cluster. Not `complete`: there may be more that is not known yet.

    `told` is called with the hash of the set that the entries became part of.
    """

    entries: Sequence[Entry]
    complete: bool = True
    told: Callable[[str], None] | None = None


class Contributor(Protocol):
    """A feature that wants objects in clusters. The same inputs must always give the same entries: every
    replica of the server derives them for itself, and what they derive is compared by hash.
    """

    @property
    def sources(self) -> Sequence[Source[Any, ObjectKey]]:
        """Which changes concern the contribution for which clusters (keys of clusters)."""
        ...

    async def contribute(self, cluster: Cluster) -> Contribution:
        """What the feature wants now. Raises NotReady: the cluster keeps all that it has."""
        ...


class DesiredSet(NamedTuple):
    """A set without a version: its parts by digest, not compressed."""

    groups: Groups
    parts: dict[str, bytes]
    complete: bool
    hash: str
    size: int

    def head(self, epoch: int, counter: int) -> StateHead:
        """What agents are told of it."""
        return StateHead(
            epoch=epoch, counter=counter, hash=self.hash, complete=self.complete, parts=self.groups
        )


def assemble(entries: Iterable[Entry], *, complete: bool = True, limit: int = MAX_SET) -> DesiredSet:
    """The set of these entries; the order plays no role. What cannot be delivered is logged and left out.

    Raises TooLarge when it has more than `limit` bytes.
    """
    lines, problems = canonical(entries)
    for problem in problems:
        log.error("left out of a desired state: %s", problem)
    size = sum(map(len, lines.values()))
    groups, parts = pack(lines) if size <= limit else ((), {})
    if size > limit or not is_bounded(groups):
        raise TooLarge(
            f"a desired state of {len(lines)} objects and {size >> 10} KB is too large: at most "
            f"{limit >> 10} KB in {MAX_PARTS} parts. Nothing is changed until there is less"
        )
    return DesiredSet(groups, parts, complete, hash_of(groups, complete=complete), len(lines))


async def derive(cluster: Cluster, contributors: Iterable[Contributor]) -> DesiredSet:
    """What all features want in a cluster. Raises NotReady, TooLarge, and whatever a contributor raises."""
    made = [await contributor.contribute(cluster) for contributor in contributors]
    entries = (entry for contribution in made for entry in contribution.entries)
    found = assemble(entries, complete=all(contribution.complete for contribution in made))
    for contribution in made:
        if contribution.told is not None:
            contribution.told(found.hash)
    return found
