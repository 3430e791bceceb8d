"""A Transport that is a tiny API server in memory: enough to inject the failures that a real one rarely shows."""

import asyncio
import copy
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from outrider.kube.errors import ApiError, TransportError, make
from outrider.kube.kind import Kind
from outrider.kube.transport import Request, Response

Interference = Callable[[Request], Response | Exception | None]


class FakeApi:
    """Lists with pages, watches, creates, merge-patches and deletes objects of the given kinds.

    ``interfere`` sees each request first and may answer it, or raise by returning an exception. ``cut()`` breaks all
    watches. Resource versions count up; ``expire()`` makes those before now too old to watch from.
    """

    def __init__(self, *kinds: Kind[Any]) -> None:
        self.kinds = kinds
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.version = 100
        self.oldest = 0
        self.requests: list[Request] = []
        self.interfere: Interference | None = None
        self.watches: list[tuple[str, str, int, asyncio.Queue[bytes | Exception | None]]] = []
        self._history: list[tuple[int, str, str, dict[str, Any]]] = []
        self._uids = itertools.count(1)

    # What a test does to the cluster

    def put(self, kind: Kind[Any], name: str, namespace: str = "", **fields: Any) -> dict[str, Any]:
        """Create or change an object."""
        place = (kind.plural, namespace, name)
        old = self.objects.get(place)
        self.version += 1
        meta = dict(fields.pop("metadata", {}), name=name, resourceVersion=str(self.version))
        meta["uid"] = old["metadata"]["uid"] if old else f"uid-{next(self._uids)}"
        if namespace:
            meta["namespace"] = namespace
        obj = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": meta, **fields}
        self.objects[place] = obj
        self._tell(kind.plural, "MODIFIED" if old else "ADDED", obj)
        return obj

    def drop(self, kind: Kind[Any], name: str, namespace: str = "") -> None:
        """Delete an object."""
        obj = copy.deepcopy(self.objects.pop((kind.plural, namespace, name)))
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        self._tell(kind.plural, "DELETED", obj)

    def expire(self) -> None:
        """Forget the past: watching from any version before now answers 410."""
        self.oldest = self.version
        self._history.clear()

    def restore(self, objects: Mapping[tuple[str, str, str], dict[str, Any]], version: int) -> None:
        """Put back an earlier state, as from a backup: versions count on from there."""
        self.objects = copy.deepcopy(dict(objects))
        self.version = version
        self._history.clear()
        self.cut(TransportError("the server stops"))

    def cut(self, how: Exception | None = None) -> None:
        """End every watch: quietly, or with an error."""
        for *_, queue in self.watches:
            queue.put_nowait(how)

    def send(self, event: Mapping[str, Any]) -> None:
        """Put a line on every watch."""
        for *_, queue in self.watches:
            queue.put_nowait(msgspec.json.encode(event) + b"\n")

    # Transport

    async def request(self, request: Request, *, timeout: float) -> Response:
        await asyncio.sleep(0)
        self.requests.append(request)
        try:
            if (answer := self._interference(request)) is not None:
                return answer
            return _json(200, self._answer(request))
        except ApiError as error:
            return _json(error.code, error.to_status())

    @asynccontextmanager
    async def stream(self, request: Request, *, timeout: float) -> AsyncIterator["FakeStream"]:
        await asyncio.sleep(0)
        self.requests.append(request)
        kind, namespace, _, query = self._parse(request)
        queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        try:
            if (answer := self._interference(request)) is None:
                since = int(query["resourceVersion"])
                if since < self.oldest:
                    raise make(410, "Expired", f"too old resource version: {since}", None, None)
        except ApiError as error:
            answer = _json(error.code, error.to_status())
        if answer is not None:
            queue.put_nowait(answer.body)
            queue.put_nowait(None)
            yield FakeStream(answer.status, queue)
            return
        for version, plural, line_type, obj in self._history:
            if version > since and plural == kind.plural and _within(obj, namespace):
                queue.put_nowait(_line(line_type, obj))
        entry = (kind.plural, namespace, since, queue)
        self.watches.append(entry)
        try:
            yield FakeStream(200, queue)
        finally:
            self.watches.remove(entry)

    async def close(self) -> None:
        self.cut()

    # Inside

    def _interference(self, request: Request) -> Response | None:
        answer = self.interfere(request) if self.interfere else None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _parse(self, request: Request) -> tuple[Kind[Any], str, str, dict[str, str]]:
        parts = urlsplit(request.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        for kind in self.kinds:
            base = kind.path()
            root = base[: -len(kind.plural) - 1]
            rest = parts.path.removeprefix(root)
            pieces = rest.strip("/").split("/")
            namespace = ""
            if pieces[0] == "namespaces" and len(pieces) > 2:
                namespace, pieces = pieces[1], pieces[2:]
            if parts.path.startswith(root + "/") and pieces[0] == kind.plural:
                return kind, namespace, pieces[1] if len(pieces) > 1 else "", query
        raise AssertionError(f"no kind serves {parts.path}")

    def _answer(self, request: Request) -> dict[str, Any]:
        kind, namespace, name, query = self._parse(request)
        place = (kind.plural, namespace, name)
        if request.method == "GET" and not name:
            return self._list(kind, namespace, query)
        if request.method == "POST":
            return self._create(kind, namespace, msgspec.json.decode(request.body))
        if place not in self.objects:
            raise make(404, "NotFound", f'{kind.plural} "{name}" not found', None, None)
        if request.method == "PATCH":
            return self._patch(kind, place, msgspec.json.decode(request.body))
        if request.method == "DELETE":
            self.drop(kind, name, namespace)
            return {"kind": "Status", "status": "Success"}
        return self.objects[place]

    def _list(self, kind: Kind[Any], namespace: str, query: dict[str, str]) -> dict[str, Any]:
        items = [
            obj
            for (plural, _, _), obj in sorted(self.objects.items())
            if plural == kind.plural and _within(obj, namespace)
        ]
        start = int(query.get("continue", 0))
        limit = int(query.get("limit", 0)) or len(items) + 1
        meta = {"resourceVersion": str(self.version)}
        if start + limit < len(items):
            meta["continue"] = str(start + limit)
        return {"metadata": meta, "items": items[start : start + limit]}

    def _create(self, kind: Kind[Any], namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        name = body["metadata"]["name"]
        if (kind.plural, namespace, name) in self.objects:
            raise make(409, "AlreadyExists", f'{kind.plural} "{name}" already exists', None, None)
        for key in ("apiVersion", "kind"):
            body.pop(key)
        return self.put(kind, name, namespace, **body)

    def _patch(self, kind: Kind[Any], place: tuple[str, str, str], patch: dict[str, Any]) -> dict[str, Any]:
        old = self.objects[place]
        wanted = patch.get("metadata", {}).pop("resourceVersion", "")
        if wanted and wanted != old["metadata"]["resourceVersion"]:
            raise make(409, "Conflict", "the object has been modified", None, None)
        new = _merge(copy.deepcopy(old), patch)
        for key in ("apiVersion", "kind"):
            new.pop(key)
        return self.put(kind, place[2], place[1], **new)

    def _tell(self, plural: str, event: str, obj: dict[str, Any]) -> None:
        self._history.append((self.version, plural, event, copy.deepcopy(obj)))
        for watched, namespace, since, queue in self.watches:
            # As etcd does: a watch from the future waits for it.
            if watched == plural and _within(obj, namespace) and self.version > since:
                queue.put_nowait(_line(event, obj))


class FakeStream:
    """A StreamedResponse fed from a queue: bytes, an exception to raise, or None for its end."""

    def __init__(self, status: int, queue: "asyncio.Queue[bytes | Exception | None]") -> None:
        self.status = status
        self.headers: Mapping[str, str] = {}
        self._queue = queue

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (item := await self._queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item


def _within(obj: Mapping[str, Any], namespace: str) -> bool:
    return not namespace or obj["metadata"].get("namespace") == namespace


def _line(event: str, obj: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode({"type": event, "object": obj}) + b"\n"


def _json(status: int, body: Any) -> Response:
    return Response(status=status, headers={}, body=msgspec.json.encode(body))


def _merge(target: dict[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            target[key] = _merge(dict(target.get(key) or {}), value)
        else:
            target[key] = value
    return target
