"""The namespaces of the cluster: which project each belongs to, and what it says about itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from outrider.delivery.presence import Presence
from outrider.kit.backoff import Backoff
from outrider.kit.tasks import cancel_and_wait
from outrider.kube.client import Client
from outrider.kube.kind import Kind
from outrider.kube.meta import ObjectKey
from outrider.runtime.following import Follower

PROJECT: Final = "field.cattle.io/projectId"
"""Annotation of a namespace: its project, ``<cluster>:<project>``."""

# An annotation may hold a whole manifest; only what templates can look at is remembered
_SAID: Final = ("field.cattle.io/", "outrider.cattle.io/quota")


class Space(NamedTuple):
    """A namespace that is not being deleted. `created` is its RFC 3339 time; `said` are annotations."""

    project: str = ""
    uid: str = ""
    created: str = ""
    said: Mapping[str, str] = {}


class ProjectNamespaces:
    """Follows the namespaces while templates need it; `changed` is called when one of them did."""

    def __init__(self, client: Client, changed: Callable[[], None], *, watch_seconds: float = 300.0) -> None:
        self._client = client
        self._changed = changed
        self._watch_seconds = watch_seconds
        self._task: asyncio.Task[None] | None = None
        self.synced = False
        self.spaces: dict[str, Space] = {}

    def start(self) -> None:
        """Follow, if that is not done yet."""
        if self._task is not None:
            return
        kind = Kind(
            group="",
            version="v1",
            plural="namespaces",
            kind="Namespace",
            namespaced=False,
            type=Presence,
            metadata_only=True,
        )
        follower = Follower(
            self._client,
            kind,
            self,
            sleep=asyncio.sleep,
            backoff=Backoff(0.2, 30.0),
            watch_seconds=self._watch_seconds,
        )
        self._task = asyncio.create_task(follower.run(), name="namespaces of projects")

    async def close(self) -> None:
        """Follow no longer."""
        if self._task is not None:
            await cancel_and_wait(self._task)
        self._task = None
        self.synced = False
        self.spaces = {}

    def uid_of(self, name: str) -> str:
        """Of a namespace; empty when it is not known."""
        found = self.spaces.get(name)
        return found.uid if found is not None else ""

    def put(self, key: ObjectKey, obj: Presence) -> None:
        """A namespace is like this; one that is being deleted belongs to no project any more."""
        metadata = obj.metadata
        if metadata.deletion_timestamp:
            self._set(key.name, None)
            return
        said = {name: text for name, text in metadata.annotations.items() if name.startswith(_SAID)}
        space = Space(said.get(PROJECT, ""), metadata.uid, metadata.creation_timestamp, said)
        self._set(key.name, space)

    def remove(self, key: ObjectKey) -> None:
        """A namespace is gone."""
        self._set(key.name, None)

    def retain(self, keys: set[ObjectKey]) -> None:
        """All namespaces are known."""
        for name in self.spaces.keys() - {key.name for key in keys}:
            self._set(name, None)
        if not self.synced:
            self.synced = True
            self._changed()

    def _set(self, name: str, space: Space | None) -> None:
        if self.spaces.get(name) == space:
            return
        if space is None:
            del self.spaces[name]
        else:
            self.spaces[name] = space
        if self.synced:
            self._changed()
