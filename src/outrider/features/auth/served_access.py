"""What all kinds of ext.cattle.io ask before they do something (contract, auth-and-rbac §1.11 to §1.13)."""

from outrider.apis.ext.group import GROUP, NAMESPACE
from outrider.apis.ext.served import Caller
from outrider.apis.management.token import Token
from outrider.apis.management.user import USERS, User
from outrider.features.auth.access import AccessReviews, AccessUnknown, Action
from outrider.features.auth.stored_tokens import AllTokens, TokenStore
from outrider.kube.client import Client
from outrider.kube.errors import BadRequest, Forbidden, Unavailable
from outrider.kube.meta import ObjectKey
from outrider.runtime.store import Lister

OVERSIGHT = Action(verb="*", group=GROUP, resource="tokens")
"""Who may do everything with tokens sees everybody's tokens and kubeconfigs."""


class Gatekeeper:
    """Answers who a caller is, with which token, and what they may do. Raises ApiError."""

    def __init__(
        self, *, client: Client, users: Lister[User], tokens: AllTokens, access: AccessReviews
    ) -> None:
        self._client = client
        self._store = TokenStore(client)
        self._users = users
        self._tokens = tokens
        self._access = access

    async def oversees(self, caller: Caller) -> bool:
        """Whether they see what belongs to others."""
        return await self.may(caller, OVERSIGHT)

    async def may(self, caller: Caller, action: Action) -> bool:
        """Whether RBAC lets them do something."""
        try:
            return await self._access.allows(caller.identity, action)
        except AccessUnknown as error:
            raise Unavailable(str(error)) from None

    async def user(self, caller: Caller) -> User:
        """Their user, which is enabled."""
        user = await self.find_user(caller.user)
        if user is None or user.is_deleting:
            raise Forbidden(f"user {caller.user} is not a Rancher user")
        if user.enabled is False:
            raise BadRequest(f"user {caller.user} is disabled")
        return user

    async def find_user(self, name: str) -> User | None:
        """A user; None when there is none."""
        found = self._users.get(ObjectKey("", name))
        if found is not None:
            return found
        try:
            return await self._client.get_or_none(USERS, name)
        except ValueError:
            return None

    async def token(self, caller: Caller) -> Token:
        """The token that they signed in with."""
        found = await self.find_token(caller.token, caller.user) if caller.token else None
        if found is None:
            raise Forbidden("missing authentication token ID")
        return found

    async def find_token(self, name: str, user: str) -> Token | None:
        """A user's token of this name, of either kind."""
        for token in self._tokens.named(name):
            if token.user_id == user and not token.is_deleting:
                return token
        for namespace in ("", NAMESPACE):
            asked = await self._store.find(ObjectKey(namespace, name))
            if asked is not None and asked.user_id == user and not asked.is_deleting:
                return asked
        return None
