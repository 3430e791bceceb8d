"""A client of `/v3` that does what existing ones do, written from the contract alone (clients §1).

It builds no paths: it reads schemas, follows links and actions, and gives up by itself where a schema or a
resource does not offer what is asked of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec

Resource = dict[str, Any]
Send = Callable[[str, str, Any], Awaitable["Reply"]]
"""(method, path with query, body) → what came back."""


@dataclass(frozen=True)
class Reply:
    """An answer: header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class NotOffered(Exception):
    """The schema or the resource does not offer it: no request was sent."""


class Refused(Exception):
    """The server's error."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"{reply.status} {reply.body.decode(errors='replace')}")
        self.status = reply.status
        self.error = reply.json() if reply.body else {}


class NormanClient:
    """One root with its types."""

    def __init__(self, send: Send, base: str) -> None:
        self._send = send
        self._base = base
        self.types: dict[str, Resource] = {}

    @classmethod
    async def open(cls, send: Send, base: str, root: str = "/v3") -> NormanClient:
        """Opens a root: its answer names the schemas, which are fetched when they are elsewhere."""
        client = cls(send, base)
        reply = await client._ask("GET", base + root)
        schemas = reply.headers["x-api-schemas"]
        if schemas != base + root:
            reply = await client._ask("GET", schemas)
        client.types = {schema["id"]: schema for schema in reply.json()["data"]}
        return client

    async def list(self, kind: str, **filters: Any) -> list[Resource]:
        """All resources of a type that pass the filters, page by page."""
        schema = self._type(kind, "collectionMethods", "GET")
        url = schema["links"]["collection"]
        found: list[Resource] = []
        if filters:
            url += "?" + urlencode(filters, doseq=True)
        while url:
            page = (await self._ask("GET", url)).json()
            found += page["data"]
            url = page["pagination"].get("next", "")
        return found

    async def by_id(self, kind: str, identifier: str) -> Resource:
        """One resource."""
        schema = self._type(kind, "resourceMethods", "GET")
        link = f"{schema['links']['collection']}/{quote(identifier, safe=':')}"
        resource: Resource = (await self._ask("GET", link)).json()
        return resource

    async def create(self, kind: str, **fields: Any) -> Resource:
        """A new resource."""
        schema = self._type(kind, "collectionMethods", "POST")
        resource: Resource = (
            await self._ask("POST", schema["links"]["collection"], {"type": kind, **fields})
        ).json()
        return resource

    async def update(self, resource: Resource, **fields: Any) -> Resource:
        """The same resource with other fields."""
        self._type(resource["baseType"], "resourceMethods", "PUT")
        changed: Resource = (await self._ask("PUT", _link(resource, "update"), fields)).json()
        return changed

    async def replace(self, resource: Resource, **fields: Any) -> Resource:
        """The same resource with these fields and no others."""
        self._type(resource["baseType"], "resourceMethods", "PUT")
        link = _link(resource, "self") + "?_replace=true"
        changed: Resource = (await self._ask("PUT", link, fields)).json()
        return changed

    async def reload(self, resource: Resource) -> Resource:
        """The resource as it is now."""
        now: Resource = (await self._ask("GET", _link(resource, "self"))).json()
        return now

    async def delete(self, resource: Resource) -> None:
        """Removes a resource."""
        self._type(resource["baseType"], "resourceMethods", "DELETE")
        await self._ask("DELETE", _link(resource, "self"))

    async def act(self, resource: Resource, action: str, **fields: Any) -> Any:
        """An action on a resource."""
        if action not in resource["actions"]:
            raise NotOffered(f"{resource['type']} {resource['id']} has no action {action}")
        return _body(await self._ask("POST", resource["actions"][action], fields))

    async def act_on_all(self, kind: str, action: str, **fields: Any) -> Any:
        """An action on a collection."""
        schema = self.types[kind]
        if action not in schema["collectionActions"]:
            raise NotOffered(f"{kind} has no action {action}")
        link = f"{schema['links']['collection']}?action={action}"
        return _body(await self._ask("POST", link, fields))

    async def follow(self, resource: Resource, link: str) -> Any:
        """What a link leads to."""
        return (await self._ask("GET", _link(resource, link))).json()

    async def root(self, resource: Resource) -> NormanClient:
        """The root that a resource is."""
        path = urlsplit(_link(resource, "self")).path
        return await NormanClient.open(self._send, self._base, path)

    def _type(self, kind: str, methods: str, method: str) -> Resource:
        schema = self.types.get(kind)
        if schema is None or method not in schema[methods]:
            raise NotOffered(f"{kind} does not take {method} ({methods})")
        return schema

    async def _ask(self, method: str, url: str, body: Any = None) -> Reply:
        assert url.startswith(self._base), f"{url} leads elsewhere"
        reply = await self._send(method, url.removeprefix(self._base), body)
        if reply.status != 200 if method == "GET" else not 200 <= reply.status < 300:
            raise Refused(reply)
        return reply


def _link(resource: Resource, name: str) -> str:
    link = resource["links"].get(name)
    if link is None:
        raise NotOffered(f"{resource['type']} {resource['id']} has no link {name}")
    return str(link)


def _body(reply: Reply) -> Any:
    return reply.json() if reply.body else None
