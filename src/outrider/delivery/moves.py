"""Puts namespaces into projects and takes them out, where the server asks for that once and no more.

An annotation that is applied would be put back whenever somebody moves the namespace elsewhere. So these are
changes of what is, made under the condition that it is still so, and not objects to keep.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from outrider.delivery.entries import Entry
from outrider.delivery.hand import KEPT_NAMESPACES, words_of
from outrider.delivery.spaces import PROJECT, Space
from outrider.kit.backoff import Backoff
from outrider.kube.builtin import NAMESPACES
from outrider.kube.client import Client
from outrider.kube.errors import Conflict, KubeError, NotFound

CREATOR: Final = "field.cattle.io/creatorId"
"""Annotation of a namespace that was made through the management plane: by whom."""


class Move(NamedTuple):
    """A namespace that goes from one project to another; an empty one is none. `delete` takes it away altogether.

    `owner` is the feature that wants it.
    """

    owner: str
    namespace: str
    uid: str
    before: str
    after: str
    delete: bool = False


def moves_of(templates: Iterable[Entry], spaces: Mapping[str, Space]) -> list[Move]:
    """What the templates ask for and is not so yet."""
    found: list[Move] = []
    for one in templates:
        for name in one.joining:
            space = spaces.get(name)
            if space is not None and not _is_here(space.project, one.project):
                found.append(Move(one.owner, name, space.uid, space.project, one.project))
        if one.leaving:
            found += [
                Move(one.owner, name, space.uid, one.project, "", _is_ours(name, space))
                for name, space in spaces.items()
                if space.project == one.project
            ]
    return sorted(set(found))


def still_leaving(templates: Iterable[Entry], spaces: Mapping[str, Space], *, known: bool) -> list[str]:
    """Projects that are no more and have namespaces yet, as far as the namespaces are `known`."""
    held = {space.project for space in spaces.values()}
    return sorted({one.project for one in templates if one.leaving and (one.project in held or not known)})


def _is_here(project: str, other: str) -> bool:
    """Whether a project is one of the cluster of another: an annotation may be of an earlier registration."""
    return bool(project) and project.partition(":")[0] == other.partition(":")[0]


def _is_ours(name: str, space: Space) -> bool:
    """Whether a namespace goes with its project."""
    return CREATOR in space.said and name not in KEPT_NAMESPACES


class Mover:
    """Makes the moves that are wanted; `news` is called when one was made, or failed in another way than before.

    What fails is tried again after `retry` seconds at most.
    """

    def __init__(self, client: Client, news: Callable[[], None], *, retry: float = 10.0) -> None:
        self._client = client
        self._news = news
        self._backoff = Backoff(min(0.2, retry), retry)
        self._changed = asyncio.Event()
        self.outcome: dict[Move, str] = {}
        """What is wanted, each with why it failed last; empty: not tried yet, or made and not seen."""

    def want(self, moves: Iterable[Move]) -> None:
        """These and no others are wanted from now on."""
        wanted = {move: self.outcome.get(move, "") for move in moves}
        if wanted != self.outcome:
            self.outcome = wanted
            self._news()
            self._changed.set()

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            self._changed.clear()
            failed = False
            for move in list(self.outcome):
                failed |= not await self._try(move)
            if not failed:
                self._backoff.reset()
                await self._changed.wait()
                continue
            try:
                async with asyncio.timeout(self._backoff.next()):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _try(self, move: Move) -> bool:
        try:
            await self._make(move)
        except NotFound:
            return True  # gone, of which the watch will tell
        except Conflict:
            return False  # written meanwhile, perhaps where nobody looks at: once more
        except KubeError as error:
            if self.outcome.get(move) != (message := words_of(error)) and move in self.outcome:
                self.outcome[move] = message
                self._news()
            return False
        return True

    async def _make(self, move: Move) -> None:
        found = (await self._client.get(NAMESPACES, move.namespace))["metadata"]
        version, project = found["resourceVersion"], (found.get("annotations") or {}).get(PROJECT, "")
        if found["uid"] != move.uid or project != move.before:
            return
        if move.delete:
            await self._client.delete(NAMESPACES, move.namespace, uid=move.uid, resource_version=version)
            return
        metadata: dict[str, Any] = {"resourceVersion": version, "annotations": {PROJECT: move.after or None}}
        await self._client.patch(NAMESPACES, move.namespace, {"metadata": metadata})
