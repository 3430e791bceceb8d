"""`/v1/counts`: how many objects of each kind somebody may see, and in which state, as far as that can be had cheaply.

Nothing is kept of any object, so every kind is looked at when counts are asked for: a kind of up to `PAGE` objects with
its states, a larger one by its metadata alone. Somebody who sees a kind in some namespaces is told of those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final

from outrider.apis.views.call import Call
from outrider.facade.v1.asked import Asking
from outrider.facade.v1.catalogue import Resource
from outrider.facade.v1.heads import state_in
from outrider.facade.v1.reading import Listing, Scope, scopes
from outrider.facade.v1.shared import Shared
from outrider.facade.v1.turns import Turn
from outrider.facade.v3.edge import gather
from outrider.kube.builtin import untyped
from outrider.kube.errors import KubeError
from outrider.kube.kind import key_of_json
from outrider.kube.table import Row

Json = dict[str, Any]

PAGE: Final = 250
LARGE_PAGE: Final = 2000


@dataclass
class Summary:
    """Of some objects: how many, how many in which state that is not `active`, and with which trouble."""

    count: int = 0
    errors: int = 0
    transitioning: int = 0
    states: Counter[str] = field(default_factory=Counter)

    def show(self) -> Json:
        """What clients see; what is nothing is left out."""
        said: Json = {"count": self.count}
        if self.states:
            said["states"] = dict(self.states)
        if self.errors:
            said["errors"] = self.errors
        if self.transitioning:
            said["transitioning"] = self.transitioning
        return said


class Counts:
    """Counts as the user; one answer serves all that a user asks for within `fresh` seconds."""

    def __init__(self, asking: Asking, now: Callable[[], datetime], *, fresh: float = 5.0) -> None:
        self._asking = asking
        self._now = now
        self._shared = Shared(fresh)

    async def close(self) -> None:
        """Ends what is under way."""
        await self._shared.close()

    async def read(self, call: Call) -> Json:
        """Type → `{summary, namespaces}`. Raises KubeError."""
        return await self._shared.get((call.cluster, repr(call.identity)), partial(self._count, call))

    async def _count(self, call: Call) -> Json:
        catalogue = await self._asking.catalogue(call)
        call, namespaces = await self._asking.everywhere(call)
        wanted = [one for one in catalogue if {"list", "watch"} <= one.verbs and _some(call, one)]
        found = await gather(partial(self._kind, call, one, namespaces) for one in wanted)
        return {one.id: counted for one, counted in zip(wanted, found, strict=True) if counted is not None}

    async def _kind(self, call: Call, resource: Resource, namespaces: Iterable[str]) -> Json | None:
        parts = scopes(call, resource, "", list(namespaces))
        listing = Listing(call.client, call.identity, resource, parts)
        whole, spaces = Summary(), dict[str, Summary]()
        try:
            async with aclosing(listing.tables(limit=PAGE)) as pages:
                async for page in pages:
                    await self._add(page.items[0].rows, whole, spaces)
                    if page.continue_token:
                        return await self._large(call, resource, parts)
        except KubeError:
            return None  # an aggregated server that is away, or not theirs after all
        return _shown(whole, spaces)

    async def _add(self, rows: Iterable[Row], whole: Summary, spaces: dict[str, Summary]) -> None:
        turn, now = Turn(), self._now()
        for row in rows:
            state = state_in(row.object, now)
            for one in _both(key_of_json(row.object).namespace, whole, spaces):
                one.count += 1
                one.errors += state.error
                one.transitioning += state.transitioning
                if state.name != "active":
                    one.states[state.name] += 1
            if turn.over:
                await turn.next()

    async def _large(self, call: Call, resource: Resource, parts: Iterable[Scope]) -> Json:
        """A kind with more objects than are looked at: where they are, not how."""
        kind = resource.kind
        bare = untyped(kind.group, kind.version, kind.plural, kind.kind, namespaced=kind.namespaced)
        bare.metadata_only = True
        whole, spaces, turn = Summary(), dict[str, Summary](), Turn()
        for part in parts:
            if part.names is not None:
                for one in _both(part.namespace, whole, spaces):
                    one.count += len(part.names)
                continue
            async with aclosing(call.client.pages(bare, part.namespace, limit=LARGE_PAGE)) as pages:
                async for page in pages:
                    for obj in page.items:
                        for one in _both(bare.key(obj).namespace, whole, spaces):
                            one.count += 1
                        if turn.over:
                            await turn.next()
        return _shown(whole, spaces)


def _both(namespace: str, whole: Summary, spaces: dict[str, Summary]) -> Iterator[Summary]:
    yield whole
    if namespace:
        yield spaces.setdefault(namespace, Summary())


def _shown(whole: Summary, spaces: dict[str, Summary]) -> Json:
    return {"summary": whole.show(), "namespaces": {name: one.show() for name, one in sorted(spaces.items())}}


def _some(call: Call, resource: Resource) -> bool:
    group, plural = resource.kind.group, resource.kind.plural
    return call.rights.allows_some("list", group, plural) or call.rights.allows_some("get", group, plural)
