"""The Kubernetes API for one user over one transport."""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator
from typing import Any, TypeVar, cast
from urllib.parse import urlencode

import msgspec

from outrider.kit.clock import Clock, SystemClock
from outrider.kube.errors import ApiError, DecodeError, Gone, NotFound, TransportError
from outrider.kube.identity import Identity, impersonation_headers
from outrider.kube.kind import Kind
from outrider.kube.meta import List, Rejected
from outrider.kube.transport import Request, Response, Transport
from outrider.kube.watch import LineSplitter, WatchEvent, decode_event

T = TypeVar("T")
JsonPatch = list[dict[str, Any]]

_JSON = "application/json"
_APPLY = "application/apply-patch+yaml"
_MERGE_PATCH = "application/merge-patch+json"
_JSON_PATCH = "application/json-patch+json"
_MAX_EVENT = 16 << 20
_MAX_ERROR_BODY = 1 << 20
# What YAML refuses or folds inside of a quoted string although JSON allows it (YAML 1.1 §4.1, §5.4).
_NOT_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


class Client:
    """Reads and writes objects.

    Every failure is a KubeError: ApiError when the server refused, TransportError when it did not answer,
    DecodeError when its answer makes no sense. Answers 429 and 503 with ``Retry-After`` are repeated up to
    ``max_retries`` times, each after at most ``max_retry_wait`` seconds.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        field_manager: str = "outrider",
        identity: Identity | None = None,
        timeout: float = 30.0,
        max_retries: int = 5,
        max_retry_wait: float = 10.0,
        clock: Clock | None = None,
    ) -> None:
        self._transport = transport
        self._field_manager = field_manager
        self._timeout = timeout
        self._max_retries = max_retries
        self._max_retry_wait = max_retry_wait
        self._clock = clock or SystemClock()
        self._headers = [("User-Agent", f"outrider/{field_manager}")]
        if identity is not None:
            self._headers += impersonation_headers(identity)
        self.identity = identity

    def as_user(self, identity: Identity) -> "Client":
        """Return a client over the same transport that acts as ``identity``; raises ValueError."""
        return Client(
            self._transport,
            field_manager=self._field_manager,
            identity=identity,
            timeout=self._timeout,
            max_retries=self._max_retries,
            max_retry_wait=self._max_retry_wait,
            clock=self._clock,
        )

    # Reading

    async def get(self, kind: Kind[T], name: str, namespace: str = "") -> T:
        """Return one object; raises NotFound."""
        path = kind.path(_required(name), namespace)
        response = await self._send("GET", path, kind.parameters, accept=kind.accept())
        return kind.decode(response.body)

    async def get_or_none(self, kind: Kind[T], name: str, namespace: str = "") -> T | None:
        """Return one object, or None where there is none."""
        try:
            return await self.get(kind, name, namespace)
        except NotFound:
            return None

    async def list(
        self, kind: Kind[T], namespace: str = "", *, labels: str = "", fields: str = "", limit: int = 500
    ) -> List[T]:
        """Return all objects as of one resource version, read in pages of ``limit`` (0: in one piece).

        When the pages expire halfway (410), the list starts again, without pages.
        """
        try:
            return await self._collect(kind, namespace, labels, fields, limit)
        except Gone:
            if limit == 0:
                raise
        return await self._collect(kind, namespace, labels, fields, 0)

    async def pages(
        self,
        kind: Kind[T],
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        limit: int = 500,
        token: str = "",
    ) -> AsyncGenerator[List[T], None]:
        """Yield the pages of a list to callers that need not hold all of it; raises Gone if they expire.

        It begins at the page that the ``continue_token`` of another leads to, when that is given.
        """
        path = kind.path(namespace=namespace)
        while True:
            query = {
                "labelSelector": labels,
                "fieldSelector": fields,
                "limit": str(limit) if limit else "",
                "continue": token,
                **kind.parameters,
            }
            response = await self._send("GET", path, query, accept=kind.accept(many=True))
            page = kind.decode_list(response.body)
            yield page
            token = page.continue_token
            if not token:
                return

    async def watch(
        self,
        kind: Kind[T],
        namespace: str = "",
        *,
        resource_version: str,
        labels: str = "",
        fields: str = "",
        timeout: float,
    ) -> AsyncGenerator[WatchEvent[T], None]:
        """Yield changes after ``resource_version``, bookmarks included, for about ``timeout`` seconds.

        Ends quietly when the server ends the stream, as it does after ``timeout``. Raises Gone when the
        resource version is too old, whether the server says so by its status or by an ERROR event;
        TransportError when the connection breaks.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "labelSelector": labels,
            "fieldSelector": fields,
            "timeoutSeconds": str(max(1, round(timeout))),
            **kind.parameters,
        }
        request = self._request("GET", kind.path(namespace=namespace), query, accept=kind.accept())
        # The server ends the stream; the grace is for a server that does not.
        async with self._transport.stream(request, timeout=timeout + 30) as response:
            if response.status != 200:
                raise ApiError.from_response(response.status, await _bounded(response), response.headers)
            splitter = LineSplitter(_MAX_EVENT)
            deadline = asyncio.get_running_loop().time() + timeout + 30
            async for chunk in response:
                for line in splitter.feed(chunk):
                    yield decode_event(kind, line)
                if asyncio.get_running_loop().time() > deadline:
                    return

    # Writing

    async def create(self, kind: Kind[T], obj: T | dict[str, Any]) -> T:
        """Create an object and return it as stored; raises AlreadyExists, Invalid."""
        body = kind.encode(obj)
        path = kind.path(namespace=_namespace_of(kind, body))
        query = {"fieldManager": self._field_manager}
        response = await self._send("POST", path, query, _encode(body), accept=kind.accept())
        return kind.decode(response.body)

    async def apply(
        self, kind: Kind[T], obj: T | dict[str, Any], *, force: bool = True, subresource: str = ""
    ) -> T:
        """Server-side apply: own the fields in ``obj``, drop those owned before and not in it (KEP-555).

        Raises Conflict without ``force`` when another manager owns a field.
        """
        body = kind.encode(obj)
        meta = cast(dict[str, Any], body.get("metadata") or {})
        path = kind.path(_required(str(meta.get("name", ""))), _namespace_of(kind, body), subresource)
        query = {"fieldManager": self._field_manager, "force": "true" if force else ""}
        body_text = _yaml_safe(_encode(body))
        response = await self._send("PATCH", path, query, body_text, _APPLY, accept=kind.accept())
        return kind.decode(response.body)

    async def patch(
        self,
        kind: Kind[T],
        name: str,
        patch: dict[str, Any] | JsonPatch,
        namespace: str = "",
        *,
        subresource: str = "",
    ) -> T:
        """Patch an object: a dict is a merge patch (RFC 7396), a list a JSON patch (RFC 6902).

        A merge patch with ``metadata.resourceVersion`` raises Conflict when the object has changed since.
        """
        content_type = _JSON_PATCH if isinstance(patch, list) else _MERGE_PATCH
        path = kind.path(_required(name), namespace, subresource)
        query = {"fieldManager": self._field_manager}
        response = await self._send("PATCH", path, query, _encode(patch), content_type, accept=kind.accept())
        return kind.decode(response.body)

    async def replace(self, kind: Kind[dict[str, Any]], obj: dict[str, Any]) -> dict[str, Any]:
        """Put an object of plain values in the place of the stored one; raises Conflict when that has changed.

        Typed objects are patched instead: what their type does not know would be lost.
        """
        body = kind.encode(obj)
        path = kind.path(_required(kind.key(body).name), _namespace_of(kind, body))
        query = {"fieldManager": self._field_manager}
        response = await self._send("PUT", path, query, _encode(body), accept=kind.accept())
        return kind.decode(response.body)

    async def delete(
        self,
        kind: Kind[T],
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        resource_version: str = "",
        propagation: str = "Background",
    ) -> None:
        """Delete an object, only if ``uid`` and ``resource_version`` match when given.

        Raises NotFound, and Conflict when a precondition fails.
        """
        body: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        wanted = {"uid": uid, "resourceVersion": resource_version}
        if preconditions := {key: value for key, value in wanted.items() if value}:
            body["preconditions"] = preconditions
        await self._send("DELETE", kind.path(_required(name), namespace), body=_encode(body))

    async def delete_if_exists(
        self, kind: Kind[T], name: str, namespace: str = "", *, uid: str = "", resource_version: str = ""
    ) -> bool:
        """Delete an object; return whether there was one."""
        try:
            await self.delete(kind, name, namespace, uid=uid, resource_version=resource_version)
        except NotFound:
            return False
        return True

    # Beside objects

    async def create_subresource(
        self, kind: Kind[T], name: str, namespace: str, subresource: str, body: dict[str, Any]
    ) -> dict[str, Any]:
        """Post to an object's subresource, for example ``serviceaccounts/token``; return the answer."""
        return await self.post(kind.path(_required(name), namespace, subresource), body)

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Post to a path that answers with an object: reviews, and what has no Kind."""
        response = await self._send("POST", path, body=_encode(body))
        return _decode_object(response.body, path)

    async def get_json(self, path: str) -> dict[str, Any]:
        """Return the JSON object at a path that has no Kind: ``/version``, discovery, …"""
        return _decode_object((await self._send("GET", path)).body, path)

    async def raw(self, request: Request) -> Response:
        """Send a request as it is, as this client's user; error statuses are returned, not raised."""
        headers = [*self._headers, *request.headers]
        return await self._transport.request(
            Request(method=request.method, path=request.path, headers=headers, body=request.body),
            timeout=self._timeout,
        )

    async def _collect(self, kind: Kind[T], namespace: str, labels: str, fields: str, limit: int) -> List[T]:
        items: list[T] = []
        rejected: list[Rejected] = []
        version = ""
        pages = self.pages(kind, namespace, labels=labels, fields=fields, limit=limit)
        async with contextlib.aclosing(pages):
            async for page in pages:
                items += page.items
                rejected += page.rejected
                version = page.resource_version
        return List(items=items, resource_version=version, rejected=rejected)

    async def _send(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: bytes = b"",
        content_type: str = _JSON,
        *,
        accept: str = _JSON,
    ) -> Response:
        request = self._request(method, path, query, body, content_type, accept=accept)
        for attempt in range(self._max_retries + 1):
            response = await self._transport.request(request, timeout=self._timeout)
            if response.status < 400:
                break
            error = ApiError.from_response(response.status, response.body, response.headers)
            if not _may_retry(error) or attempt == self._max_retries:
                raise error
            await self._clock.sleep(min(error.retry_after or 0.0, self._max_retry_wait))
        return response

    def _request(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: bytes = b"",
        content_type: str = _JSON,
        *,
        accept: str = _JSON,
    ) -> Request:
        if given := {key: value for key, value in (query or {}).items() if value}:
            path = f"{path}?{urlencode(given)}"
        headers = [*self._headers, ("Accept", accept)]
        if body:
            headers.append(("Content-Type", content_type))
        return Request(method=method, path=path, headers=headers, body=body)


async def _bounded(response: Any) -> bytes:
    body = bytearray()
    async for chunk in response:
        body += chunk
        if len(body) > _MAX_ERROR_BODY:
            raise TransportError("the server's error message is larger than 1 MiB")
    return bytes(body)


def _may_retry(error: ApiError) -> bool:
    return error.code in (429, 503) and error.retry_after is not None


def _required(name: str) -> str:
    if not name:
        raise ValueError("an object's name is empty")
    return name


def _namespace_of(kind: Kind[Any], body: dict[str, Any]) -> str:
    namespace = str((body.get("metadata") or {}).get("namespace") or "")
    if kind.namespaced and not namespace:
        raise ValueError(f"{kind.plural} are namespaced; metadata.namespace is empty")
    return namespace


def _encode(body: Any) -> bytes:
    return msgspec.json.encode(body)


def _yaml_safe(data: bytes) -> bytes:
    """JSON that means the same when it is read as YAML, which is how an apply's body is read."""
    if data.isascii() and b"\x7f" not in data:
        return data
    return _NOT_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", data.decode()).encode()


def _decode_object(data: bytes, path: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise DecodeError(f"the answer of {path.partition('?')[0]} is not a JSON object: {error}") from None
