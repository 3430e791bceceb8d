"""From a request to a `Call`: who asks, a client that acts as they, and what they may do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from starlette.requests import HTTPConnection

from outrider.apis.norman import Unauthenticated, retry_later
from outrider.apis.views.call import Call
from outrider.apis.views.form import Form
from outrider.apis.views.view import View
from outrider.facade.v3.edge import rules_within
from outrider.facade.v3.inside import namespaces_of
from outrider.facade.v3.places import Places
from outrider.facade.v3.target import Target
from outrider.kube.client import Client
from outrider.kube.identity import Identity
from outrider.kube.kind import Kind
from outrider.kube.rules import Rights, Rules, own_rules
from outrider.link.claims import claim_of
from outrider.link.messages import Claim

ANONYMOUS = Identity("system:anonymous", ("system:unauthenticated",))


class Reach(Protocol):
    """The way into other clusters."""

    async def client(self, cluster: str, claim: Claim) -> Client:
        """A client that acts there as whoever has the claim. Raises NormanError for a cluster out of reach."""


class Calls:
    """Makes calls. `client` is the server's own at the management cluster; it only ever acts as the user here."""

    def __init__(self, client: Client, reach: Reach, places: Places) -> None:
        self._client = client
        self._reach = reach
        self._places = places

    async def make(
        self, connection: HTTPConnection, *, cluster: str = "", project: str = "", refusal: str = ""
    ) -> Call:
        """The call of somebody who has signed in. Raises Unauthenticated (`refusal`), KubeError."""
        claim = claim_of(connection.scope)
        identity = signed_in(claim, refusal)
        client = await self._reach.client(cluster, claim) if cluster else self._client.as_user(identity)
        return Call(
            identity=identity,
            client=client,
            rights=Rights(await own_rules(client)),
            base=base_of(claim),
            user=claim.user,
            token=claim.token,
            remote=claim.remote,
            cluster=cluster,
            project=project,
        )

    async def at(self, connection: HTTPConnection, target: Target, form: Form | None = None) -> Call:
        """The call of a request to a target; anonymous where the form's view is public."""
        claim = claim_of(connection.scope)
        reading = connection.scope.get("method") in ("GET", "HEAD")
        if form is not None and form.view.public and reading and claim.identity is None and not claim.code:
            return self.anonymous(connection)
        refusal = form.view.refusal if form is not None else ""
        return await self.make(connection, cluster=target.cluster, project=target.project, refusal=refusal)

    def anonymous(self, connection: HTTPConnection) -> Call:
        """The call of somebody who has not signed in, for what everybody may see and do."""
        claim = claim_of(connection.scope)
        return Call(
            identity=ANONYMOUS,
            client=self._client.as_user(ANONYMOUS),
            rights=Rights(Rules(())),
            base=base_of(claim),
            token=claim.token,
            remote=claim.remote,
            problem=claim.code,
        )

    async def namespaces(self, call: Call) -> Sequence[str]:
        """Where the user may have rights beside those that hold everywhere; the namespaces of a project's root."""
        if call.project:
            return [namespace["metadata"]["name"] for namespace in await namespaces_of(call)]
        if call.rights.allows("*", "*", "*"):
            return ()
        if not call.cluster:
            return self._places.of(call.identity)
        return sorted(call.rights.everywhere.names("get", "", "namespaces") or ())

    async def within(self, call: Call, view: View, namespace: str = "") -> tuple[Call, Sequence[str]]:
        """The call with the user's rights in the namespaces that a request to a view is about, and those."""
        if view.store is not None or not (view.kind.namespaced or view.links):
            return call, ()
        return await self.around(call, view.kind, namespace)

    async def around(self, call: Call, kind: Kind[Any], namespace: str = "") -> tuple[Call, Sequence[str]]:
        """The same for a request to a kind; no namespaces for those who may do everything with it."""
        if not call.project and call.rights.allows("*", kind.group, kind.plural):
            return call, ()
        names = [namespace] if namespace else await self.namespaces(call)
        if not names:
            return call, ()
        return replace(call, rights=call.rights.within(await rules_within(call.client, names))), names

    async def everywhere(self, call: Call) -> Call:
        """The call with the user's rights in all namespaces in which they may have some."""
        names = await self.namespaces(call)
        if not names:
            return call
        return replace(call, rights=call.rights.within(await rules_within(call.client, names)))


def signed_in(claim: Claim, refusal: str = "") -> Identity:
    """Who has the claim. Raises Unauthenticated, or the 429 that the credential met."""
    if claim.identity is not None:
        return claim.identity
    if claim.code == "TooManyRequests":
        raise retry_later(429, claim.message or "too many attempts", 1.0, code=claim.code)
    raise Unauthenticated(claim.message if claim.code else refusal)


def base_of(claim: Claim) -> str:
    """Scheme and host that links start with, as the client sees them."""
    return f"{claim.scheme}://{claim.host or 'localhost'}"
