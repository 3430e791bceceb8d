"""The one edge: objects of a view read and written as the user who asks.

What the user may not list everywhere is put together of what their rules name, each read as the user: rights
narrow what is asked for, and the API server answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

from outrider.apis.norman import NormanError
from outrider.apis.views.call import Call
from outrider.apis.views.view import Json, View
from outrider.kit.tasks import cancel_and_wait
from outrider.kube.builtin import plain
from outrider.kube.client import Client
from outrider.kube.errors import Conflict, Forbidden, NotFound
from outrider.kube.meta import ObjectKey
from outrider.kube.rules import Rules, own_rules

T = TypeVar("T")

WIDTH: Final = 16
"""Requests at once for one answer."""

PAGE: Final = 5000
"""Objects in one answer of the API server, which has them in memory: pages would only cost time."""

MOST_NAMES: Final = 2000
"""Objects that are read one by one for one answer, at most."""

_ATTEMPTS: Final = 4


class Edge:
    """The objects of one view, for one request."""

    def __init__(self, view: View, call: Call, namespaces: Sequence[str] = ()) -> None:
        """`namespaces` are those in which the user may have rights beside the ones that hold everywhere."""
        self._view = view
        self._call = call
        self._client: Client = call.client
        self._namespaces = namespaces
        self._kind = plain(view.kind)

    async def list(self, namespace: str = "") -> Sequence[Json]:
        """What the user may see, in one namespace or everywhere. Raises Forbidden where that is nothing at all."""
        if self._view.store is not None:
            return await self._view.store.list(self._call)
        if self._may("list", namespace=namespace):
            return (await self._client.list(self._kind, namespace, limit=PAGE)).items
        if not self._call.rights.allows_some("list", *self._resource) and not self._call.rights.allows_some(
            "get", *self._resource
        ):
            # the API server's own words for it
            return (await self._client.list(self._kind, namespace, limit=PAGE)).items
        if not self._kind.namespaced:
            names = self._call.rights.everywhere.names("get", *self._resource) or ()
            return await self._named("", names)
        return await self.list_within([namespace] if namespace else self._namespaces)

    async def list_within(self, namespaces: Sequence[str]) -> Sequence[Json]:
        """What the user may see in some namespaces."""
        parts = await gather(partial(self._within, one) for one in namespaces)
        return [obj for part in parts for obj in part]

    async def _within(self, namespace: str) -> Sequence[Json]:
        if self._may("list", namespace=namespace):
            try:
                return (await self._client.list(self._kind, namespace, limit=PAGE)).items
            except (Forbidden, NotFound):
                return []
        names = self._call.rights.names("get", *self._resource, namespace=namespace) or ()
        return await self._named(namespace, names)

    async def _named(self, namespace: str, names: Iterable[str]) -> Sequence[Json]:
        async def one(name: str) -> Json | None:
            try:
                return await self._client.get(self._kind, name, namespace)
            except (Forbidden, NotFound, ValueError):
                return None

        found = await gather(partial(one, name) for name in sorted(names)[:MOST_NAMES])
        return [obj for obj in found if obj is not None]

    async def get(self, key: ObjectKey) -> Json:
        """One object. Raises ApiError as the API server does, NormanError for a key that no object can have."""
        if self._view.store is not None:
            return await self._view.store.get(self._call, key)
        try:
            return await self._client.get(self._kind, key.name, key.namespace)
        except ValueError:
            raise not_found(self._view, key) from None

    async def get_or_new(self, key: ObjectKey) -> Json:
        """One object, or one of that name that was never stored."""
        try:
            return await self.get(key)
        except (NotFound, NormanError) as error:
            if isinstance(error, NormanError) and error.status != 404:
                raise
            return {"metadata": {"name": key.name}}

    async def create(self, draft: Json) -> Json:
        """The object as stored."""
        if self._view.store is not None:
            return await self._view.store.create(self._call, draft)
        try:
            return await self._client.create(self._kind, draft)
        except ValueError as error:
            raise NormanError(422, str(error), code="InvalidFormat") from None

    async def update(self, old: Json, patch: Json) -> Json:
        """The object after a merge patch, as long as it is the one that was read. Raises Conflict."""
        if not patch:
            return old
        if self._view.store is not None:
            return await self._view.store.update(self._call, old, patch)
        key, version = self._kind.key(old), self._kind.resource_version(old)
        if self._may("patch", key.name, key.namespace) or not self._may("update", key.name, key.namespace):
            locked = {**patch, "metadata": {**(patch.get("metadata") or {}), "resourceVersion": version}}
            return await self._client.patch(self._kind, key.name, locked, key.namespace)
        # rights written for clients that only ever replaced
        return await self._client.replace(self._kind, merged(old, patch))

    async def delete(self, old: Json) -> Json | None:
        """The object that waits for its finalizers, or None when it is gone."""
        if self._view.store is not None:
            return await self._view.store.delete(self._call, old)
        key, uid = self._kind.key(old), self._kind.uid(old)
        await self._client.delete(self._kind, key.name, key.namespace, uid=uid)
        try:
            left = await self._client.get(self._kind, key.name, key.namespace)
        except (NotFound, Forbidden):
            return None
        return left if self._kind.uid(left) == uid else None

    @property
    def _resource(self) -> tuple[str, str]:
        return self._kind.group, self._kind.plural

    def _may(self, verb: str, name: str = "", namespace: str = "") -> bool:
        return self._call.rights.allows(verb, *self._resource, name=name, namespace=namespace)


async def rules_within(client: Client, namespaces: Iterable[str]) -> Mapping[str, Rules]:
    """The user's rules in each namespace. Raises KubeError."""
    names = list(dict.fromkeys(namespaces))
    found = await gather(partial(own_rules, client, name) for name in names)
    return dict(zip(names, found, strict=True))


async def gather(work: Iterable[Callable[[], Awaitable[T]]]) -> list[T]:
    """Results in their order, with at most `WIDTH` under way; the first failure ends the rest."""
    slots = asyncio.Semaphore(WIDTH)

    async def one(start: Callable[[], Awaitable[T]]) -> T:
        async with slots:
            return await start()

    tasks = [asyncio.create_task(one(start)) for start in work]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        await cancel_and_wait(*tasks)
        raise


async def retried(attempt: Callable[[], Awaitable[Json]]) -> Json:
    """What `attempt` returns; it is made anew when somebody else wrote in between. Raises Conflict in the end."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return await attempt()
        except Conflict:
            continue
    return await attempt()


def merged(old: Json, patch: Json) -> Json:
    """What a merge patch (RFC 7386) makes of an object."""
    new = dict(old)
    for key, value in patch.items():
        if value is None:
            new.pop(key, None)
        elif isinstance(value, dict):
            held = new.get(key)
            new[key] = merged(held if isinstance(held, dict) else {}, value)
        else:
            new[key] = value
    return new


def not_found(view: View, key: ObjectKey) -> NormanError:
    """The answer for an object that is not there."""
    return NormanError(404, f"{view.type} {key.name or key} not found")
