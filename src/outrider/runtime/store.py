"""Decoded objects in memory, found by key, by namespace and by index."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Generic, Protocol, TypeVar

from outrider.kube.meta import ObjectKey

T = TypeVar("T")

log = logging.getLogger(__name__)

IndexFunction = Callable[[T], Iterable[str]]
# Within a class with a method `list` the built-in has no name.
Items = list[T]


class Lister(Protocol[T]):
    """The read-only half of an informer. Objects handed out are shared: never change one."""

    def get(self, key: ObjectKey) -> T | None:
        """Return the object, or None."""
        ...

    def list(self, namespace: str | None = None) -> Iterable[T]:
        """Return all objects, or those of one namespace."""
        ...

    def index(self, name: str, value: str) -> Items[T]:
        """Return the objects for which the index ``name`` gave ``value``."""
        ...


class Store(Generic[T]):
    """Objects by namespace and name, and by what index functions say of them.

    An index function that fails for an object is logged, and the object is then absent from that index only.
    """

    def __init__(self, indexes: Mapping[str, IndexFunction[T]]) -> None:
        self._objects: dict[str, dict[str, T]] = {}
        self._functions = dict(indexes)
        self._indexes: dict[str, dict[str, dict[ObjectKey, None]]] = {name: {} for name in indexes}
        # What each object was filed under, so that it is found again even if its function would now differ.
        self._filed: dict[ObjectKey, dict[str, tuple[str, ...]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._objects.values()))

    def get(self, key: ObjectKey) -> T | None:
        """Return the object, or None."""
        return self._objects.get(key[0], {}).get(key[1])

    def __iter__(self) -> Iterator[ObjectKey]:
        for namespace, objects in self._objects.items():
            for name in objects:
                yield ObjectKey(namespace, name)

    def all(self) -> list[T]:
        """Return every object."""
        return [obj for objects in self._objects.values() for obj in objects.values()]

    def namespace(self, namespace: str) -> list[T]:
        """Return the objects of one namespace."""
        return list(self._objects.get(namespace, {}).values())

    def index(self, name: str, value: str) -> list[T]:
        """Return the objects filed under ``value``; raises KeyError for an index that was never declared."""
        found = (self.get(key) for key in self._indexes[name].get(value, ()))
        return [obj for obj in found if obj is not None]

    def put(self, key: ObjectKey, obj: T) -> None:
        """Add or replace an object."""
        self._objects.setdefault(key.namespace, {})[key.name] = obj
        self._unfile(key)
        self._file(key, obj)

    def remove(self, key: ObjectKey) -> T | None:
        """Remove and return an object; None when there is none."""
        objects = self._objects.get(key.namespace)
        if objects is None or key.name not in objects:
            return None
        self._unfile(key)
        obj = objects.pop(key.name)
        if not objects:
            del self._objects[key.namespace]
        return obj

    def _file(self, key: ObjectKey, obj: T) -> None:
        filed: dict[str, tuple[str, ...]] = {}
        for name, function in self._functions.items():
            try:
                values = tuple(function(obj))
            except Exception:
                log.exception("index %s failed for %s; the object is left out of it", name, key)
                continue
            if values:
                filed[name] = values
            for value in values:
                self._indexes[name].setdefault(value, {})[key] = None
        if filed:
            self._filed[key] = filed

    def _unfile(self, key: ObjectKey) -> None:
        for name, values in self._filed.pop(key, {}).items():
            index = self._indexes[name]
            for value in values:
                keys = index.get(value)
                if keys is not None:
                    keys.pop(key, None)
                    if not keys:
                        del index[value]
