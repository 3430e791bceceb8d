"""A client of `/v1` that does what existing ones do, written from the contract alone (clients §2, clusters §4.4).

It knows a root, reads its schemas, goes to collections by the links of schemas, and to objects by their own links.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

import msgspec

from tests.support.norman_client import NotOffered, Refused, Reply, Send

Resource = dict[str, Any]


class SteveClient:
    """One root with its types."""

    def __init__(self, send: Send, base: str, schemas: Iterable[Resource]) -> None:
        self._send = send
        self._base = base
        self.types = {schema["id"]: schema for schema in schemas}

    @classmethod
    async def open(cls, send: Send, base: str, root: str = "/v1") -> SteveClient:
        """Reads the schemas of a root."""
        client = cls(send, base, ())
        body = (await client.ask("GET", f"{base}{root}/schemas")).json()
        assert (body["type"], body["resourceType"]) == ("collection", "schema")
        return cls(send, base, body["data"])

    async def list(self, kind: str, namespace: str = "", query: Any = ()) -> Resource:
        """A collection as a whole, its envelope included."""
        link = self._collection(kind, "GET") + (f"/{namespace}" if namespace else "")
        pairs = list(query.items()) if isinstance(query, dict) else list(query)
        body: Resource = (await self.ask("GET", f"{link}?{urlencode(pairs)}" if pairs else link)).json()
        assert body["type"] == "collection"
        return body

    async def ids(self, kind: str, namespace: str = "", query: Any = ()) -> list[str]:
        """The ids of a collection's resources, in its order."""
        return [one["id"] for one in (await self.list(kind, namespace, query))["data"]]

    async def by_id(self, kind: str, identifier: str) -> Resource:
        """One resource."""
        resource: Resource = (await self.ask("GET", f"{self._collection(kind, 'GET')}/{identifier}")).json()
        assert (resource["type"], resource["id"]) == (kind, identifier)
        return resource

    async def create(self, kind: str, body: Resource) -> Resource:
        """A new object."""
        link = self._collection(kind, "POST")
        made: Resource = (await self.ask("POST", link, {"type": kind, **body})).json()
        return made

    async def save(self, resource: Resource) -> Resource:
        """A resource as it was read, with what was changed in it."""
        saved: Resource = (await self.ask("PUT", _link(resource, "update"), resource)).json()
        return saved

    async def remove(self, resource: Resource) -> None:
        """Deletes the object of a resource."""
        await self.ask("DELETE", _link(resource, "remove"))

    async def act(self, resource: Resource, action: str, **fields: Any) -> Any:
        """An action on a resource."""
        if action not in resource["actions"]:
            raise NotOffered(f"{resource['type']} {resource['id']} has no action {action}")
        return (await self.ask("POST", resource["actions"][action], fields)).json()

    async def ask(self, method: str, url: str, body: Any = None) -> Reply:
        """Any request. Raises Refused."""
        assert url.startswith(self._base), f"{url} leads elsewhere"
        reply = await self._send(method, url.removeprefix(self._base), body)
        if not 200 <= reply.status < 300:
            raise Refused(reply)
        if reply.body:
            msgspec.json.decode(reply.body)
        return reply

    def _collection(self, kind: str, method: str) -> str:
        schema = self.types.get(kind)
        if schema is None or method not in schema["collectionMethods"]:
            raise NotOffered(f"{kind} does not take {method}")
        return str(schema["links"]["collection"])


def _link(resource: Resource, name: str) -> str:
    link = resource["links"].get(name)
    if link is None:
        raise NotOffered(f"{resource['type']} {resource['id']} has no link {name}")
    return str(link)
