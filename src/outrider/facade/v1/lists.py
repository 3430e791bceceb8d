"""Lists that somebody looks at, page by page: kept while they do, and current by a watch of their own.

Nothing is kept of a list that nobody looks at: it goes `idle` seconds after its last page. Rows were read as the user
and are shown to that user only; before each page the API server is asked whether they may still list.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from outrider.apis.norman import NormanError
from outrider.facade.v1.live import LiveList
from outrider.facade.v1.paths import Path
from outrider.facade.v1.reading import Listing, load
from outrider.kit.tasks import cancel_and_wait
from outrider.kube.errors import KubeError
from outrider.kube.kind import Kind
from outrider.kube.meta import ObjectKey

log = logging.getLogger(__name__)

_REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


LOADING: Final = 4
"""Lists that are read at once; others wait for their turn."""


class Key(NamedTuple):
    """What names a list: of which cluster, for whom, of what, and what of it."""

    cluster: str
    identity: bytes
    group: str
    plural: str
    namespace: str
    labels: str
    fields: str


class Lists:
    """The lists that are looked at. Times in seconds, sizes in bytes.

    `idle`: how long one is kept after its last page; `life`: how long at most, since cells that tell a time grow old.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        *,
        idle: float = 120.0,
        life: float = 600.0,
        most: int = 64,
        most_bytes: int = 256 << 20,
    ) -> None:
        self._now = now
        self._idle = idle
        self._life = life
        self._most = most
        self._most_bytes = most_bytes
        self._held: dict[Key, _Held] = {}
        self._turns = asyncio.Semaphore(LOADING)
        self._loading: dict[Key, asyncio.Task[LiveList]] = {}

    def __len__(self) -> int:
        return len(self._held)

    async def view(self, cluster: str, listing: Listing, paths: Sequence[Path]) -> LiveList:
        """The list as it is now. `paths` are the fields that are about to be looked at. Raises KubeError."""
        if not _can_follow(listing):
            return await self._read(listing, paths)
        key = _key(cluster, listing)
        held = self._held.get(key)
        if held is not None and held.view.alive and await _may_list(listing):
            held.used()
            await held.view.settled()
            return held.view
        if held is not None:
            self._drop(key)
        return await self._load(key, listing, paths)

    def wrote(self, cluster: str, kind: Kind[Any], key: ObjectKey) -> None:
        """An object of a kind was written through this server."""
        for name, held in self._held.items():
            same = (name.cluster, name.group, name.plural) == (cluster, kind.group, kind.plural)
            if same and name.namespace in ("", key.namespace):
                held.view.wrote(key)

    async def close(self) -> None:
        """Lets go of all lists."""
        tasks = [held.task for held in self._held.values()] + list(self._loading.values())
        for key in list(self._held):
            self._drop(key)
        await cancel_and_wait(*tasks)

    async def _read(self, listing: Listing, paths: Sequence[Path]) -> LiveList:
        async with self._turns:
            return LiveList(await load(listing, paths, self._now), listing)

    async def _load(self, key: Key, listing: Listing, paths: Sequence[Path]) -> LiveList:
        task = self._loading.get(key)
        if task is None:
            task = self._loading[key] = asyncio.create_task(self._loaded(key, listing, paths))
            task.add_done_callback(lambda done: self._done_loading(key, done))
        # who goes away does not end it for those who wait beside them
        return await asyncio.shield(task)

    def _done_loading(self, key: Key, task: asyncio.Task[LiveList]) -> None:
        self._loading.pop(key, None)
        if not task.cancelled():
            task.exception()  # those who waited for it were told

    async def _loaded(self, key: Key, listing: Listing, paths: Sequence[Path]) -> LiveList:
        view = await self._read(listing, paths)
        self._held[key] = _Held(view, asyncio.create_task(self._follow(key, view)), self._idle, self._life)
        self._held[key].watch_out(lambda: self._drop(key))
        self._make_room(key)
        return view

    async def _follow(self, key: Key, view: LiveList) -> None:
        try:
            await view.follow()
        except (KubeError, NormanError) as error:
            log.debug("a list is read anew when it is looked at next: %s", error)
        finally:
            view.alive = False
            held = self._held.get(key)
            if held is not None and held.view is view:
                self._drop(key)

    def _drop(self, key: Key) -> None:
        held = self._held.pop(key, None)
        if held is not None:
            held.end()

    def _make_room(self, newest: Key) -> None:
        order = sorted(self._held, key=lambda key: self._held[key].last)
        for key in order:
            size = sum(held.view.rows.size for held in self._held.values())
            if key == newest or (len(self._held) <= self._most and size <= self._most_bytes):
                return
            self._drop(key)


class _Held:
    """A list, the task that keeps it current, and when it goes."""

    def __init__(self, view: LiveList, task: asyncio.Task[None], idle: float, life: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.view = view
        self.task = task
        self.last = self._loop.time()
        self._idle = idle
        self._until = self.last + life
        self._timer: asyncio.TimerHandle | None = None

    def used(self) -> None:
        """Somebody looks at it."""
        self.last = self._loop.time()

    def watch_out(self, drop: Callable[[], Any]) -> None:
        """Calls `drop` once nobody has looked for a while."""
        due = min(self.last + self._idle, self._until)
        if self._loop.time() >= due:
            drop()
            return
        self._timer = self._loop.call_at(due, self.watch_out, drop)

    def end(self) -> None:
        """Frees it."""
        self.view.alive = False
        self.task.cancel()
        if self._timer is not None:
            self._timer.cancel()


def _can_follow(listing: Listing) -> bool:
    """Whether a list can be kept current: one whole part of the kind, which can be watched."""
    return len(listing.scopes) == 1 and listing.scopes[0].names is None and "watch" in listing.resource.verbs


async def _may_list(listing: Listing) -> bool:
    """What the API server says to whether the user may list, now."""
    kind = listing.resource.kind
    attributes = {
        "verb": "list",
        "group": kind.group,
        "version": kind.version,
        "resource": kind.plural,
        "namespace": listing.scopes[0].namespace,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = await listing.client.post(_REVIEWS, review)
    return (answer.get("status") or {}).get("allowed") is True


def _key(cluster: str, listing: Listing) -> Key:
    kind = listing.resource.kind
    return Key(
        cluster,
        msgspec.json.encode(listing.identity),
        kind.group,
        kind.plural,
        listing.scopes[0].namespace,
        listing.labels,
        listing.fields,
    )
