"""One request of `/v1`: who asks, where, and of which kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from starlette.requests import HTTPConnection

from outrider.apis.management.group import LOCAL_CLUSTER
from outrider.apis.views.call import Call
from outrider.facade.v1.catalogue import Catalogue, Resource
from outrider.facade.v1.discovery import Discovery
from outrider.facade.v1.errors import no_type
from outrider.facade.v1.place import Place, Target
from outrider.facade.v3.calls import Calls, base_of
from outrider.link.claims import claim_of

_ROOT: Final = ""


@dataclass(frozen=True)
class Asked:
    """A request to a kind. `namespaces` are those in which the user may have rights beside the ones everywhere.

    `cluster` is the one that it is about, empty for the management cluster, however that was reached.
    """

    call: Call
    place: Place
    cluster: str
    catalogue: Catalogue
    resource: Resource
    namespaces: Sequence[str] = ()

    def scoped(self, api_version: str, kind: str) -> bool:
        """Whether a kind has its objects in namespaces; one that is not known is taken to."""
        found = self.catalogue.of(api_version, kind)
        return found is None or found.kind.namespaced


class Asking:
    """Makes them. `calls` finds who asks and what they may do, `discovery` the kinds of their cluster."""

    def __init__(self, calls: Calls, discovery: Discovery) -> None:
        self._calls = calls
        self._discovery = discovery

    async def call(self, connection: HTTPConnection, target: Target) -> tuple[Call, Place]:
        """Who asks, and at which root. Raises NormanError: 401, or 404 for a cluster out of reach."""
        call = await self._calls.make(connection, cluster=target.cluster)
        if target.cluster == LOCAL_CLUSTER:
            # the management cluster itself, where more is known of whose rights are where
            call = replace(call, cluster=_ROOT)
        return call, Place(base_of(claim_of(connection.scope)), target.prefix)

    async def catalogue(self, call: Call) -> Catalogue:
        """The kinds of the call's cluster."""
        return await self._discovery.read(call.client, call.cluster)

    async def kind(self, connection: HTTPConnection, target: Target) -> Asked:
        """A request to a kind, one of its namespaces, or one object. Raises NormanError 404."""
        call, place = await self.call(connection, target)
        catalogue, resource = await self._discovery.find(call.client, call.cluster, target.type)
        if resource is None:
            raise no_type(target.type)
        asked = Asked(call, place, call.cluster, catalogue, resource)
        return await self.within(asked, target.parts[0] if target.parts else "")

    async def within(self, asked: Asked, namespace: str) -> Asked:
        """The same with the user's rights in a namespace, or in all in which they may have some."""
        if not asked.resource.kind.namespaced:
            return asked
        call, namespaces = await self._calls.around(asked.call, asked.resource.kind, namespace)
        return replace(asked, call=call, namespaces=namespaces)

    async def everywhere(self, call: Call) -> tuple[Call, Sequence[str]]:
        """The call with the user's rights in all namespaces in which they may have some, and those."""
        if call.rights.allows("*", "*", "*"):
            return call, ()
        names = await self._calls.namespaces(call)
        return await self._calls.everywhere(call), names
