"""A cluster in memory that does server-side apply, for histories with many crashes.

Ownership is kept for each entry of `data`, `labels` and `annotations`: as in KEP-555, whoever sets another value
or removes a field takes it from the one who applied it, and an apply drops what its manager set before and
does not mention any more.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from outrider.kube.errors import ApiError, make
from outrider.kube.transport import Request, Response

Field = tuple[str, str]
"""A section, ``data``, ``labels`` or ``annotations``, and a key in it."""

RESOURCES = {
    ("v1", "namespaces"): ("Namespace", False),
    ("v1", "configmaps"): ("ConfigMap", True),
    ("v1", "secrets"): ("Secret", True),
}


class Stored:
    """One object."""

    def __init__(self, plural: str, namespace: str, name: str, uid: str) -> None:
        self.plural, self.namespace, self.name, self.uid = plural, namespace, name, uid
        self.version = 0
        self.fields: dict[Field, str] = {}
        self.owned: dict[str, set[Field]] = {}

    def section(self, name: str) -> dict[str, str]:
        return {key: value for (section, key), value in sorted(self.fields.items()) if section == name}

    def to_json(self) -> dict[str, Any]:
        managed = [
            {"manager": manager, "operation": "Apply", "fieldsV1": {f"{s}/{k}": {} for s, k in sorted(owned)}}
            for manager, owned in sorted(self.owned.items())
            if owned
        ]
        return {
            "apiVersion": "v1",
            "kind": RESOURCES[("v1", self.plural)][0],
            "metadata": {
                "name": self.name,
                **({"namespace": self.namespace} if self.namespace else {}),
                "uid": self.uid,
                "resourceVersion": str(self.version),
                "labels": self.section("labels"),
                "annotations": self.section("annotations"),
                "managedFields": managed,
            },
            "data": self.section("data"),
        }


class FakeCluster:
    """Objects, and a Transport to them. `wrote` is called after each write by the applier."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Stored] = {}
        self.version = 1
        self.writes = 0
        self.wrote: Callable[[Stored], None] = lambda stored: None
        self._uids = itertools.count(1)
        self._watches: list[tuple[str, str, asyncio.Queue[bytes]]] = []
        self._fuse: tuple[int, Literal["before", "after"]] | None = None
        self.dead = asyncio.Event()

    # the world around

    def edit(self, plural: str, namespace: str, name: str, **fields: str | None) -> None:
        """Somebody sets or removes (None) entries: ``data_k="x"`` is the key ``k`` of ``data``."""
        stored = self.objects.get((plural, namespace, name)) or self._make(plural, namespace, name)
        for field, value in fields.items():
            section, _, key = field.partition("_")
            self._set(stored, (section, key), value, "somebody", owns=False)
        self._changed(stored)

    def remove(self, plural: str, namespace: str, name: str) -> None:
        """Somebody deletes an object."""
        stored = self.objects.pop((plural, namespace, name), None)
        if stored is not None:
            self.version += 1
            stored.version = self.version
            self._tell("DELETED", stored)

    def die_after(self, writes: int, when: Literal["before", "after"]) -> None:
        """The process of the applier is killed at its n-th write from now, before or after it was done."""
        self._fuse = (self.writes + writes, when)

    def defuse(self) -> None:
        """No kill is planned any more."""
        self._fuse = None

    def revive(self) -> None:
        """Another process starts."""
        self._fuse = None
        self.dead.clear()
        self._watches.clear()

    # Transport

    async def request(self, request: Request, *, timeout: float) -> Response:
        await asyncio.sleep(0)
        writes = request.method != "GET"
        if writes:
            self.writes += 1
            await self._burn("before")
        try:
            answer = _json(200, self._answer(request))
        except ApiError as error:
            answer = _json(error.code, error.to_status())
        if writes:
            await self._burn("after")
        await self._while_alive()
        return answer

    @asynccontextmanager
    async def stream(self, request: Request, *, timeout: float) -> AsyncIterator[FakeStream]:
        await self._while_alive()
        plural, _, _, query = _parse(request)
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        since = int(query["resourceVersion"])
        # What happened between list and watch is told first; what was deleted then is told by nobody here
        for stored in self.objects.values():
            if stored.plural == plural and stored.version > since:
                queue.put_nowait(_line("MODIFIED", stored))
        entry = (plural, query.get("labelSelector", ""), queue)
        self._watches.append(entry)
        try:
            yield FakeStream(queue)
        finally:
            if entry in self._watches:
                self._watches.remove(entry)

    async def close(self) -> None:
        self._watches.clear()

    # inside

    async def _burn(self, when: str) -> None:
        if self._fuse is not None and self.writes >= self._fuse[0] and self._fuse[1] == when:
            self.dead.set()
        await self._while_alive()

    async def _while_alive(self) -> None:
        if self.dead.is_set():
            await asyncio.Event().wait()  # a killed process never comes back

    def _answer(self, request: Request) -> dict[str, Any]:
        if request.path.partition("?")[0] == "/api/v1":
            resources = [
                {"name": plural, "kind": kind, "namespaced": inside}
                for (_, plural), (kind, inside) in RESOURCES.items()
            ]
            return {"resources": resources}
        plural, namespace, name, query = _parse(request)
        if request.method == "GET" and not name:
            return self._list(plural, namespace, query)
        body = msgspec.json.decode(request.body) if request.body else {}
        if request.method == "POST":
            name = body["metadata"]["name"]
            if (plural, namespace, name) in self.objects:
                raise make(409, "AlreadyExists", "exists", None, None)
            return self._merge(self._make(plural, namespace, name), body)
        stored = self.objects.get((plural, namespace, name))
        if request.method == "PATCH" and dict(request.headers)["Content-Type"].startswith(
            "application/apply"
        ):
            return self._apply(stored, plural, namespace, name, body, query["fieldManager"])
        if stored is None:
            raise make(404, "NotFound", f"{plural} {name} not found", None, None)
        if request.method == "PATCH":
            return self._merge(stored, body)
        if request.method == "DELETE":
            wanted = body.get("preconditions") or {}
            if (
                wanted.get("uid", stored.uid) != stored.uid
                or int(wanted.get("resourceVersion", stored.version)) != stored.version
            ):
                raise make(409, "Conflict", "the precondition failed", None, None)
            self.remove(plural, namespace, name)
            self.wrote(stored)
            return {"kind": "Status", "status": "Success"}
        return stored.to_json()

    def _list(self, plural: str, namespace: str, query: dict[str, str]) -> dict[str, Any]:
        items = [
            stored.to_json()
            for stored in self.objects.values()
            if stored.plural == plural
            and namespace in ("", stored.namespace)
            and _selected(stored, query.get("labelSelector", ""))
        ]
        return {"metadata": {"resourceVersion": str(self.version)}, "items": items}

    def _apply(
        self,
        stored: Stored | None,
        plural: str,
        namespace: str,
        name: str,
        body: dict[str, Any],
        manager: str,
    ) -> dict[str, Any]:
        uid = body["metadata"].get("uid", "")
        if uid and (stored is None or stored.uid != uid):
            raise make(409, "Conflict", "the uid is another", None, None)
        if namespace and ("namespaces", "", namespace) not in self.objects:
            raise make(404, "NotFound", f"namespaces {namespace} not found", None, None)
        stored = stored or self._make(plural, namespace, name)
        wanted = _fields(body)
        before = stored.to_json()
        for field in stored.owned.get(manager, set()) - wanted.keys():
            if not any(field in owned for other, owned in stored.owned.items() if other != manager):
                stored.fields.pop(field, None)
        stored.owned[manager] = set()
        for field, value in wanted.items():
            self._set(stored, field, value, manager, owns=True)
        if stored.to_json() != before or stored.version == 0:
            self._changed(stored)
        self.wrote(stored)
        return stored.to_json()

    def _merge(self, stored: Stored, body: dict[str, Any]) -> dict[str, Any]:
        wanted = body.get("metadata", {}).get("resourceVersion")
        if wanted and stored.version and int(wanted) != stored.version:
            raise make(409, "Conflict", "the object has been modified", None, None)
        for field, value in _fields(body).items():
            self._set(stored, field, value, "merge", owns=False)
        self._changed(stored)
        self.wrote(stored)
        return stored.to_json()

    def _set(self, stored: Stored, field: Field, value: str | None, manager: str, *, owns: bool) -> None:
        if stored.fields.get(field) != value:
            for owned in stored.owned.values():
                owned.discard(field)
        if value is None:
            stored.fields.pop(field, None)
        else:
            stored.fields[field] = value
        if owns:
            stored.owned.setdefault(manager, set()).add(field)

    def _make(self, plural: str, namespace: str, name: str) -> Stored:
        stored = Stored(plural, namespace, name, f"uid-{next(self._uids)}")
        self.objects[(plural, namespace, name)] = stored
        return stored

    def _changed(self, stored: Stored) -> None:
        self.version += 1
        event = "ADDED" if stored.version == 0 else "MODIFIED"
        stored.version = self.version
        self._tell(event, stored)

    def _tell(self, event: str, stored: Stored) -> None:
        for plural, selector, queue in self._watches:
            if plural == stored.plural:
                # An object that lost the label leaves the watch
                queue.put_nowait(_line(event if _selected(stored, selector) else "DELETED", stored))


