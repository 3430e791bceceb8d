"""One subscription of `/v1`: changes of a kind become frames, each with what the subscriber reads as their own user."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import msgspec
from starlette.websockets import WebSocket

from outrider.facade.changes import Change, Watches
from outrider.facade.v1.asked import Asked, Asking
from outrider.facade.v1.objects import read
from outrider.facade.v1.paths import dig
from outrider.facade.v1.place import Target
from outrider.facade.v1.query import Query
from outrider.facade.v1.rendering import Renderer
from outrider.facade.v1.shared import Shared
from outrider.facade.v1.subscriptions import CHANGES, Subscription
from outrider.kube.errors import Forbidden, Gone, NotFound
from outrider.kube.meta import ObjectKey
from outrider.kube.selectors import LabelSelector, SelectorError, parse_labels

Json = dict[str, Any]
Send = Callable[[Json | bytes], Awaitable[None]]

_LONGEST_PAUSE: Final = 60.0


@dataclass(frozen=True)
class Told:
    """What all subscriptions share. `asking` finds who asks, `watches` what changes, `shared` what was read already.

    `pause` is how long changes gather before they are told, in seconds.
    """

    asking: Asking
    renderer: Renderer
    watches: Watches
    shared: Shared
    pause: float


class Following:
    """One subscription to a kind."""

    def __init__(
        self, told: Told, websocket: WebSocket, target: Target, asked: Subscription, send: Send
    ) -> None:
        self._told = told
        self._websocket = websocket
        self._target = Target(target.cluster, target.prefix, asked.resource_type)
        self._asked = asked
        self._send = send
        self._pending: dict[ObjectKey, Change] = {}
        self._there = asyncio.Event()
        self._lost = False
        self._selector = LabelSelector()

    async def run(self) -> None:
        """Until it is cancelled. Raises NormanError, KubeError where it cannot begin or go on."""
        try:
            self._selector = parse_labels(self._asked.selector)
        except SelectorError as error:
            raise Gone(str(error)) from None
        first = await self._told.asking.kind(self._websocket, self._target)
        self._check(first)
        changes = self._told.watches.of(first.cluster, first.call.identity, first.call.client)
        async with changes.told(first.resource.kind, self._hear, since=self._asked.resource_version):
            await self._send(self._asked.frame("start"))
            while not self._lost:
                await self._there.wait()
                await asyncio.sleep(self._told.pause)
                await self._tell(first)
        raise Gone(f"what happened to {first.resource.plural} meanwhile is not known: list them anew")

    def _check(self, asked: Asked) -> None:
        kind, rights = asked.resource.kind, asked.call.rights
        if not {"list", "watch"} <= asked.resource.verbs:
            raise Gone(f"{asked.resource.plural} cannot be watched")
        if not any(rights.allows_some(verb, kind.group, kind.plural) for verb in ("list", "get", "watch")):
            raise Forbidden(f"you may not see any {asked.resource.plural}")

    def _hear(self, change: Change) -> None:
        if change.event == "lost":
            self._lost = True
        elif self._asked.is_about(change.key):
            before = self._pending.get(change.key)
            made = before is not None and before.event == "create" and change.event == "change"
            self._pending[change.key] = Change("create", change.key, change.revision) if made else change
        else:
            return
        self._there.set()

    async def _tell(self, first: Asked) -> None:
        self._there.clear()
        changes, self._pending = list(self._pending.values()), {}
        if not changes:
            return
        if self._asked.mode == CHANGES:
            await self._tell_that(changes, first)
            return
        for change in changes:
            frame = await self._frame(change, first)
            if frame is not None:
                await self._send(frame)

    async def _tell_that(self, changes: list[Change], first: Asked) -> None:
        """That something changed among what they may see; then nothing for as long as they said."""
        for change in changes:
            if await self._may_see(change.key, first):
                await self._send(self._asked.frame("changes", revision=changes[-1].revision))
                await asyncio.sleep(min(self._asked.debounce_ms / 1000, _LONGEST_PAUSE))
                return

    async def _frame(self, change: Change, first: Asked) -> Json | None:
        """What is said of a change; nothing of what is not theirs to see."""
        if change.gone:
            return self._removed(change, first) if await self._may_see(change.key, first) else None
        found = await self._read(change, first)
        if found is None:
            return None
        labels, shown = found
        if not self._selector.matches(labels):
            return self._removed(change, first)
        return self._asked.frame(change.event, revision=change.revision, data=shown)

    def _removed(self, change: Change, first: Asked) -> Json:
        key, link = change.key, first.place.resource(first.resource, change.key)
        metadata = {"name": key.name} | ({"namespace": key.namespace} if key.namespace else {})
        data = {"id": str(key), "type": first.resource.id, "links": {"self": link}, "metadata": metadata}
        return self._asked.frame("remove", revision=change.revision, data=data)

    async def _read(self, change: Change, first: Asked) -> tuple[dict[str, str], msgspec.Raw] | None:
        """The object's labels and its resource, read and shown once for all subscriptions of the user's."""
        asked = await self._rights(change.key.namespace, first)
        name = ("shown", *self._who(first), first.place, first.resource.id, change.key, change.revision)
        try:
            return await self._told.shared.get(name, partial(self._shown, change, asked))
        except (NotFound, Forbidden):
            return None  # gone again, or not theirs

    async def _shown(self, change: Change, asked: Asked) -> tuple[dict[str, str], msgspec.Raw]:
        entry = await read(asked.call.client, asked.resource.kind, change.key)
        shown = msgspec.json.encode(self._told.renderer.one(asked, entry, Query()))
        return dig(entry.data, ("metadata", "labels")) or {}, msgspec.Raw(shown)

    async def _may_see(self, key: ObjectKey, first: Asked) -> bool:
        kind, asked = first.resource.kind, await self._rights(key.namespace, first)
        return any(
            asked.call.rights.allows(verb, kind.group, kind.plural, name=key.name, namespace=key.namespace)
            for verb in ("get", "list", "watch")
        )

    async def _rights(self, namespace: str, first: Asked) -> Asked:
        """The subscriber's rights as they are now, or were a moment ago."""
        if not first.resource.kind.namespaced:
            namespace = ""
        name = ("rights", *self._who(first), first.place, first.resource.plural, namespace)
        target = Target(
            self._target.cluster, self._target.prefix, self._target.type, (namespace,) * bool(namespace)
        )
        return await self._told.shared.get(name, lambda: self._told.asking.kind(self._websocket, target))

    def _who(self, first: Asked) -> tuple[str, str]:
        return first.cluster, repr(first.call.identity)
