"""Changes of objects, watched once a kind for all who look: that something changed, never what it is.

Who is told reads the object as their own user. So one watch serves any number of people, and grants nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from outrider.kit.tasks import cancel_and_wait
from outrider.kube.builtin import untyped
from outrider.kube.client import Client
from outrider.kube.kind import Kind
from outrider.kube.meta import ObjectKey
from outrider.runtime.informer import Event, Informer

Tell = Callable[[ObjectKey, bool], None]
"""Called with an object's key, and whether it is gone."""


@dataclass
class _Watched:
    informer: Informer[dict[str, Any]]
    task: asyncio.Task[None]
    listeners: set[Tell] = field(default_factory=set)


class Changes:
    """The watches of one client: one for each kind that somebody listens to."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._watched: dict[tuple[str, str], _Watched] = {}

    @contextmanager
    def told(self, kind: Kind[Any], tell: Tell) -> Iterator[None]:
        """Calls `tell` for every change while the block runs; what is there at its beginning is no change."""
        key = (kind.group, kind.plural)
        watched = self._watched.get(key)
        if watched is None:
            watched = self._watched[key] = self._watch(kind)
        watched.listeners.add(tell)
        try:
            yield
        finally:
            watched.listeners.discard(tell)
            if not watched.listeners:
                self._watched.pop(key, None)
                watched.task.cancel()

    async def close(self) -> None:
        """End all watches."""
        tasks = [watched.task for watched in self._watched.values()]
        self._watched.clear()
        await cancel_and_wait(*tasks)

    @property
    def watches(self) -> int:
        """How many kinds are watched."""
        return len(self._watched)

    def _watch(self, kind: Kind[Any]) -> _Watched:
        bare = untyped(kind.group, kind.version, kind.plural, kind.kind, namespaced=kind.namespaced)
        bare.metadata_only = True
        informer = Informer(self._client, bare)
        watched = _Watched(informer, asyncio.get_running_loop().create_task(informer.run()))

        def changed(event: Event[dict[str, Any]]) -> None:
            found = event.new or event.old
            if informer.synced and found is not None:
                for tell in list(watched.listeners):
                    tell(bare.key(found), event.new is None)

        informer.subscribe(changed)
        return watched