class FakeStream:
    """The lines of one watch."""

    def __init__(self, queue: asyncio.Queue[bytes]) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self._queue = queue

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield await self._queue.get()


def _fields(body: dict[str, Any]) -> dict[Field, Any]:
    metadata = body.get("metadata") or {}
    sections = {
        "data": body.get("data") or {},
        "labels": metadata.get("labels") or {},
        "annotations": metadata.get("annotations") or {},
    }
    return {(name, key): value for name, section in sections.items() for key, value in section.items()}


def _selected(stored: Stored, selector: str) -> bool:
    key, _, value = selector.partition("=")
    return not selector or stored.fields.get(("labels", key)) == value


def _line(event: str, stored: Stored) -> bytes:
    return msgspec.json.encode({"type": event, "object": stored.to_json()}) + b"\n"


def _parse(request: Request) -> tuple[str, str, str, dict[str, str]]:
    parts = urlsplit(request.path)
    query = {key: values[0] for key, values in parse_qs(parts.query).items()}
    pieces = [unquote(piece) for piece in parts.path.removeprefix("/api/v1/").split("/")]
    namespace = ""
    if pieces[0] == "namespaces" and len(pieces) > 2:
        namespace, pieces = pieces[1], pieces[2:]
    return pieces[0], namespace, pieces[1] if len(pieces) > 1 else "", query


def _json(status: int, body: dict[str, Any]) -> Response:
    return Response(status=status, headers={}, body=msgspec.json.encode(body))
