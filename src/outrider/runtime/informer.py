"""A local, indexed copy of one kind, kept up to date by list and watch."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, Literal, NamedTuple, TypeVar

from outrider.kit.backoff import Backoff
from outrider.kit.clock import Clock, SystemClock
from outrider.kube.client import Client
from outrider.kube.errors import Gone, KubeError
from outrider.kube.kind import Kind
from outrider.kube.meta import ObjectKey, Rejected
from outrider.kube.watch import WatchEvent
from outrider.runtime.store import IndexFunction, Items, Store

T = TypeVar("T")

log = logging.getLogger(__name__)

# A watch that ends sooner, without an event, is a failure in disguise: do not hammer the server with it.
_SHORT_WATCH = 1.0


class Event(NamedTuple, Generic[T]):
    """A change: ADDED has ``new``, MODIFIED both, DELETED ``old`` (the last state known)."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    old: T | None
    new: T | None


class Informer(Generic[T]):
    """Lists once, then watches from there; readers get the decoded objects, shared and read-only.

    An expired resource version (410) leads to a new list, any other failure to another watch from the last
    version seen, both after a jittered backoff. An object that a new list brings unchanged keeps its instance
    and causes no event. An object that cannot be decoded is logged; its last good state stays.
    ``watch_timeout`` is the range, in seconds, from which each watch's length is drawn, so that many do not
    reconnect at one moment.

    A server whose state was restored from a backup is behind the version that was last seen. It would let a
    watch from there wait without a word, so that version is checked after a watch that broke or said nothing.
    (Once as much has been written again as was lost, this can no longer be seen.)
    """

    def __init__(
        self,
        client: Client,
        kind: Kind[T],
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        indexes: Mapping[str, IndexFunction[T]] | None = None,
        backoff: Backoff | None = None,
        watch_timeout: tuple[float, float] = (300.0, 600.0),
        page_size: int = 500,
        clock: Clock | None = None,
    ) -> None:
        self._client = client
        self.kind = kind
        self._namespace = namespace
        self._labels = labels
        self._fields = fields
        self._backoff = backoff or Backoff(0.8, 30.0)
        self._watch_timeout = watch_timeout
        self._page_size = page_size
        self._clock = clock or SystemClock()
        self._store: Store[T] = Store(indexes or {})
        self._handlers: list[Callable[[Event[T]], None]] = []
        self._synced = asyncio.Event()
        self._version = ""
        self._doubted = False
        self._restored = False

    # Reading

    def __len__(self) -> int:
        return len(self._store)

    def get(self, key: ObjectKey) -> T | None:
        """Return the object, or None."""
        return self._store.get(key)

    def list(self, namespace: str | None = None) -> Iterable[T]:
        """Return all objects, or those of one namespace, as of now."""
        return self._store.all() if namespace is None else self._store.namespace(namespace)

    def index(self, name: str, value: str) -> Items[T]:
        """Return the objects for which the index ``name`` gave ``value``."""
        return self._store.index(name, value)

    @property
    def synced(self) -> bool:
        """Whether a whole list has arrived; it stays true."""
        return self._synced.is_set()

    @property
    def resource_version(self) -> str:
        """The version up to which changes have been seen."""
        return self._version

    async def wait_synced(self) -> None:
        """Return when a whole list has arrived."""
        await self._synced.wait()

    def subscribe(self, handler: Callable[[Event[T]], None]) -> Callable[[], None]:
        """Call ``handler`` for every object that is here (ADDED) and every change to come.

        Handlers must not block. Returns a function that ends the subscription.
        """
        self._handlers.append(handler)
        for obj in self._store.all():
            self._call(handler, Event("ADDED", None, obj))

        def unsubscribe() -> None:
            with contextlib.suppress(ValueError):
                self._handlers.remove(handler)

        return unsubscribe

    # Following

    async def run(self) -> None:
        """List and watch until cancelled."""
        while True:
            try:
                if self._version and self._doubted:
                    await self._check_version()
                if not self._version:
                    await self._relist()
                quick = await self._watch()
            except Gone:
                log.info("%s: the resource version has expired; listing again", self.kind.plural)
                self._version = ""
                quick = True
            except KubeError as error:
                log.warning("%s: %s; trying again", self.kind.plural, error)
                self._doubted = quick = True
            if quick:
                await self._clock.sleep(self._backoff.next())

    async def _check_version(self) -> None:
        """Forget the version when the server is behind it; what has the same version may then differ."""
        async with contextlib.aclosing(self._client.pages(self.kind, self._namespace, limit=1)) as pages:
            page = await anext(pages)
        self._doubted = False
        if _is_behind(page.resource_version, self._version):
            log.warning("%s: the server went back in time; listing again", self.kind.plural)
            self._version = ""
            self._restored = True

    async def _relist(self) -> None:
        try:
            version, seen = await self._list(self._page_size)
        except Gone:
            # The pages expired before the last one was read: only a list in one piece can be consistent.
            version, seen = await self._list(0)
        for key in [key for key in self._store if key not in seen]:
            self._delete(key)
        self._version = version
        self._restored = False
        if not self.synced:
            log.debug("%s: %d objects at %s", self.kind.plural, len(self._store), version)
        self._synced.set()

    async def _list(self, page_size: int) -> tuple[str, set[ObjectKey]]:
        seen: set[ObjectKey] = set()
        version = ""
        pages = self._client.pages(
            self.kind, self._namespace, labels=self._labels, fields=self._fields, limit=page_size
        )
        async with contextlib.aclosing(pages):
            async for page in pages:
                for obj in page.items:
                    seen.add(self._upsert(obj))
                for rejected in page.rejected:
                    seen.add(rejected.key)
                    self._reject(rejected)
                version = page.resource_version
        return version, seen

    async def _watch(self) -> bool:
        """Watch once; return whether it ended too soon."""
        started = self._clock.monotonic()
        events = 0
        # Stays so when it says nothing to its end.
        self._doubted = True
        stream = self._client.watch(
            self.kind,
            self._namespace,
            resource_version=self._version,
            labels=self._labels,
            fields=self._fields,
            timeout=random.uniform(*self._watch_timeout),  # noqa: S311 - spreads load, guards nothing
        )
        async with contextlib.aclosing(stream):
            async for event in stream:
                events += 1
                self._doubted = False
                self._backoff.reset()
                self._handle(event)
        quick = events == 0 and self._clock.monotonic() - started < _SHORT_WATCH
        if not quick:
            self._backoff.reset()
        return quick

    def _handle(self, event: WatchEvent[T]) -> None:
        if event.type == "REJECTED":
            self._reject(Rejected(event.key, event.reason))
        elif event.type == "DELETED":
            self._delete(event.key, event.object)
        elif event.object is not None:
            self._upsert(event.object)
        if event.resource_version:
            self._version = event.resource_version

    def _upsert(self, obj: T) -> ObjectKey:
        _strip(obj)
        key = self.kind.key(obj)
        old = self._store.get(key)
        if old is not None:
            same = self.kind.resource_version(old) == self.kind.resource_version(obj)
            if same and (not self._restored or old == obj):
                return key
            if self.kind.uid(old) != self.kind.uid(obj):
                # Deleted and made again while nobody watched: whoever holds the old one must let it go.
                self._delete(key)
                old = None
        self._store.put(key, obj)
        self._emit(Event("MODIFIED" if old is not None else "ADDED", old, obj))
        return key

    def _delete(self, key: ObjectKey, last: T | None = None) -> None:
        old = self._store.remove(key)
        if old is not None:
            self._emit(Event("DELETED", last if last is not None else old, None))

    def _reject(self, rejected: Rejected) -> None:
        log.error("%s %s is left as it was last known: %s", self.kind.kind, rejected.key, rejected.reason)

    def _emit(self, event: Event[T]) -> None:
        for handler in tuple(self._handlers):
            self._call(handler, event)

    def _call(self, handler: Callable[[Event[T]], None], event: Event[T]) -> None:
        try:
            handler(event)
        except Exception:
            log.exception("a handler of %s failed", self.kind.plural)


def _is_behind(version: str, seen: str) -> bool:
    # Versions are etcd's revisions (KEP-5504 makes that official); others cannot be ordered.
    return version.isdecimal() and seen.isdecimal() and int(version) < int(seen)


def _strip(obj: object) -> None:
    """Drop what outweighs an untyped object and no reader of a local copy needs."""
    if isinstance(obj, dict) and isinstance(meta := obj.get("metadata"), dict):
        meta.pop("managedFields", None)
