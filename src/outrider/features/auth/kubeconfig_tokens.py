"""Tokens for kubeconfigs: they reach no further than the token that they are asked for with (contract: §1.12, §4.7)."""

from outrider.apis.ext.served import Caller
from outrider.apis.management.user import USERS
from outrider.features.auth.served_access import Gatekeeper
from outrider.features.auth.stored_tokens import TokenStore, key_of
from outrider.features.auth.tokens import TokenIssuer
from outrider.kube.client import Client
from outrider.kube.errors import Forbidden, Unauthorized
from outrider.link.messages import Claim


class KubeconfigTokens:
    """Makes them."""

    def __init__(self, client: Client, gatekeeper: Gatekeeper, issuer: TokenIssuer) -> None:
        self._client = client
        self._store = TokenStore(client)
        self._gatekeeper = gatekeeper
        self._issuer = issuer

    async def of_claim(self, claim: Claim, cluster: str) -> str:
        """The value of a new one for whoever has the claim; `cluster` empty for all. Raises KubeError."""
        user = await self._client.get(USERS, claim.user)
        parent = await self._store.find(key_of(claim.token)) if claim.token else None
        if claim.token and parent is None:
            raise Unauthorized("the token in use is gone: sign in again")
        limit = parent.cluster_name if parent is not None else ""
        return (await self._issuer.kubeconfig(user, parent=parent, cluster=limit or cluster)).value

    async def check(self, caller: Caller) -> None:
        """Raises ApiError for somebody who cannot have any."""
        await self._gatekeeper.user(caller)
        await self._gatekeeper.token(caller)

    async def mint(self, caller: Caller, *, cluster: str, ttl: int, kubeconfig: str) -> tuple[str, str]:
        """A new one's name and value; ttl in ms, `cluster` empty for all. Raises ApiError."""
        user = await self._gatekeeper.user(caller)
        parent = await self._gatekeeper.token(caller)
        limit = parent.cluster_name
        if limit and cluster not in ("", limit):
            raise Forbidden(f"the token in use reaches cluster {limit} only")
        issued = await self._issuer.kubeconfig(
            user,
            parent=parent,
            cluster=cluster or limit,
            description=f"Kubeconfig {kubeconfig}",
            ttl=ttl,
            kubeconfig=kubeconfig,
        )
        return issued.token.metadata.name, issued.value
